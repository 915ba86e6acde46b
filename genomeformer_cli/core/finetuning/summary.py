"""Results of fine-tuning, seed by seed, from pretrained weights and from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal

from genomeformer_cli.core.evaluation.duplicates import Duplicates
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.finetuning.metrics import TaskScore
from genomeformer_cli.core.formats.labelled import RowCount

Origin = Literal["pretrained", "scratch"]
PRETRAINED: Origin = "pretrained"
SCRATCH: Origin = "scratch"


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """Result of one fine-tuning.

    Attributes:
        origin: Initial weights: pretrained or random.
        seed: Seed of the head, the order of rows, and random weights.
        steps: Training steps.
        best_step: Step of the selected weights.
        validation: Score of the selected weights on the validation rows.
        test: Score of the selected weights on the test rows.
        interval: Bootstrap interval of the reported metric over test rows.
        num_trained: Number of trained parameters.
    """

    origin: Origin
    seed: int
    steps: int
    best_step: int
    validation: TaskScore
    test: TaskScore
    interval: ConfidenceInterval
    num_trained: int


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """Result of the linear model alone, independent of the seed.

    Attributes:
        test: Score on the test rows.
        interval: Bootstrap interval of the reported metric.
    """

    test: TaskScore
    interval: ConfidenceInterval


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """Results of all seeds.

    Attributes:
        name: Name of the run.
        base: Fine-tuned model, as named in the request.
        base_sha256: Checksum of the model's weights.
        task: Name of the task.
        kind: Kind of the task.
        classes: Classes, labels or quantities.
        metric: Metric of model selection.
        reported: Metric of the reported results.
        method: Trained weights.
        num_parameters: Parameters of the model and its head.
        num_rows: Rows of each split.
        official_split: True if the file defines the split.
        count: Rows of the file, used and left out.
        duplicates: Test rows whose sequence also occurs in training or validation rows.
        results: Results of each seed.
        linear: Result of the linear model alone; None without one.
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

    def from_origin(self, origin: str) -> list[SeedResult]:
        """Return the results from pretrained weights, or from scratch."""
        return [result for result in self.results if result.origin == origin]

    @property
    def best_seed(self) -> SeedResult:
        """Result of the seed with the best validation score, whose weights are saved."""
        return max(
            self.from_origin(PRETRAINED), key=lambda result: result.validation.sort_key(self.metric)
        )


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation over seeds; the deviation of one seed is 0."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0
