"""What fine-tuning came to: seed by seed, from pretrained weights and from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal

from genomeformer_cli.core.evaluation.duplicates import Duplicates
from genomeformer_cli.core.evaluation.token_scores import Interval
from genomeformer_cli.core.finetuning.metrics import TaskScore
from genomeformer_cli.core.formats.labelled import RowCount

Origin = Literal["pretrained", "scratch"]
PRETRAINED: Origin = "pretrained"
SCRATCH: Origin = "scratch"


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """One fine-tuning.

    Attributes:
        origin: What it started from: pretrained or random weights.
        seed: Of the head, the order of rows, and random weights.
        steps: Taken.
        best_step: Whose weights were kept.
        validation: Score of these on the rows to choose on.
        test: Score of these on the rows to be judged on.
        interval: Of the reported measure there, by a bootstrap over rows.
        num_trained: Numbers that were trained.
    """

    origin: Origin
    seed: int
    steps: int
    best_step: int
    validation: TaskScore
    test: TaskScore
    interval: Interval
    num_trained: int


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """The linear model by itself, the same for every seed.

    Attributes:
        test: Score on the rows to be judged on.
        interval: Of the reported measure there.
    """

    test: TaskScore
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class TunedSummary:
    """All of them.

    Attributes:
        name: Of the run.
        base: The model that was fine-tuned, as it was asked for.
        base_sha256: Of its weights.
        task: Its name.
        kind: Of the task.
        classes: Classes, labels or quantities.
        metric: What validation chose by.
        reported: The measure that results are told in.
        method: What was adapted.
        num_parameters: Of the model and its head.
        num_rows: Rows of each part.
        official_split: Whether the file says which row is in which part.
        count: Rows of the file, used and left out.
        duplicates: Test rows whose sequence also stands in another part.
        results: Seed by seed.
        linear: The linear model beside the head, by itself; None if there is none.
        environment: Versions and device.
    """

    name: str
    base: str
    base_sha256: str
    task: str
    kind: str
    classes: tuple[str, ...]
    metric: str
    reported: str
    method: str
    num_parameters: int
    num_rows: dict[str, int]
    official_split: bool
    results: tuple[SeedResult, ...]
    linear: LinearResult | None = None
    count: RowCount | None = None
    duplicates: Duplicates | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def of(self, origin: str) -> list[SeedResult]:
        """Results from pretrained weights, or from scratch."""
        return [one for one in self.results if one.origin == origin]

    @property
    def chosen(self) -> SeedResult:
        """The seed that did best on validation: what is saved."""
        return max(self.of(PRETRAINED), key=lambda one: one.validation.by(self.metric))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation of several seeds; of one seed there is none: 0."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0
