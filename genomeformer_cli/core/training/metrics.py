"""Metrics files of a run.

`metrics.jsonl` has one line per step with scores: a pure function of configuration and corpus, so
that a run that was killed and resumed writes the same bytes as an undisturbed one.
`throughput.jsonl` has the speed, which differs between runs.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Required, TypedDict

from genomeformer_cli.core.documents import DocumentError, convert, parse_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.reporting import Event
from genomeformer_cli.core.store.atomic import write_text

METRICS_FILE = "metrics.jsonl"
THROUGHPUT_FILE = "throughput.jsonl"


@dataclass(frozen=True, kw_only=True)
class Score:
    """Quality of predicted bases."""

    bits_per_base: float  # Mean of -log2 of the probability of the true base.
    accuracy: float  # Fraction of the bases whose most probable letter is the true one.
    num_bases: int  # Number of predicted bases.
    # Number of predicted tokens, for tokens of several bases; accuracy is then the fraction of
    # tokens that are entirely correct.
    num_tokens: int | None = None

    @property
    def bits_per_token(self) -> float:
        """Mean of -log2 of the probability of the true token."""
        return self.bits_per_base * self.num_bases / (self.num_tokens or self.num_bases)


class _TrainingScore(TypedDict):
    bits_per_base: float
    num_bases: int
    num_tokens: NotRequired[int | None]


def training_bits(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the training bits per base of these rows.

    For tokens that share bases with their neighbours the bits per base are unknown; each token then
    counts as one base, and the values cannot be compared with those of held-out bases.
    """
    scores: list[_TrainingScore] = [
        convert(row.get("training"), _TrainingScore, source=f"step {row.get('step')}, training")
        for row in rows
    ]
    if any(score.get("num_tokens") == score["num_bases"] for score in scores):
        return []
    return [score["bits_per_base"] for score in scores]


def name_of_counts(order: int, looks: str) -> str:
    """Return the name of a context-count table from the position of its context."""
    where = "neighbours per side" if looks == "a side" else "bases before"
    return f"counts of {order} {where}"


@dataclass(frozen=True, kw_only=True)
class StepDone(Event):
    """A training step was completed."""

    step: int  # Number of steps done.
    steps: int  # Number of steps of the run.
    training: Any  # Score of the targets of this step: a `Score` or the score of another task.
    validation: Any  # Latest score on held-out data, if any.
    learning_rate: float  # Learning rate of this step.
    bases_per_second: float  # Throughput since the run was started or resumed.
    seconds_left: float  # Estimated remaining time.


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Cost of training without validations and checkpoints."""

    seconds: float  # Total of all steps that were kept.
    bases_per_second: float  # Median over the run, which is robust to a suspended machine.
    peak_bytes: int  # Peak memory of a training process; on a GPU, of its allocator.


def pace(rows: Sequence[Mapping[str, Any]]) -> Pace:
    """Return the cost of training from the rows of `throughput.jsonl`, at least one."""
    return Pace(
        seconds=rows[-1]["training_seconds"],
        bases_per_second=statistics.median(row["training_bases_per_second"] for row in rows),
        peak_bytes=max(row["peak_bytes"] for row in rows),
    )


class MetricsFile:
    """Append-only JSON-lines file whose rows have a `step`.

    Args:
        path: File.
        resume_step: Rows after this step are dropped: a resumed run writes them again.

    Attributes:
        kept: Rows up to that step.
    """

    def __init__(self, path: Path, *, resume_step: int) -> None:
        self.rows = [row for row in read_rows(path) if row["step"] <= resume_step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = path.open("a", encoding="utf-8")

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._file.write(json.dumps(row) + "\n")

    def sync(self) -> None:
        """Flush to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        self._file.close()


class _Row(TypedDict, total=False):
    step: Required[int]
    training: dict[str, Any]
    validation: dict[str, Any]
    validation_average: dict[str, Any]
    seconds: float
    bases_per_second: float
    training_seconds: float
    training_bases_per_second: float
    peak_bytes: int


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSON-lines file; a last line that was cut off by a kill is left out.

    Raises:
        CheckpointError: A row before the last is damaged.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    damage: DocumentError | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if damage is not None:
                raise CheckpointError(
                    damage.message,
                    hint="put the file back from a backup, or remove the run and train again",
                )
            try:
                row = parse_json(line, source=f"{path}, line {number}", nonfinite=True)
                convert(row, _Row, source=f"{path}, line {number}")
            except DocumentError as failure:
                damage = failure
            else:
                rows.append(row)
    return rows


def score_of(row: Mapping[str, Any], key: str) -> Score:
    """Return the score that a row has under a key.

    Raises:
        DocumentError: The row has no such score.
    """
    score: Score = convert(row.get(key), Score, source=f"step {row.get('step')}, {key}")
    return score
