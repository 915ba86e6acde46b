"""The training loop: one step after another, each a pure function of the weights and (seed, step).

What step `s` sees, hides and flips depends on nothing but the seed and `s`; so a run killed at any
moment and resumed from its newest checkpoint gives the same weights, to the bit on one CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from genomeformer_cli.core.checkpoints.rotation import (
    checkpoint_folder,
    drop_old_checkpoints,
    newest_whole_checkpoint,
)
from genomeformer_cli.core.checkpoints.state import (
    read_average,
    read_checkpoint,
    write_average,
    write_checkpoint,
)
from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.errors import TrainingError
from genomeformer_cli.core.gradients.meter import forget_peak, peak_bytes
from genomeformer_cli.core.gradients.plans import MemoryConfig
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import atomic_folder, clear_leftovers
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.training.average import Average
from genomeformer_cli.core.training.batches import Ahead, StepBatch
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.learning import Learning, Pretraining
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    MetricsFile,
    StepDone,
)
from genomeformer_cli.core.training.observers import OpenObserver
from genomeformer_cli.core.training.optimizer import set_learning_rate
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.redraw import redraw_features
from genomeformer_cli.core.training.schedule import learning_rate
from genomeformer_cli.core.training.spikes import SpikeGuard
from genomeformer_cli.core.training.stages import stage_of, stages

_REPORT_SECONDS = 0.2


class MakesBatches(Protocol):
    """Makes the batch of any step."""

    def make(self, step: int) -> StepBatch:
        """The batch of a step."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything a run trains with.

    Attributes:
        folder: The run folder.
        model: Fresh weights; those of the newest checkpoint replace them.
        tokenizer: Saved with every checkpoint.
        batches: What the steps are asked.
        config: Steps, optimizer, schedule.
        memory: How gradients are computed.
        compute: In which precision, compiled or not.
        validate: Scores a model on what is held out: a dataclass of plain values.
        learning: What is learned.
        expected_bytes: What the process is to hold at the peak of a step, if that was forecast.
        observers: Open what is shown every row of the metrics.
    """

    folder: Path
    model: Model
    tokenizer: Tokenizer
    batches: MakesBatches
    config: TrainingConfig
    memory: MemoryConfig
    compute: ComputeConfig
    validate: Callable[[Model], Any]
    learning: Learning = field(default_factory=Pretraining)
    expected_bytes: int | None = None
    observers: Sequence[OpenObserver] = ()


def train(run: TrainingRun, reporter: Reporter) -> Path:
    """Train to the end, from the newest whole checkpoint if there is one.

    Returns:
        The last checkpoint.

    Raises:
        MissingExtraError: What is to watch is not installed.
        TrainingError: The loss is no longer a number.
        CheckpointError: Every checkpoint is damaged.
    """
    clear_leftovers(run.folder / "checkpoints")
    trainer = _Trainer(run)
    newest = newest_whole_checkpoint(run.folder, reporter)
    first = 0
    if newest is not None:
        first = trainer.resume(newest)
        reporter.note(f"resuming after step {first} of {run.config.steps}")
    observers = [opened(run.folder, first) for opened in run.observers]
    metrics = MetricsFile(run.folder / METRICS_FILE, resume_step=first)
    trainer.guard = SpikeGuard(run.config.spike_factor, metrics.kept)
    speed = _Speed(run, first, reporter)
    trainer.recall(metrics.validations)
    steps = range(first, first if trainer.ended else run.config.steps)
    device = run.model.device
    forget_peak(device)
    ahead = Ahead(run.batches.make, first, steps.stop, pinned=device.type == "cuda")
    try:
        with ahead:
            for step in steps:
                taken = trainer.step(ahead.next())
                _tell(run, taken, first=step == first, reporter=reporter)
                done = step + 1
                last = done == run.config.steps
                if last or done % run.config.validate_every == 0:
                    trainer.validate(taken.row)
                    last = last or trainer.ended
                metrics.append(taken.row)
                for observer in observers:
                    observer.row(taken.row)
                speed.step(taken, trainer.validation)
                if last or done % run.config.checkpoint_every == 0:
                    metrics.sync()
                    trainer.save(done)
                if last:
                    break
    finally:
        metrics.close()
        speed.close()
        for observer in observers:
            observer.close()
    return checkpoint_folder(run.folder, trainer.done)


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """A step that was taken, or left out.

    Attributes:
        row: For the metrics.
        score: On its targets.
        num_bases: In its windows.
        rate: Learning rate.
    """

    row: dict[str, Any] = field(default_factory=dict)
    score: Any
    num_bases: int
    rate: float


class _Trainer:
    """The state of a run: weights, optimizers, average, guard, validations.

    Attributes:
        done: Steps taken.
        validation: Newest score on what is held out.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._optimizers = run.learning.optimizers(run.model, run.config)
        self._average = Average(run.model, run.config.ema) if run.config.ema else None
        self._stages = stages(run.config, run.model.config.context)
        self.guard = SpikeGuard(run.config.spike_factor, ())
        self._validations: list[Mapping[str, Any]] = []
        self.done = 0
        self.validation: Any = None

    @property
    def ended(self) -> bool:
        """Whether the run ends here, before its last step."""
        return self._run.learning.ends(self._validations)

    def recall(self, validations: Sequence[Mapping[str, Any]]) -> None:
        """Know the validations of before the run was resumed."""
        self._validations = list(validations)
        if self._validations:
            self.validation = self._run.learning.read_score(self._validations[-1]["validation"])

    def resume(self, checkpoint: Path) -> int:
        """Go on from a checkpoint; return the steps it has seen."""
        self.done = read_checkpoint(checkpoint, model=self._run.model, optimizers=self._optimizers)
        if self._average is not None:
            self._average.restore(read_average(checkpoint))
        return self.done

    def step(self, batch: StepBatch) -> _Taken:
        """Train on a batch."""
        run, config = self._run, self._run.config
        rate = learning_rate(batch.step, config)
        redraw_features(run.model, config, batch.step)
        run.model.zero_grad(set_to_none=True)
        with computing(run.compute, run.model):
            learned = run.learning.gradients(run.model, batch, self._memory(batch.step))
        if not config.spike_factor and not math.isfinite(learned.loss):
            raise TrainingError(
                f"the loss is {learned.loss} at step {batch.step + 1}",
                hint="lower `--learning-rate`; the newest checkpoint is from before that step",
            )
        set_learning_rate(self._optimizers, rate)
        norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip_norm).item()
        row: dict[str, Any] = {"step": batch.step + 1, "num_bases": batch.num_bases}
        row |= {"learning_rate": rate, "gradient_norm": norm}
        if self.guard.takes(norm):
            for optimizer in self._optimizers:
                optimizer.step()
            if self._average is not None:
                self._average.update(batch.step)
        else:
            row["left_out"] = True
        row["training"] = to_plain(learned.score)
        self.done = batch.step + 1
        return _Taken(row=row, score=learned.score, num_bases=batch.num_bases, rate=rate)

    def _memory(self, step: int) -> MemoryConfig:
        """The memory plan; rows at a time as many as hold the same tokens in this stage."""
        stage, memory = stage_of(step, self._stages), self._run.memory
        if not memory.rows:
            return replace(memory, rows=stage.rows_at_once)
        rows = max(memory.rows * self._run.model.config.context // stage.length, 1)
        return replace(memory, rows=min(rows, stage.rows_at_once or rows))

    def validate(self, row: dict[str, Any]) -> None:
        """Score the weights, and their average if there is one, and add that to the row."""
        run = self._run
        self.validation = run.validate(run.model)
        row["validation"] = to_plain(self.validation)
        if self._average is not None:
            with self._average.in_place() as averaged:
                row["validation_average"] = to_plain(run.validate(averaged))
        self._validations.append(row)
        run.learning.keep(run.model, run.folder, self._validations)

    def save(self, step: int) -> None:
        """Write a checkpoint, then drop the oldest."""
        run = self._run
        with atomic_folder(checkpoint_folder(run.folder, step), replace=True) as folder:
            write_checkpoint(
                folder,
                model=run.model,
                tokenizer=run.tokenizer,
                optimizers=self._optimizers,
                step=step,
            )
            if self._average is not None:
                write_average(self._average.tensors, folder)
            seal(folder)
        drop_old_checkpoints(run.folder, run.config.keep_checkpoints)


def _tell(run: TrainingRun, taken: _Taken, *, first: bool, reporter: Reporter) -> None:
    """Say how much memory the first step took, and that a step was left out."""
    if first:
        reporter.note(_memory_used(run, peak_bytes(run.model.device)))
    if taken.row.get("left_out"):
        reporter.warn(
            f"step {taken.row['step']} left out: its gradient is a spike of "
            f"{taken.row['gradient_norm']:.3g}"
        )


def _memory_used(run: TrainingRun, peak: int) -> str:
    said = f"memory plan `{run.memory.plan}`: {peak / 2**30:.2f} GiB at its peak"
    if run.expected_bytes is not None:
        said += f", {run.expected_bytes / 2**30:.2f} GiB forecast"
    return said


class _Speed:
    """Tells the reporter how far the run is, and keeps `throughput.jsonl`."""

    def __init__(self, run: TrainingRun, first: int, reporter: Reporter) -> None:
        self._file = MetricsFile(run.folder / THROUGHPUT_FILE, resume_step=first)
        self._steps = run.config.steps
        self._first = first
        self._reporter = reporter
        self._started = self._reported = time.monotonic()
        self._num_bases = 0
        self._seconds_before = max((row["seconds"] for row in self._file.kept), default=0.0)

    def step(self, taken: _Taken, validation: Any) -> None:
        """Count a step; report it unless the last report was a moment ago."""
        done = taken.row["step"]
        self._num_bases += taken.num_bases
        now = time.monotonic()
        if done < self._steps and now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        seconds = now - self._started
        speed = self._num_bases / max(seconds, 1e-9)
        total = self._seconds_before + seconds
        self._file.append({"step": done, "seconds": total, "bases_per_second": speed})
        self._reporter.record(
            StepDone(
                step=done,
                steps=self._steps,
                training=taken.score,
                validation=validation,
                learning_rate=taken.rate,
                bases_per_second=speed,
                seconds_left=seconds / (done - self._first) * (self._steps - done),
            )
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
