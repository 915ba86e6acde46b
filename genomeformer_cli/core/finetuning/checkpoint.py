"""Fine-tuned model in a folder: an ordinary model, its prediction head and its task.

`model.safetensors`, `config.json` and the tokenizer are those of an encoder, so that every command
accepts the folder; `predict` also reads `head.safetensors` and the entry `task` of `config.json`.
Its entry `base` names the model before fine-tuning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.finetuning.base_model import BASE, BaseModel
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.head import (
    NAME,
    SequenceModels,
    TaskHead,
    attach_head,
    get_head,
)
from genomeformer_cli.core.finetuning.inference import Predictor
from genomeformer_cli.core.finetuning.kmer_baseline import BaselineFeatures
from genomeformer_cli.core.finetuning.labels import LabelSpace
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.model_io.bundle_layout import HEAD_FILE
from genomeformer_cli.core.model_io.model_folder import (
    CONFIG_FILE,
    LoadedModel,
    read_model,
    write_model,
)
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

_TASK = "task"


@dataclass(frozen=True, kw_only=True)
class SavedTask:
    """Task of a fine-tuned model."""

    name: str  # Name of the task.
    targets: LabelSpace  # Classes, labels or quantities.
    pool: Literal["mean", "max", "mean-max", "attention", "none"]  # Pooling of positions.
    strands: Literal["given", "augment", "average"] = "given"  # Strands in training and prediction.
    window: int  # Maximum window of the model, in tokens.
    # Features of a linear model whose outputs are added; None without one.
    linear: BaselineFeatures | None = None
    # Shape of a motif scanner beside the model; None without one.
    motifs: MotifOptions | None = None
    # Shape of a network that is stacked; None without one.
    network: MotifOptions | None = None
    longest: int | None = None  # Bases of the longest training sequence; None: not recorded.

    def build_head(self, model: Model, *, seed: int = 0) -> TaskHead:
        """Return a newly initialised head for a model."""
        return TaskHead(
            model.feature_width,
            len(self.targets.names),
            self.pool,
            beside=SequenceModels(linear=self.linear, motifs=self.motifs, network=self.network),
            seed=seed,
        )

    def predictor(self, model: Model, tokenizer: Tokenizer, tokens_per_batch: int) -> Predictor:
        """Return the predictor of a model with a head."""
        collator = Collator(
            tokenizer=tokenizer,
            window=self.window,
            per_base=self.targets.is_per_base,
            with_codes=self.motifs is not None,
        )
        return Predictor(
            model=model,
            collator=collator,
            label_space=self.targets,
            both_strands=self.strands == "average",
            tokens_per_batch=tokens_per_batch,
        )


def write_finetuned(
    tuned: LoadedModel, task: SavedTask, folder: Path, *, base: BaseModel | None = None
) -> None:
    """Write a model and its head into a folder, which the caller seals.

    Args:
        tuned: Model with a head.
        task: Task of the model.
        folder: Output folder.
        base: Model before fine-tuning; None: unknown.
    """
    model = tuned.model
    head = get_head(model)
    delattr(model, NAME)
    try:
        write_model(model, tuned.tokenizer, folder)
    finally:
        attach_head(model, head)
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()
    }
    write_tensors(tensors, folder / HEAD_FILE)
    plain = read_json(folder / CONFIG_FILE)
    origin = {} if base is None else {BASE: to_plain(base)}
    recorded = {} if tuned.int8 is None else {"inference": {"int8": asdict(tuned.int8)}}
    write_json(folder / CONFIG_FILE, {**plain, _TASK: to_plain(task), **origin, **recorded})


def read_finetuned(folder: Path) -> tuple[LoadedModel, SavedTask]:
    """Load a fine-tuned model with its head.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: There is no head, or it does not match `config.json`.
    """
    loaded = read_model(folder)
    plain: dict[str, Any] = read_json(folder / CONFIG_FILE)
    if _TASK not in plain or not (folder / HEAD_FILE).is_file():
        raise CheckpointError(
            f"the model in `{folder}` has no prediction head: it was not fine-tuned",
            hint="`genomeformer finetune DATA --model MODEL` trains one",
        )
    task = from_plain(SavedTask, plain[_TASK], where=str(folder / CONFIG_FILE))
    head = task.build_head(loaded.model)
    try:
        head.load_state_dict(read_tensors(folder / HEAD_FILE))
    except RuntimeError as failure:
        raise CheckpointError(
            f"the head in `{folder}` does not fit its `{CONFIG_FILE}`",
            hint="the folder is damaged; fine-tune or fetch it again",
        ) from failure
    attach_head(loaded.model, head)
    loaded.model.eval()
    return loaded, task
