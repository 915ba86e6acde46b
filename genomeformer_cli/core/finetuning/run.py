"""One fine-tuning: from weights and a seed to the weights selected by validation, then tested."""

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
from genomeformer_cli.core.finetuning.config import FinetuneConfig, TuningConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows, class_weights
from genomeformer_cli.core.finetuning.frozen_features import features_of_training
from genomeformer_cli.core.finetuning.head import attach_head, get_head, position_features
from genomeformer_cli.core.finetuning.inference import Predictor, evaluate_predictions
from genomeformer_cli.core.finetuning.kmer_baseline import (
    KmerBaseline,
    LinearFit,
    load_or_fit,
    select_features,
)
from genomeformer_cli.core.finetuning.lora import add_lora, merge_lora
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.metrics import LOSS, bootstrap_interval, choose_metric
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.finetuning.summary import (
    SCRATCH,
    LinearResult,
    Origin,
    SeedResult,
)
from genomeformer_cli.core.finetuning.task import FinetuningTask, load_best
from genomeformer_cli.core.memory_plans.forecast import Step
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.model_io.model_folder import (
    LoadedModel,
    read_model,
    read_model_config,
    read_tokenizer,
)
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import clear_leftovers
from genomeformer_cli.core.store.results import check_result, write_result
from genomeformer_cli.core.tokenizers.protocol import real_id_range
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import METRICS_FILE, read_rows
from genomeformer_cli.core.training.precision import Trial

RESULT_FILE = "result.json"
LINEAR_FOLDER = "linear"
_MIN_VALIDATIONS = 10
_SCRATCH_SEED_SHIFT = 1_000_003
_ROWS_STANDARDISED = 512
_BASES_STANDARDISED = 1 << 17


@dataclass(frozen=True, kw_only=True)
class FinetuningRun:
    """Settings that all seeds share."""

    rows: LabelledRows  # Labelled rows.
    task: SavedTask  # Task of the head.
    config: FinetuneConfig  # Resolved configuration.
    base: Path  # Folder of the pretrained weights.
    device: torch.device  # Device of the computation.
    # Folder of weights that were adapted to the training rows; None: start from `base`.
    adapted: Path | None = None

    @property
    def num_rows(self) -> dict[str, int]:
        """Number of rows of each split."""
        return {part: int(rows.size) for part, rows in self.rows.splits.items()}

    @property
    def num_parameters(self) -> int:
        """Parameters of the model, its head and the linear model."""
        model = build_model(read_model_config(self.base))
        head = self.task.build_head(model)
        linear = 0 if head.linear is None else head.linear.weight_FC.numel()
        return (
            model.num_parameters
            + linear
            + sum(parameter.numel() for parameter in head.parameters())
        )

    @property
    def report_metric(self) -> str:
        """Metric of the reported results."""
        metric = self.config.tuning.metric
        return choose_metric(self.task.targets, "") if metric == LOSS else metric

    @property
    def loss(self) -> Loss:
        """Loss of the task."""
        balanced = self.config.tuning.class_weights == "balanced"
        weights = tuple(class_weights(self.rows, balanced=balanced))
        return Loss(label_space=self.task.targets, weights=weights)

    def trial(self) -> Trial:
        """Return a step of a typical shape, for comparing precisions."""
        loaded = read_model(self.base)
        train_rows = self.rows.splits[TRAIN]
        length = int(np.median([self.rows.codes[row].size for row in train_rows]))
        return Trial(
            model=loaded.model.to(self.device),
            step=Step(
                batch=min(self.config.training.batch_size, train_rows.size),
                length=min(length, self.config.tuning.window),
                real_ids=real_id_range(loaded.tokenizer),
            ),
            memory=MemoryConfig(plan="full"),
            steps=self.config.training.steps,
            packed=False,
        )

    def linear_fit(self, run: Path, reporter: Reporter) -> LinearFit | None:
        """Return the linear model of the head, from the folder of the run; None without one."""
        features = self.task.linear
        if features is None:
            return None
        return load_or_fit(run / LINEAR_FOLDER, self.rows, features, self.loss, reporter)

    def predictor(self, model: Model) -> Predictor:
        """Return the predictor of a model with a head."""
        tokenizer = read_tokenizer(self.base)
        return self.task.predictor(model, tokenizer, self.config.tuning.tokens_per_batch)


def prepare_run(
    rows: LabelledRows, config: FinetuneConfig, base: Path, device: torch.device
) -> FinetuningRun:
    """Resolve the configuration of a fine-tuning against its rows and its model.

    Args:
        rows: Labelled rows.
        config: Configuration as requested.
        base: Folder of the pretrained weights.
        device: Device of the computation.

    Raises:
        ConfigError: The task does not support the metric, label smoothing, shifting, a linear
            model or a motif scanner.
    """
    if config.tuning.smoothing and not rows.label_space.is_exclusive:
        raise ConfigError(
            f"labels of {rows.label_space.kind.value} are not smoothed",
            hint="leave out `tuning.smoothing`",
        )
    if config.tuning.shift and rows.label_space.is_per_base:
        raise ConfigError(
            "rows that have a label for every base are not shifted", hint="leave out `tuning.shift`"
        )
    linear, motifs = select_features(rows, config.tuning), select_motifs(rows, config.tuning)
    per_epoch = steps_per_epoch(rows.splits[TRAIN].size, config.training.batch_size)
    steps = max(math.ceil(config.epochs * per_epoch), 1)
    interval_steps = config.validate_every or max(min(per_epoch, steps // _MIN_VALIDATIONS), 1)
    window = config.tuning.window or read_model_config(base).context
    metric = choose_metric(rows.label_space, config.tuning.metric)
    training = replace(
        config.training, steps=steps, validate_every=interval_steps, checkpoint_every=interval_steps
    )
    config = replace(
        config,
        network=config.choose_network(per_base=rows.label_space.is_per_base),
        validate_every=interval_steps,
        tuning=replace(config.tuning, window=window, metric=metric),
        training=training,
    )
    task = SavedTask(
        name=rows.name,
        targets=rows.label_space,
        pool="none" if rows.label_space.is_per_base else config.tuning.pool,
        strands=config.tuning.strands,
        window=window,
        linear=linear,
        motifs=motifs,
        longest=max(rows.codes[row].size for row in rows.splits[TRAIN]),
    )
    return FinetuningRun(rows=rows, task=task, config=config, base=base, device=device)


def select_motifs(rows: LabelledRows, tuning: TuningConfig) -> MotifOptions | None:
    """Return the shape of the configured motif scanner; None without one.

    Raises:
        ConfigError: The task has labels of bases, or the number of filters is invalid.
    """
    if not tuning.motif_filters:
        return None
    if rows.label_space.is_per_base:
        raise ConfigError(
            "a motif scanner pools over rows and cannot predict labels of bases",
            hint="leave out `tuning.motif_filters`",
        )
    return MotifOptions(
        num_filters=tuning.motif_filters,
        both_strands=tuning.strands != "given",
        length=max(rows.codes[row].size for row in rows.splits[TRAIN]),
    )


def train_seed(
    finetuning: FinetuningRun, run: Path, origin: Origin, seed: int, reporter: Reporter
) -> SeedResult:
    """Train or resume one seed; return the stored result of a finished seed.

    Args:
        finetuning: Settings that all seeds share.
        run: Folder of the run, with one folder per seed.
        origin: `pretrained` or `scratch`.
        seed: Seed of the head, the order of rows, strands, dropout, and random weights.
        reporter: Receives progress.
    """
    folder = run / _folder_name(origin, seed)
    if (folder / RESULT_FILE).is_file():
        check_result(folder / RESULT_FILE)
        plain = read_json(folder / RESULT_FILE)
        return from_plain(SeedResult, plain, where=str(folder / RESULT_FILE))
    folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)
    model = _start(finetuning, origin, seed)
    fit = finetuning.linear_fit(run, reporter)
    linear = get_head(model).linear
    if fit is not None and linear is not None:
        fit.copy_to(linear)
    predictor, loss = finetuning.predictor(model), finetuning.loss
    frozen = features_of_training(
        model, predictor.collator, finetuning.rows, finetuning.config, reporter
    )
    validator = replace(predictor, frozen=frozen)
    task = FinetuningTask(
        tuning=finetuning.config.tuning,
        loss=loss,
        metric=finetuning.config.tuning.metric,
        seed=seed,
        linear_outputs_NC=None if fit is None else fit.outputs_NC,
    )
    config = replace(finetuning.config.training, seed=seed)
    if origin == SCRATCH and finetuning.config.scratch_rate:
        config = replace(config, learning_rate=finetuning.config.scratch_rate)
    num_trained = sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    )
    train(
        TrainingRun(
            folder=folder,
            model=model,
            tokenizer=predictor.collator.tokenizer,
            batches=TaskBatches(
                finetuning.rows,
                predictor.collator,
                finetuning.config.tuning,
                batch_size=config.batch_size,
                seed=seed,
                frozen=frozen,
            ),
            config=config,
            memory=MemoryConfig(plan="full"),
            compute=finetuning.config.compute,
            validate=lambda model_: validator.evaluate(finetuning.rows, VALIDATION, loss)[0],
            task=task,
        ),
        reporter,
    )
    load_best(model, folder)
    result = _judged(finetuning, task, predictor, folder, (origin, seed, num_trained))
    write_result(folder / RESULT_FILE, asdict(result), sources=(METRICS_FILE,))
    return result


def evaluate_linear(
    finetuning: FinetuningRun, run: Path, reporter: Reporter
) -> LinearResult | None:
    """Return the test score of the linear model alone; None without one."""
    fit, features = finetuning.linear_fit(run, reporter), finetuning.task.linear
    if fit is None or features is None:
        return None
    linear = KmerBaseline(features, len(finetuning.task.targets.names))
    fit.copy_to(linear)
    outputs = linear.outputs([finetuning.rows.codes[row] for row in finetuning.rows.splits[TEST]])
    test, predictions = evaluate_predictions(
        list(outputs[:, None]), finetuning.rows, TEST, finetuning.loss
    )
    targets = [finetuning.rows.targets[row] for row in finetuning.rows.splits[TEST]]
    seed = finetuning.config.training.seed
    test_interval = bootstrap_interval(
        finetuning.task.targets, predictions, targets, finetuning.report_metric, seed=seed
    )
    return LinearResult(test=test, interval=test_interval)


def _folder_name(origin: str, seed: int) -> str:
    return f"{origin}-seed-{seed}"


def _judged(
    finetuning: FinetuningRun,
    task: FinetuningTask,
    predictor: Predictor,
    folder: Path,
    identity: tuple[Origin, int, int],
) -> SeedResult:
    origin, seed, num_trained = identity
    rows = read_rows(folder / METRICS_FILE)
    best = task.best_row([row for row in rows if "validation" in row])
    test, predictions = predictor.evaluate(finetuning.rows, TEST, task.loss)
    targets = [finetuning.rows.targets[row] for row in finetuning.rows.splits[TEST]]
    return SeedResult(
        origin=origin,
        seed=seed,
        steps=rows[-1]["step"],
        best_step=best["step"],
        validation=task.score_of(best),
        test=test,
        interval=bootstrap_interval(
            finetuning.task.targets, predictions, targets, finetuning.report_metric, seed=seed
        ),
        num_trained=num_trained,
    )


def load_best_model(finetuning: FinetuningRun, run: Path, result: SeedResult) -> LoadedModel:
    """Load the selected weights of a seed, with low-rank updates merged.

    A model whose weights are those of its base keeps the record of the base's error in int8.
    """
    model = _start(finetuning, result.origin, result.seed, standardised=False)
    load_best(model, run / _folder_name(result.origin, result.seed))
    merge_lora(model)
    model.eval()
    is_frozen = finetuning.config.tuning.method == "head" and result.origin != SCRATCH
    return LoadedModel(
        model=model,
        tokenizer=read_tokenizer(finetuning.base),
        folder=finetuning.base,
        int8=read_model(finetuning.base).int8 if is_frozen else None,
    )


def _start(
    finetuning: FinetuningRun, origin: str, seed: int, *, standardised: bool = True
) -> Model:
    """Return a model with a newly initialised head and its trainable parameters set."""
    options = finetuning.config.tuning
    if origin == SCRATCH:
        config = read_model_config(finetuning.base)
        model = build_model(config, seed=seed + _SCRATCH_SEED_SHIFT)
    else:
        model = read_model(finetuning.adapted or finetuning.base).model
    model.to(finetuning.device)
    if options.method == "lora":
        add_lora(model, options.rank, options.alpha, seed=seed)
    else:
        model.requires_grad_(requires_grad=options.method == "full")
    attach_head(model, finetuning.task.build_head(model, seed=seed).to(finetuning.device))
    if standardised:
        _standardise(finetuning, model)
    return model


@torch.inference_mode()
def _standardise(finetuning: FinetuningRun, model: Model) -> None:
    """Set the input statistics of the head from a sample of the training rows."""
    predictor = finetuning.predictor(model)
    codes, num_bases = [], 0
    # Drawn: a file may have its classes one after the other.
    order = np.random.default_rng([finetuning.config.split.seed, 29]).permutation(
        finetuning.rows.splits[TRAIN]
    )
    for row in order[:_ROWS_STANDARDISED]:
        codes.append(finetuning.rows.codes[row])
        num_bases += codes[-1].size
        if num_bases > _BASES_STANDARDISED:
            break
    head = get_head(model)
    lengths = np.array([row_codes.size for row_codes in codes], dtype=np.int64)
    batches = [
        predictor.collator.collate([codes[row] for row in batch]).to(finetuning.device)
        for batch in batch_windows(lengths, predictor.tokens_per_batch)
    ]
    if head.motifs is not None:
        head.motifs.standardise([inputs.base_rows for inputs in batches])
    features = [
        head.input_features(position_features(model, inputs, predictor.tokens_per_batch), inputs)
        for inputs in batches
    ]
    head.standardise(torch.cat(features))
