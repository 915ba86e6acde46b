"""Open a bundle with the stock classes of transformers, in a process without code of ours in them.

    python -m genomeformer_cli.core.release.stock_check BUNDLE OUTPUTS.safetensors

The file receives token ids and logits of `probe_sequences`, as one padded batch. `check_stock`
starts the process and compares them with those of the model.
Shape letters: B batch, L length, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, MissingExtraError
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.processes import run_module
from genomeformer_cli.core.release.selftest import MAX_PROBE_LENGTH, probe_sequences
from genomeformer_cli.core.sequence import decode_bases
from genomeformer_cli.core.settings import fresh_environment

# Stock classes compute rotary angles in float32, ours in float64: far positions turn by other
# amounts than in training. A layout that is wrong differs by far more.
_NEAR, _NEAR_DIFFERENCE, _FAR_DIFFERENCE = 128, 1e-5, 1e-3
_INSTALL = "pip install --upgrade transformers"


def need_transformers() -> None:
    """Check that a bundle can be opened with transformers.

    Raises:
        MissingExtraError: The package is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError(
            "a bundle for transformers is opened with it once, and the package `transformers` is "
            "not installed",
            hint=f"`{_INSTALL}`",
        )


def check_stock(folder: Path, loaded: LoadedModel) -> float:
    """Compare the stock classes with a model; return the largest difference of a logit.

    Args:
        folder: Folder of the bundle in the layout of a stock class.
        loaded: Model that the bundle holds.

    Raises:
        CheckpointError: The stock classes cannot open the bundle, or compute other numbers.
    """
    outputs = stock_outputs(folder)
    largest = 0.0
    for number, ids in enumerate(_probe_ids(loaded)):
        if not torch.equal(outputs[f"ids {number}"], ids):
            raise _differs(f"other tokens of probe {number}")
        logits_LV = _logits(loaded, ids)
        scale = max(1.0, float(logits_LV.abs().max()))
        difference = float((outputs[f"logits {number}"] - logits_LV).abs().max()) / scale
        if not difference <= largest_difference(len(ids)):
            raise _differs(f"logits of {len(ids):,} tokens that differ by {difference:g}")
        largest = max(largest, difference)
    return largest


def largest_difference(length: int) -> float:
    """Return the accepted difference between our numbers and those of a stock class.

    Args:
        length: Tokens of a row, at most.
    """
    return _NEAR_DIFFERENCE if length <= _NEAR else _FAR_DIFFERENCE


def _differs(how: str) -> CheckpointError:
    return CheckpointError(
        f"the stock classes of transformers give {how}",
        hint="this should not happen; please report it",
    )


def _probe_ids(loaded: LoadedModel) -> list[Tensor]:
    context = min(loaded.model.config.context, MAX_PROBE_LENGTH)
    encoded = [loaded.tokenizer.encode(codes) for codes in probe_sequences(context)]
    return [torch.from_numpy(ids[:context].astype(np.int64)) for ids in encoded]


@torch.inference_mode()
def _logits(loaded: LoadedModel, ids_L: Tensor) -> Tensor:
    model = loaded.model
    logits_1LV = model.logits(model.hidden(ids_L[None].to(model.device), None))
    return logits_1LV[0].float().cpu()


def stock_outputs(folder: Path) -> dict[str, Tensor]:
    """Return ids and logits of a bundle, opened by transformers in a new process.

    Raises:
        CheckpointError: The process failed.
    """
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as name:
        working_folder = Path(name)
        outputs = working_folder / "outputs.safetensors"
        process = run_module(
            "genomeformer_cli.core.release.stock_check",
            [folder.absolute(), outputs],
            folder=working_folder,
            environment=fresh_environment(working_folder),
        )
        if process.returncode:
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckpointError(
                f"the stock classes of transformers could not open the bundle: {last}",
                hint=f"a newer version may have the class: `{_INSTALL}`",
            )
        return read_tensors(outputs)


@torch.inference_mode()
def main(folder: Path, outputs: Path) -> None:
    """Open the bundle with the automatic classes of transformers, and write ids and logits."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    causal = config.architectures[0].endswith("ForCausalLM")
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    context = min(config.max_position_embeddings, MAX_PROBE_LENGTH)
    texts = [decode_bases(codes) for codes in probe_sequences(context)]
    rows = tokenizer(texts, padding=True, truncation=True, max_length=context, return_tensors="pt")
    logits_BLV = model(input_ids=rows.input_ids, attention_mask=rows.attention_mask).logits
    tensors: dict[str, Tensor] = {}
    for number, real_L in enumerate(rows.attention_mask.bool()):
        tensors[f"ids {number}"] = rows.input_ids[number][real_L].contiguous()
        tensors[f"logits {number}"] = logits_BLV[number][real_L].float().contiguous()
    write_tensors(tensors, outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
