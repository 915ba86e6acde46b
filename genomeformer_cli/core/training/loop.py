"""The training loop: one step after another, each a pure function of the weights and (seed, step).

What step `s` sees, hides and flips depends on nothing but the seed and `s`; so a run killed at any
moment and resumed from its newest checkpoint gives the same weights, to the bit on one CPU.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from genomeformer_cli.core.gradients.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.objectives.prediction import Prediction
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import atomic_folder, clear_leftovers
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.training.average import Average
from genomeformer_cli.core.training.batches import Ahead, Batch, Batches
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    MetricsFile,
    Score,
    StepDone,
)
from genomeformer_cli.core.training.observers import OpenObserver
from genomeformer_cli.core.training.optimizer import build_optimizers, set_learning_rate
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.redraw import redraw_features
from genomeformer_cli.core.training.schedule import learning_rate
from genomeformer_cli.core.training.spikes import SpikeGuard
from genomeformer_cli.core.training.stages import stage_of, stages

_REPORT_SECONDS = 0.2


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
        validate: Scores a model on held-out bases.
        per_token: Whether scores are told per token too: tokens are more than single bases.
        expected_bytes: What the process is to hold at the peak of a step, if that was forecast.
        observers: Open what is shown every row of the metrics.
    """

    folder: Path
    model: Model
    tokenizer: Tokenizer
    batches: Batches
    config: TrainingConfig
    memory: MemoryConfig
    compute: ComputeConfig
    validate: Callable[[Model], Score]
    per_token: bool = False
    expected_bytes: int | None = None
    observers: Sequence[OpenObserver] = ()


def train(run: TrainingRun, reporter: Reporter) -> Path:
    """Train to the last step, from the newest whole checkpoint if there is one.

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
    validation = metrics.newest_validation
    device = run.model.device
    forget_peak(device)
    ahead = Ahead(run.batches.make, first, run.config.steps, pinned=device.type == "cuda")
    try:
        with ahead:
            for step in range(first, run.config.steps):
                started = time.monotonic()
                taken = trainer.step(ahead.next())
                speed.count(taken.num_bases, time.monotonic() - started)
                if step == first:
                    reporter.note(_memory_used(run, peak_bytes(device)))
                if taken.row.get("left_out"):
                    reporter.warn(
                        f"step {step + 1} left out: its gradient is a spike of "
                        f"{taken.row['gradient_norm']:.3g}"
                    )
                done = step + 1
                last = done == run.config.steps
                if last or done % run.config.validate_every == 0:
                    validation = trainer.validate(taken.row)
                metrics.append(taken.row)
                for observer in observers:
                    observer.row(taken.row)
                speed.step(taken, validation)
                if last or done % run.config.checkpoint_every == 0:
                    metrics.sync()
                    trainer.save(done)
    finally:
        metrics.close()
        speed.close()
        for observer in observers:
            observer.close()
    return checkpoint_folder(run.folder, run.config.steps)


def time_step(run: TrainingRun, *, seconds: float, at_least: int = 5) -> float:
    """Seconds of a step with the longest windows: the median of some, on weights not kept.

    Args:
        run: Its folder stays untouched.
        seconds: How long steps are taken, at least.
        at_least: How many are taken, at least; one more before them warms up.
    """
    trainer = _Trainer(run)
    first = stages(run.config, run.model.config.context)[-1].first
    times: list[float] = []
    with Ahead(run.batches.make, first, run.config.steps) as ahead:
        for _ in range(first, run.config.steps):
            started = time.monotonic()
            trainer.step(ahead.next())
            times.append(time.monotonic() - started)
            if len(times) > at_least and sum(times[1:]) >= seconds:
                break
    return statistics.median(times[1:] or times)


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
    score: Score
    num_bases: int
    rate: float


class _Trainer:
    """The state of a run: weights, optimizers, average, guard."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._optimizers = build_optimizers(run.model, run.config)
        self._average = Average(run.model, run.config.ema) if run.config.ema else None
        self._stages = stages(run.config, run.model.config.context)
        self.guard = SpikeGuard(run.config.spike_factor, ())

    def resume(self, checkpoint: Path) -> int:
        """Go on from a checkpoint; return the steps it has seen."""
        done = read_checkpoint(checkpoint, model=self._run.model, optimizers=self._optimizers)
        if self._average is not None:
            self._average.restore(read_average(checkpoint))
        return done

    def step(self, batch: Batch) -> _Taken:
        """Train on a batch."""
        run, config = self._run, self._run.config
        rate = learning_rate(batch.step, config)
        redraw_features(run.model, config, batch.step)
        run.model.zero_grad(set_to_none=True)
        with computing(run.compute, run.model):
            result = accumulate_gradients(
                run.model, batch.examples.to(run.model.device), self._memory(batch.step)
            )
        if not config.spike_factor and not math.isfinite(result.loss.item()):
            raise TrainingError(
                f"the loss is {result.loss.item()} at step {batch.step + 1}",
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
        score = _score(result, batch, per_token=run.per_token)
        row["training"] = to_plain(score)
        return _Taken(row=row, score=score, num_bases=batch.num_bases, rate=rate)

    def _memory(self, step: int) -> MemoryConfig:
        """The memory plan; rows at a time as many as hold the same tokens in this stage."""
        stage, memory = stage_of(step, self._stages), self._run.memory
        if not memory.rows:
            return replace(memory, rows=stage.rows_at_once)
        rows = max(memory.rows * self._run.model.config.context // stage.length, 1)
        return replace(memory, rows=min(rows, stage.rows_at_once or rows))

    def validate(self, row: dict[str, Any]) -> Score:
        """Score the weights, and their average if there is one, and add that to the row."""
        score = self._run.validate(self._run.model)
        row["validation"] = to_plain(score)
        if self._average is not None:
            with self._average.in_place() as averaged:
                row["validation_average"] = to_plain(self._run.validate(averaged))
        return score

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


def _score(result: Prediction, batch: Batch, *, per_token: bool) -> Score:
    return Score(
        bits_per_base=result.bits.item() / max(batch.target_bases, 1),
        accuracy=result.accuracy.item(),
        num_bases=batch.target_bases,
        num_tokens=result.num_targets if per_token else None,
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
        self._device = run.model.device
        self._started = self._reported = time.monotonic()
        self._num_bases = 0
        self._seconds_before = max((row["seconds"] for row in self._file.kept), default=0.0)
        self._training = max((row["training_seconds"] for row in self._file.kept), default=0.0)
        self._new_bases, self._new_seconds = 0, 0.0

    def count(self, num_bases: int, seconds: float) -> None:
        """Count what a step itself took, which is all that a budget of time is of."""
        self._training += seconds
        self._new_bases += num_bases
        self._new_seconds += seconds

    def step(self, taken: _Taken, validation: Score | None) -> None:
        """Report a step that was counted, unless the last report was a moment ago."""
        done = taken.row["step"]
        self._num_bases += taken.num_bases
        now = time.monotonic()
        if done < self._steps and now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        seconds = now - self._started
        speed = self._num_bases / max(seconds, 1e-9)
        total = self._seconds_before + seconds
        row = {"step": done, "seconds": total, "bases_per_second": speed}
        row["training_seconds"] = self._training
        row["training_bases_per_second"] = self._new_bases / max(self._new_seconds, 1e-9)
        row["peak_bytes"] = peak_bytes(self._device)
        self._new_bases, self._new_seconds = 0, 0.0
        self._file.append(row)
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
