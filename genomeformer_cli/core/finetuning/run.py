"""One fine-tuning: from weights and a seed to weights that validation chose, then judged."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.embedding.windows import batch_windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning.batches import TaskBatches, steps_per_epoch
from genomeformer_cli.core.finetuning.checkpoint import SavedTask
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows, class_weights
from genomeformer_cli.core.finetuning.head import attach, features, head_of
from genomeformer_cli.core.finetuning.inference import Predictor, evaluate_predictions
from genomeformer_cli.core.finetuning.kmer_baseline import (
    KmerBaseline,
    LinearFit,
    known_or_fitted,
    wanted_features,
)
from genomeformer_cli.core.finetuning.lora import add_lora, merge_lora
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.metrics import LOSS, choose_metric, interval
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.finetuning.summary import SCRATCH, LinearResult, Origin, SeedResult
from genomeformer_cli.core.finetuning.task import FinetuningTask, load_best
from genomeformer_cli.core.memory_plans.forecast import Step
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, read_model_config
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import clear_leftovers, write_json
from genomeformer_cli.core.tokenizers.files import load_tokenizer
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import METRICS_FILE, read_rows
from genomeformer_cli.core.training.precision import Trial

RESULT_FILE = "result.json"
LINEAR_FOLDER = "linear"
_FEWEST_VALIDATIONS = 10
_SCRATCH_SEED_SHIFT = 1_000_003
_ROWS_STANDARDISED = 512
_BASES_STANDARDISED = 1 << 17


@dataclass(frozen=True, kw_only=True)
class FinetuningRun:
    """What all seeds share.

    Attributes:
        rows: What is learned from.
        task: What is answered, and how.
        config: Resolved.
        base: Folder of the pretrained weights.
        device: Where it runs.
    """

    rows: LabelledRows
    task: SavedTask
    config: FinetuneConfig
    base: Path
    device: torch.device

    @property
    def num_rows(self) -> dict[str, int]:
        """Rows of each part."""
        return {part: int(rows.size) for part, rows in self.rows.parts.items()}

    @property
    def num_parameters(self) -> int:
        """Of the model and its head, and of the linear model beside it."""
        model = build_model(read_model_config(self.base))
        head = self.task.head(model)
        linear = 0 if head.linear is None else head.linear.weight_FC.numel()
        return model.num_parameters + linear + sum(one.numel() for one in head.parameters())

    @property
    def reported(self) -> str:
        """The measure that results are told in."""
        metric = self.config.tuning.metric
        return choose_metric(self.task.targets, "") if metric == LOSS else metric

    @property
    def loss(self) -> Loss:
        """Of the task."""
        balanced = self.config.tuning.class_weights == "balanced"
        weights = tuple(class_weights(self.rows, balanced=balanced))
        return Loss(targets=self.task.targets, weights=weights)

    def trial(self) -> Trial:
        """A step of about its shape, for precisions to be tried on."""
        loaded = read_model(self.base)
        trained = self.rows.parts[TRAIN]
        length = int(np.median([self.rows.codes[row].size for row in trained]))
        return Trial(
            model=loaded.model.to(self.device),
            step=Step(
                batch=min(self.config.training.batch_size, trained.size),
                length=min(length, self.config.tuning.window),
                real_ids=loaded.tokenizer.real_ids,
            ),
            memory=MemoryConfig(plan="full"),
            steps=self.config.training.steps,
            packed=False,
        )

    def linear_fit(self, run: Path, reporter: Reporter) -> LinearFit | None:
        """The linear model beside the head, from the folder of the run; None if none is wanted."""
        features = self.task.linear
        if features is None:
            return None
        return known_or_fitted(run / LINEAR_FOLDER, self.rows, features, self.loss, reporter)

    def answerer(self, model: Model) -> Predictor:
        """Asks a model that has a head."""
        tokenizer = load_tokenizer(self.base)
        return self.task.answerer(model, tokenizer, self.config.tuning.tokens_per_batch)


def prepared(
    rows: LabelledRows, config: FinetuneConfig, base: Path, device: torch.device
) -> FinetuningRun:
    """A fine-tuning with everything in its configuration that follows from rows and model.

    Args:
        rows: What is learned from.
        config: As it was asked for.
        base: Folder of the pretrained weights.
        device: Where it runs.

    Raises:
        ConfigError: The task has no such measure, no classes to smooth, or labels of bases, which
            a shift would part from them and a linear model does not answer.
    """
    if config.tuning.smoothing and not rows.targets.is_exclusive:
        raise ConfigError(
            f"labels of {rows.targets.kind.value} are not smoothed",
            hint="leave out `tuning.smoothing`",
        )
    if config.tuning.shift and rows.targets.is_per_base:
        raise ConfigError(
            "rows that have a label for every base are not shifted", hint="leave out `tuning.shift`"
        )
    linear = wanted_features(rows, config.tuning)
    per_epoch = steps_per_epoch(rows.parts[TRAIN].size, config.training.batch_size)
    steps = max(math.ceil(config.epochs * per_epoch), 1)
    every = config.validate_every or max(min(per_epoch, steps // _FEWEST_VALIDATIONS), 1)
    window = config.tuning.window or read_model_config(base).context
    metric = choose_metric(rows.targets, config.tuning.metric)
    training = replace(config.training, steps=steps, validate_every=every, checkpoint_every=every)
    config = replace(
        config,
        validate_every=every,
        tuning=replace(config.tuning, window=window, metric=metric),
        training=training,
    )
    task = SavedTask(
        name=rows.name,
        targets=rows.targets,
        pool="none" if rows.targets.is_per_base else config.tuning.pool,
        strands=config.tuning.strands,
        window=window,
        linear=linear,
    )
    return FinetuningRun(rows=rows, task=task, config=config, base=base, device=device)


def tune(
    tuning: FinetuningRun, run: Path, origin: Origin, seed: int, reporter: Reporter
) -> SeedResult:
    """Train one seed, or go on with it; if it is finished, read what it came to.

    Args:
        tuning: What all seeds share.
        run: Folder of the run; the seed has one in it.
        origin: `pretrained` or `scratch`.
        seed: Of the head, the order of rows, strands, dropout, and random weights.
        reporter: Follows the steps.
    """
    folder = run / _folder_name(origin, seed)
    if (folder / RESULT_FILE).is_file():
        plain = read_json(folder / RESULT_FILE)
        return from_plain(SeedResult, plain, where=str(folder / RESULT_FILE))
    folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)
    model = _start(tuning, origin, seed)
    fit = tuning.linear_fit(run, reporter)
    linear = head_of(model).linear
    if fit is not None and linear is not None:
        fit.into(linear)
    answerer, loss = tuning.answerer(model), tuning.loss
    learning = FinetuningTask(
        tuning=tuning.config.tuning,
        loss=loss,
        metric=tuning.config.tuning.metric,
        seed=seed,
        beside_NC=None if fit is None else fit.outputs_NC,
    )
    config = replace(tuning.config.training, seed=seed)
    if origin == SCRATCH and tuning.config.scratch_rate:
        config = replace(config, learning_rate=tuning.config.scratch_rate)
    num_trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    train(
        TrainingRun(
            folder=folder,
            model=model,
            tokenizer=answerer.packer.tokenizer,
            batches=TaskBatches(
                tuning.rows,
                answerer.packer,
                tuning.config.tuning,
                batch_size=config.batch_size,
                seed=seed,
            ),
            config=config,
            memory=MemoryConfig(plan="full"),
            compute=tuning.config.compute,
            validate=lambda trained: answerer.judged(tuning.rows, VALIDATION, loss)[0],
            task=learning,
        ),
        reporter,
    )
    load_best(model, folder)
    result = _judged(tuning, learning, answerer, folder, (origin, seed, num_trained))
    write_json(folder / RESULT_FILE, asdict(result))
    return result


def linear_result(tuning: FinetuningRun, run: Path, reporter: Reporter) -> LinearResult | None:
    """What the linear model beside the head comes to by itself; None if none is wanted."""
    fit, features = tuning.linear_fit(run, reporter), tuning.task.linear
    if fit is None or features is None:
        return None
    linear = KmerBaseline(features, len(tuning.task.targets.names))
    fit.into(linear)
    said = linear.outputs([tuning.rows.codes[row] for row in tuning.rows.parts[TEST]])
    test, answers = evaluate_predictions(list(said[:, None]), tuning.rows, TEST, tuning.loss)
    truth = [tuning.rows.truth[row] for row in tuning.rows.parts[TEST]]
    seed = tuning.config.training.seed
    found = interval(tuning.task.targets, answers, truth, tuning.reported, seed=seed)
    return LinearResult(test=test, interval=found)


def _folder_name(origin: str, seed: int) -> str:
    return f"{origin}-seed-{seed}"


def _judged(
    tuning: FinetuningRun,
    learning: FinetuningTask,
    answerer: Predictor,
    folder: Path,
    which: tuple[Origin, int, int],
) -> SeedResult:
    origin, seed, num_trained = which
    rows = read_rows(folder / METRICS_FILE)
    best = learning.best_row([row for row in rows if "validation" in row])
    test, answers = answerer.judged(tuning.rows, TEST, learning.loss)
    truth = [tuning.rows.truth[row] for row in tuning.rows.parts[TEST]]
    return SeedResult(
        origin=origin,
        seed=seed,
        steps=rows[-1]["step"],
        best_step=best["step"],
        validation=learning.score_of(best),
        test=test,
        interval=interval(tuning.task.targets, answers, truth, tuning.reported, seed=seed),
        num_trained=num_trained,
    )


def loaded_best(tuning: FinetuningRun, run: Path, result: SeedResult) -> LoadedModel:
    """The weights that a seed kept, changes of low rank made part of them."""
    model = _start(tuning, result.origin, result.seed, standardised=False)
    load_best(model, run / _folder_name(result.origin, result.seed))
    merge_lora(model)
    model.eval()
    return LoadedModel(model=model, tokenizer=load_tokenizer(tuning.base), folder=tuning.base)


def _start(tuning: FinetuningRun, origin: str, seed: int, *, standardised: bool = True) -> Model:
    """A model with a fresh head, and what is to be trained of it."""
    chosen = tuning.config.tuning
    if origin == SCRATCH:
        config = read_model_config(tuning.base)
        model = build_model(config, seed=seed + _SCRATCH_SEED_SHIFT)
    else:
        model = read_model(tuning.base).model
    model.to(tuning.device)
    if chosen.method == "lora":
        add_lora(model, chosen.rank, chosen.alpha, seed=seed)
    else:
        model.requires_grad_(requires_grad=chosen.method == "full")
    attach(model, tuning.task.head(model, seed=seed).to(tuning.device))
    if standardised:
        _standardise(tuning, model)
    return model


@torch.inference_mode()
def _standardise(tuning: FinetuningRun, model: Model) -> None:
    """Let the head know how large features are, from some training rows."""
    answerer = tuning.answerer(model)
    codes, num_bases = [], 0
    # Drawn: a file may have its classes one after the other.
    drawn = np.random.default_rng([tuning.config.split.seed, 29]).permutation(
        tuning.rows.parts[TRAIN]
    )
    for row in drawn[:_ROWS_STANDARDISED]:
        codes.append(tuning.rows.codes[row])
        num_bases += codes[-1].size
        if num_bases > _BASES_STANDARDISED:
            break
    seen = []
    lengths = np.array([one.size for one in codes], dtype=np.int64)
    for batch in batch_windows(lengths, answerer.tokens_per_batch):
        packed = answerer.packer.pack([codes[row] for row in batch]).to(tuning.device)
        found = features(model, packed, answerer.tokens_per_batch)
        seen.append(head_of(model).pooled(found, packed))
    head_of(model).standardise(torch.cat(seen))
