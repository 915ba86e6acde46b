"""Results of fine-tuning, seed by seed, from pretrained weights and from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal

from genomeformer_cli.core.evaluation.duplicates import Duplicates
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.finetuning.base_model import BaseModel
from genomeformer_cli.core.finetuning.metrics import TaskScore
from genomeformer_cli.core.formats.labelled import RowCount

Origin = Literal["pretrained", "scratch"]
PRETRAINED: Origin = "pretrained"
SCRATCH: Origin = "scratch"


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """Result of one fine-tuning."""

    origin: Origin  # Initial weights: pretrained or random.
    seed: int  # Seed of the head, the order of rows, and random weights.
    steps: int  # Training steps.
    best_step: int  # Step of the selected weights.
    validation: TaskScore  # Score of the selected weights on the validation rows.
    test: TaskScore  # Score of the selected weights on the test rows.
    interval: ConfidenceInterval  # Bootstrap interval of the reported metric over test rows.
    num_trained: int  # Number of trained parameters.


@dataclass(frozen=True, kw_only=True)
class StackedResult:
    """Result of the model of one seed and the network of that seed, summed."""

    seed: int  # Seed of both.
    weights: tuple[float, float]  # Weights of the model and of the network.
    network: TaskScore  # Score of the network alone on the test rows.
    validation: TaskScore  # Score on the validation rows, which the weights fit.
    test: TaskScore  # Score on the test rows.
    interval: ConfidenceInterval  # Bootstrap interval of the reported metric.


@dataclass(frozen=True, kw_only=True)
class EnsembleResult:
    """Result of the mean prediction of all seeds from pretrained weights."""

    num_members: int  # Number of seeds.
    validation: TaskScore  # Score on the validation rows.
    test: TaskScore  # Score on the test rows.
    interval: ConfidenceInterval  # Bootstrap interval of the reported metric.


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """Result of the linear model alone, independent of the seed."""

    test: TaskScore  # Score on the test rows.
    interval: ConfidenceInterval  # Bootstrap interval of the reported metric.


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """Result of one baseline without a pretrained model."""

    name: str  # Name in tables.
    validation: TaskScore  # Score on the validation rows.
    test: TaskScore  # Score on the test rows.
    interval: ConfidenceInterval  # Bootstrap interval of the reported metric.
    cpu_seconds: float  # CPU time of the fit.


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """Results of all seeds."""

    name: str  # Name of the run.
    base: str  # Fine-tuned model, as named in the request.
    base_sha256: str  # Checksum of the model's weights.
    base_model: BaseModel  # Fine-tuned model, as recorded in the bundle.
    licence: str | None  # Licence that the fine-tuned model carries; None: not known.
    task: str  # Name of the task.
    kind: str  # Kind of the task.
    classes: tuple[str, ...]  # Classes, labels or quantities.
    metric: str  # Metric of model selection.
    reported: str  # Metric of the reported results.
    method: str  # Trained weights.
    num_parameters: int  # Parameters of the model and its head.
    num_rows: dict[str, int]  # Rows of each split.
    official_split: bool  # True if the file defines the split.
    results: tuple[SeedResult, ...]  # Results of each seed.
    linear: LinearResult | None = None  # Result of the linear model alone; None without one.
    stacked: tuple[StackedResult, ...] = ()  # Results with the network; empty without one.
    ensemble: EnsembleResult | None = None  # Result of all seeds together; None with one seed.
    saved_seed: int | None = None  # Seed of the saved weights; None: the best by validation.
    # Results of linear models and of a network from random weights; empty if not requested.
    baselines: tuple[BaselineResult, ...] = ()
    count: RowCount | None = None  # Rows of the file, used and left out.
    # Test rows whose sequence also occurs in training or validation rows.
    duplicates: Duplicates | None = None
    environment: dict[str, str] = field(default_factory=dict)  # Versions and device.

    def from_origin(self, origin: str) -> list[SeedResult]:
        """Return the results from pretrained weights, or from scratch."""
        return [result for result in self.results if result.origin == origin]

    @property
    def best_seed(self) -> SeedResult:
        """Result of the seed with the best validation score."""
        validation = {result.seed: result.validation for result in self.from_origin(PRETRAINED)}
        validation |= {result.seed: result.validation for result in self.stacked}
        return max(
            self.from_origin(PRETRAINED),
            key=lambda result: validation[result.seed].sort_key(self.metric),
        )

    @property
    def saved(self) -> SeedResult:
        """Result of the seed whose weights are saved."""
        seeds = {result.seed: result for result in self.from_origin(PRETRAINED)}
        return self.best_seed if self.saved_seed is None else seeds[self.saved_seed]

    @property
    def strongest_baseline(self) -> BaselineResult | None:
        """Baseline with the best validation score; None without baselines."""
        return max(
            self.baselines,
            key=lambda baseline: baseline.validation.sort_key(self.metric),
            default=None,
        )


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation over seeds; the deviation of one seed is 0."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0
