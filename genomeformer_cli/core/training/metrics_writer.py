"""Writer of one row per step to metrics files, loggers and the reporter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from genomeformer_cli.core.memory_plans.memory_meter import peak_bytes
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.training.loggers import OpenObserver
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    MetricsFile,
    StepDone,
)

_REPORT_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """Result of a step that was taken or skipped."""

    row: dict[str, Any] = field(default_factory=dict)  # Row of the metrics.
    score: Any  # Score of its targets.
    num_bases: int  # Number of bases in its windows.
    rate: float  # Learning rate.


class MetricsWriter:
    """Write and report every step.

    Args:
        folder: Run folder.
        steps: Number of steps of the run.
        first: Number of steps done before; later rows are dropped and written again.
        reporter: Receives a report at intervals.
        observers: Functions that open run loggers.
        device: Device whose memory is recorded.

    Raises:
        MissingExtraError: A logger is not installed.
    """

    def __init__(  # noqa: PLR0913 - where, how far, whom to tell, what to watch
        self,
        folder: Path,
        steps: int,
        first: int,
        reporter: Reporter,
        observers: Sequence[OpenObserver],
        device: torch.device,
    ) -> None:
        self._observers = [opened(folder, first) for opened in observers]
        self._metrics = MetricsFile(folder / METRICS_FILE, resume_step=first)
        self._speed = _Speed(folder, steps, first, reporter, device)

    def add(self, outcome: StepOutcome, validation: Any, seconds: float) -> None:
        """Write a step.

        Args:
            outcome: Result of the step.
            validation: Latest score on held-out data.
            seconds: Duration of the step itself.
        """
        self._metrics.append(outcome.row)
        for observer in self._observers:
            observer.row(outcome.row)
        self._speed.count(outcome.num_bases, seconds)
        self._speed.step(outcome, validation)

    def sync(self) -> None:
        """Flush the metrics to disk."""
        self._metrics.sync()

    def close(self) -> None:
        """Flush and close."""
        self._metrics.close()
        self._speed.close()
        for observer in self._observers:
            observer.close()


class _Speed:
    """Report the progress of the run and write `throughput.jsonl`."""

    def __init__(
        self, folder: Path, steps: int, first: int, reporter: Reporter, device: torch.device
    ) -> None:
        self._file = MetricsFile(folder / THROUGHPUT_FILE, resume_step=first)
        self._steps = steps
        self._first = first
        self._reporter = reporter
        self._device = device
        self._started = self._reported = time.monotonic()
        self._num_bases = 0
        self._seconds_before = max((row["seconds"] for row in self._file.rows), default=0.0)
        self._training = max((row["training_seconds"] for row in self._file.rows), default=0.0)
        self._new_bases, self._new_seconds = 0, 0.0

    def count(self, num_bases: int, seconds: float) -> None:
        """Add the duration of a step, the only time that counts for a budget of time."""
        self._training += seconds
        self._new_bases += num_bases
        self._new_seconds += seconds

    def step(self, outcome: StepOutcome, validation: Any) -> None:
        """Report a counted step, unless the previous report was very recent."""
        step = outcome.row["step"]
        self._num_bases += outcome.num_bases
        now = time.monotonic()
        if step < self._steps and now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        seconds = now - self._started
        speed = self._num_bases / max(seconds, 1e-9)
        total = self._seconds_before + seconds
        row = {"step": step, "seconds": total, "bases_per_second": speed}
        row["training_seconds"] = self._training
        row["training_bases_per_second"] = self._new_bases / max(self._new_seconds, 1e-9)
        row["peak_bytes"] = peak_bytes(self._device)
        self._new_bases, self._new_seconds = 0, 0.0
        self._file.append(row)
        self._reporter.record(
            StepDone(
                step=step,
                steps=self._steps,
                training=outcome.score,
                validation=validation,
                learning_rate=outcome.rate,
                bases_per_second=speed,
                seconds_left=seconds / (step - self._first) * (self._steps - step),
            )
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
