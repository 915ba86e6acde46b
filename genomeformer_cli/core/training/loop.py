"""Training loop: each step is a pure function of the weights and of (seed, step).

The inputs, masks and strands of step `s` depend only on the seed and on `s`. A run that is killed
and resumed from its newest checkpoint therefore gives bitwise equal weights on one CPU.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.errors import ConfigError, TrainingError
from genomeformer_cli.core.memory_plans.memory_meter import forget_peak, peak_bytes
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.model_io.rotation import (
    checkpoint_folder,
    drop_old_checkpoints,
    newest_valid_checkpoint,
)
from genomeformer_cli.core.model_io.training_state import (
    gather_state,
    read_average,
    read_checkpoint,
    write_checkpoint,
)
from genomeformer_cli.core.models.genomeformer.block import Block
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import atomic_folder, clear_leftovers
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.training.auxiliary import AuxiliaryWeights
from genomeformer_cli.core.training.batches import Batch, Prefetcher, StepBatch
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import SINGLE_PROCESS, ProcessGroup
from genomeformer_cli.core.training.ema import WeightAverage
from genomeformer_cli.core.training.feature_redraw import redraw_features
from genomeformer_cli.core.training.length_curriculum import stage_of, stages
from genomeformer_cli.core.training.loggers import OpenObserver
from genomeformer_cli.core.training.metrics import METRICS_FILE, read_rows
from genomeformer_cli.core.training.metrics_writer import MetricsWriter, StepOutcome
from genomeformer_cli.core.training.optimizer import set_learning_rate
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.schedule import learning_rate
from genomeformer_cli.core.training.spike_guard import SpikeGuard
from genomeformer_cli.core.training.task import PretrainingTask, TrainingTask


class MakesBatches(Protocol):
    """Builder of the batch of any step."""

    def make(self, step: int) -> StepBatch:
        """Build the batch of a step."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything needed to train a run."""

    folder: Path  # Run folder.
    model: Model  # Model with initial weights; those of the newest checkpoint replace them.
    tokenizer: Tokenizer  # Tokenizer, saved with every checkpoint.
    batches: MakesBatches  # Builder of the batches.
    config: TrainingConfig  # Steps, optimizer, schedule.
    memory: MemoryConfig  # Memory plan of the gradients.
    compute: ComputeConfig  # Precision and compilation.
    # Function that scores a model on held-out data; returns a dataclass of plain values.
    validate: Callable[[Model], Any]
    task: TrainingTask = field(default_factory=PretrainingTask)  # Training task.
    expected_bytes: int | None = None  # Predicted peak memory of a step, if it was predicted.
    loggers: Sequence[OpenObserver] = ()  # Functions that open run loggers.
    # Processes that train together; only the main one writes files and logs.
    process_group: ProcessGroup = SINGLE_PROCESS
    shard: bool = False  # True if the weights are sharded over them.
    auxiliary: nn.Module | None = None  # Module trained beside the model and not released.


def train(run: TrainingRun, reporter: Reporter) -> Path:
    """Train to the end, from the newest complete checkpoint if there is one.

    Returns:
        Folder of the last checkpoint.

    Raises:
        MissingExtraError: A logger is not installed.
        ConfigError: There are more processes than rows per step.
        TrainingError: The loss is not finite.
        CheckpointError: Every checkpoint is damaged.
    """
    group, config = run.process_group, run.config
    check_rows(config, run.model.config, group)
    trainer = _Trainer(run)
    first = trainer.begin(reporter)
    device = run.model.device
    records = (
        MetricsWriter(run.folder, config.steps, first, reporter, run.loggers, device)
        if group.is_main
        else None
    )
    steps = range(first, first if trainer.ended else config.steps)
    forget_peak(device)
    ahead = Prefetcher(_share(run), first, steps.stop, pinned=device.type == "cuda")
    try:
        with ahead:
            for step in steps:
                started = time.monotonic()
                outcome = trainer.step(ahead.next())
                seconds = time.monotonic() - started
                _tell(run, outcome, first=step == first, reporter=reporter)
                num_done = step + 1
                last = num_done == config.steps
                due = last or num_done % config.validate_every == 0
                if due and (group.is_main or group.shards):
                    trainer.validate(outcome.row)
                    last = last or trainer.ended
                if records:
                    records.add(outcome, trainer.validation, seconds)
                if last or num_done % config.checkpoint_every == 0:
                    if records:
                        records.sync()
                    trainer.save(num_done)
                if last:
                    break
    finally:
        if records:
            records.close()
    return checkpoint_folder(run.folder, trainer.num_done)


def time_step(run: TrainingRun, *, seconds: float, at_least: int = 5) -> float:
    """Return the median seconds of a step with the longest windows; the weights are discarded.

    Args:
        run: Run; its folder is not modified.
        seconds: Smallest duration of the measurement.
        at_least: Smallest number of steps, after one warm-up step.
    """
    trainer = _Trainer(run)
    first = stages(run.config, run.model.config.context)[-1].first
    times: list[float] = []
    with Prefetcher(run.batches.make, first, run.config.steps) as ahead:
        for _ in range(first, run.config.steps):
            started = time.monotonic()
            trainer.step(ahead.next())
            times.append(time.monotonic() - started)
            if len(times) > at_least and sum(times[1:]) >= seconds:
                break
    return statistics.median(times[1:] or times)


def check_rows(config: TrainingConfig, model: ArchitectureConfig, group: ProcessGroup) -> None:
    """Check that every process has a row of every step.

    Raises:
        ConfigError: There are more processes than rows.
    """
    fewest = min(stage.rows for stage in stages(config, model.context))
    if fewest < group.num_shares:
        raise ConfigError(
            f"a step of {fewest} windows cannot be shared by {group.num_shares} processes",
            hint="raise `--batch-size`, or start fewer processes",
        )


def _share(run: TrainingRun) -> Callable[[int], StepBatch]:
    """Return a function that builds this process's share of a step."""
    group = run.process_group

    def make(step: int) -> StepBatch:
        batch = run.batches.make(step)
        assert isinstance(batch, Batch)
        return batch.rows(group.rows(len(batch.examples.inputs_BL)))

    return run.batches.make if group.num_shares == 1 else make


class _Trainer:
    """State of a run: weights, optimizers, average, spike guard, validations.

    Attributes:
        done: Number of steps done.
        validation: Latest score on held-out data.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        if run.shard:
            blocks = [module for module in run.model.modules() if isinstance(module, Block)]
            run.process_group.shard(run.model, blocks, ("hidden", "hidden_at"))
        self._optimizers = run.task.optimizers(run.model, run.config)
        module = run.auxiliary
        self._auxiliary = None if module is None else AuxiliaryWeights(module, run.config)
        self._average = WeightAverage(run.model, run.config.ema) if run.config.ema else None
        self._stages = stages(run.config, run.model.config.context)
        self._guard = SpikeGuard(run.config.spike_factor, ())
        self._validations: list[Mapping[str, Any]] = []
        self.num_done = 0
        self.validation: Any = None

    @property
    def ended(self) -> bool:
        """True if the run stops here, before its last step."""
        return self._run.task.ends(self._validations)

    def begin(self, reporter: Reporter) -> int:
        """Resume from the newest complete checkpoint, if any; return the number of steps done."""
        run = self._run
        name = run.process_group.broadcast_from_main(lambda: _newest(run.folder, reporter))
        if name:
            checkpoint = checkpoint_folder(run.folder, 0).with_name(name)
            self.num_done = read_checkpoint(
                checkpoint,
                model=run.model,
                optimizers=self._optimizers,
                place=run.process_group.shard_like,
            )
            if self._average is not None:
                self._average.restore(read_average(checkpoint))
            if self._auxiliary is not None:
                self._auxiliary.read(checkpoint)
            reporter.note(f"resuming after step {self.num_done} of {run.config.steps}")
        run.process_group.broadcast_weights(run.model)
        rows = [row for row in read_rows(run.folder / METRICS_FILE) if row["step"] <= self.num_done]
        self._guard = SpikeGuard(run.config.spike_factor, rows)
        self._validations = [row for row in rows if "validation" in row]
        if self._validations:
            self.validation = run.task.read_score(self._validations[-1]["validation"])
        return self.num_done

    def step(self, batch: StepBatch) -> StepOutcome:
        """Train on a batch."""
        run, config = self._run, self._run.config
        rate = learning_rate(batch.step, config)
        redraw_features(run.model, config, batch.step)
        run.model.zero_grad(set_to_none=True)
        optimizers = [*self._optimizers]
        if self._auxiliary is not None:
            optimizers.append(self._auxiliary.optimizer)
            self._auxiliary.optimizer.zero_grad()
        memory = self._memory(batch.step)
        with computing(run.compute, run.model):
            learned = run.task.gradients(run.model, batch, memory, run.process_group)
        if not config.spike_factor and not math.isfinite(learned.loss):
            raise TrainingError(
                f"the loss is {learned.loss} at step {batch.step + 1}",
                hint="lower `--learning-rate`; the newest checkpoint is from before that step",
            )
        set_learning_rate(optimizers, rate)
        norm = run.process_group.full_tensor(
            torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip_norm)
        ).item()
        if self._auxiliary is not None:
            self._auxiliary.clip()
        row: dict[str, Any] = {"step": batch.step + 1, "num_bases": batch.num_bases}
        row |= {"learning_rate": rate, "gradient_norm": norm}
        if self._guard.takes(norm):
            for optimizer in optimizers:
                optimizer.step()
            if self._average is not None:
                self._average.update(batch.step)
        else:
            row["left_out"] = True
        row["training"] = to_plain(learned.score)
        self.num_done = batch.step + 1
        return StepOutcome(row=row, score=learned.score, num_bases=batch.num_bases, rate=rate)

    def _memory(self, step: int) -> MemoryConfig:
        """Return the memory plan; rows at a time hold equal numbers of tokens in every stage."""
        stage, memory = stage_of(step, self._stages), self._run.memory
        if not memory.rows:
            return replace(memory, rows=stage.rows_at_once)
        rows = max(memory.rows * self._run.model.config.context // stage.length, 1)
        return replace(memory, rows=min(rows, stage.rows_at_once or rows))

    def validate(self, row: dict[str, Any]) -> None:
        """Score the weights and their average, if any, and add the scores to the row."""
        run = self._run
        self.validation = run.validate(run.model)
        run.process_group.reshard(run.model)
        row["validation"] = to_plain(self.validation)
        self._validations.append(row)
        if self._average is None:
            self._offer()
            return
        with self._average.in_place() as averaged:
            row["validation_average"] = to_plain(run.validate(averaged))
            self._offer()

    def _offer(self) -> None:
        """Pass the current weights to the task, which may keep them."""
        run = self._run
        if run.process_group.is_main:
            run.task.keep(run.model, run.folder, self._validations)

    def save(self, step: int) -> None:
        """Write a checkpoint, then remove the oldest; all processes gather sharded tensors."""
        run, group = self._run, self._run.process_group
        if not (group.is_main or group.shards):
            return
        average = None if self._average is None else self._average.tensors
        state = gather_state(run.model, self._optimizers, average, group.full_tensor)
        if not group.is_main:
            return
        with atomic_folder(checkpoint_folder(run.folder, step), replace=True) as folder:
            write_checkpoint(
                folder, model=run.model, tokenizer=run.tokenizer, state=state, step=step
            )
            if self._auxiliary is not None:
                self._auxiliary.write(folder)
            seal(folder)
        drop_old_checkpoints(run.folder, run.config.keep_checkpoints)


def _newest(folder: Path, reporter: Reporter) -> str:
    """Return the name of the newest complete checkpoint; remove what killed processes left."""
    clear_leftovers(folder / "checkpoints")
    newest = newest_valid_checkpoint(folder, reporter)
    return newest.name if newest else ""


def _tell(run: TrainingRun, outcome: StepOutcome, *, first: bool, reporter: Reporter) -> None:
    """Report the memory of the first step, and skipped steps."""
    if first:
        reporter.note(_memory_used(run, peak_bytes(run.model.device)))
    if outcome.row.get("left_out"):
        reporter.warn(
            f"step {outcome.row['step']} left out: its gradient is a spike of "
            f"{outcome.row['gradient_norm']:.3g}"
        )


def _memory_used(run: TrainingRun, peak: int) -> str:
    text = f"memory plan `{run.memory.plan}`: {peak / 2**30:.2f} GiB at its peak"
    if run.expected_bytes is not None:
        text += f", {run.expected_bytes / 2**30:.2f} GiB forecast"
    return text
