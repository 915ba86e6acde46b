"""What a run tells while it trains: a row a step into its files, to observers, to the reporter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    MetricsFile,
    Score,
    StepDone,
)
from genomeformer_cli.core.training.observers import OpenObserver

_REPORT_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Taken:
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


class Records:
    """Writes and tells every step.

    Args:
        folder: Of the run.
        steps: Of the run.
        first: Steps done before; later rows are dropped and written again.
        reporter: Is told every now and then.
        observers: Open what is shown every row.

    Raises:
        MissingExtraError: What is to watch is not installed.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        first: int,
        reporter: Reporter,
        observers: Sequence[OpenObserver],
    ) -> None:
        self._observers = [opened(folder, first) for opened in observers]
        self._metrics = MetricsFile(folder / METRICS_FILE, resume_step=first)
        self._speed = _Speed(folder, steps, first, reporter)

    @property
    def newest_validation(self) -> Score | None:
        """The last score on held-out bases that was written."""
        return self._metrics.newest_validation

    def add(self, taken: Taken, validation: Score | None) -> None:
        """Write a step; `validation` is the newest score on held-out bases."""
        self._metrics.append(taken.row)
        for observer in self._observers:
            observer.row(taken.row)
        self._speed.step(taken, validation)

    def sync(self) -> None:
        """Force what was learned onto the disk."""
        self._metrics.sync()

    def close(self) -> None:
        """Write what is not written yet."""
        self._metrics.close()
        self._speed.close()
        for observer in self._observers:
            observer.close()


class _Speed:
    """Tells the reporter how far the run is, and keeps `throughput.jsonl`."""

    def __init__(self, folder: Path, steps: int, first: int, reporter: Reporter) -> None:
        self._file = MetricsFile(folder / THROUGHPUT_FILE, resume_step=first)
        self._steps = steps
        self._first = first
        self._reporter = reporter
        self._started = self._reported = time.monotonic()
        self._num_bases = 0
        self._seconds_before = max((row["seconds"] for row in self._file.kept), default=0.0)

    def step(self, taken: Taken, validation: Score | None) -> None:
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
