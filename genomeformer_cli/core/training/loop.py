"""The training loop: one step after another, each a pure function of the weights and (seed, step).

What step `s` sees, hides and flips depends on nothing but the seed and `s`; so a run killed at any
moment and resumed from its newest checkpoint gives the same weights, to the bit on one CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from genomeformer_cli.core.checkpoints.rotation import (
    checkpoint_folder,
    drop_old_checkpoints,
    newest_whole_checkpoint,
)
from genomeformer_cli.core.checkpoints.state import read_checkpoint, write_checkpoint
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import WindowSampler
from genomeformer_cli.core.errors import TrainingError
from genomeformer_cli.core.gradients.meter import forget_peak, peak_bytes
from genomeformer_cli.core.gradients.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.objectives.examples import ask
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import atomic_folder, clear_leftovers
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Tokenizer
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    MetricsFile,
    Score,
    StepDone,
)
from genomeformer_cli.core.training.optimizer import build_optimizer
from genomeformer_cli.core.training.schedule import learning_rate

_REPORT_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything a run trains with.

    Attributes:
        folder: The run folder.
        model: Fresh weights; those of the newest checkpoint replace them.
        tokenizer: Saved with every checkpoint.
        sampler: Where batches come from.
        masking: How bases are hidden.
        config: Steps, optimizer, schedule.
        memory: How gradients are computed.
        validate: Scores a model on held-out bases.
    """

    folder: Path
    model: Model
    tokenizer: Tokenizer
    sampler: WindowSampler
    masking: MaskingConfig
    config: TrainingConfig
    memory: MemoryConfig
    validate: Callable[[Model], Score]


def train(run: TrainingRun, reporter: Reporter) -> Path:
    """Train to the last step, from the newest whole checkpoint if there is one.

    Returns:
        The last checkpoint.

    Raises:
        TrainingError: The loss is no longer a number.
        CheckpointError: Every checkpoint is damaged.
    """
    optimizer = build_optimizer(run.model, run.config)
    clear_leftovers(run.folder / "checkpoints")
    newest = newest_whole_checkpoint(run.folder, reporter)
    first = 0
    if newest is not None:
        first = read_checkpoint(newest, model=run.model, optimizer=optimizer)
        reporter.note(f"resuming after step {first} of {run.config.steps}")
    metrics = MetricsFile(run.folder / METRICS_FILE, resume_step=first)
    speed = _Speed(run, first, reporter)
    validation = metrics.newest_validation
    device = run.model.device
    forget_peak(device)
    try:
        for step in range(first, run.config.steps):
            rate = learning_rate(step, run.config)
            score, num_bases = _step(run, optimizer, step, rate)
            if step == first:
                peak = peak_bytes(device) / 2**30
                reporter.note(f"memory plan `{run.memory.plan}`: {peak:.2f} GiB at its peak")
            done = step + 1
            last = done == run.config.steps
            row: dict[str, Any] = {"step": done, "num_bases": num_bases, "learning_rate": rate}
            row["training"] = asdict(score)
            if last or done % run.config.validate_every == 0:
                validation = run.validate(run.model)
                row["validation"] = asdict(validation)
            metrics.append(row)
            speed.step(done, num_bases, score, validation, rate)
            if last or done % run.config.checkpoint_every == 0:
                metrics.sync()
                _save(run, optimizer, done)
    finally:
        metrics.close()
        speed.close()
    return checkpoint_folder(run.folder, run.config.steps)


def _step(
    run: TrainingRun, optimizer: torch.optim.Optimizer, step: int, rate: float
) -> tuple[Score, int]:
    windows, generator = run.sampler.batch(step)
    examples = ask(windows, run.tokenizer.real_ids, run.model.config, run.masking, generator)
    optimizer.zero_grad(set_to_none=True)
    result = accumulate_gradients(run.model, examples.to(run.model.device), run.memory)
    if not math.isfinite(result.loss.item()):
        raise TrainingError(
            f"the loss is {result.loss.item()} at step {step + 1}",
            hint="lower `--learning-rate`; the newest checkpoint is from before that step",
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.config.clip_norm)
    optimizer.step()
    score = Score(
        bits_per_base=result.bits_per_base.item(),
        accuracy=result.accuracy.item(),
        num_bases=result.num_targets,
    )
    return score, int((windows.tokens_BL != PAD_ID).sum())


def _save(run: TrainingRun, optimizer: torch.optim.Optimizer, step: int) -> None:
    with atomic_folder(checkpoint_folder(run.folder, step), replace=True) as folder:
        write_checkpoint(
            folder, model=run.model, tokenizer=run.tokenizer, optimizer=optimizer, step=step
        )
        seal(folder)
    drop_old_checkpoints(run.folder, run.config.keep_checkpoints)


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

    def step(
        self, done: int, num_bases: int, training: Score, validation: Score | None, rate: float
    ) -> None:
        """Count a step; report it unless the last report was a moment ago."""
        self._num_bases += num_bases
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
                training=training,
                validation=validation,
                learning_rate=rate,
                bases_per_second=speed,
                seconds_left=seconds / (done - self._first) * (self._steps - done),
            )
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
