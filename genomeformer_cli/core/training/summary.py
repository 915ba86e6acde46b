"""Summary of a finished run: `summary.json`, quoted by the model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.store.results import check_result, write_result
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    Score,
    name_of_counts,
)

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Result of a run beside its baselines."""

    model: Score  # Score of the trained model on held-out bases.
    counts: Score  # Score of the best context-count table on the same bases.
    counts_order: int  # Bases of context of this table.
    random_twin: Score  # Score of the same architecture with random weights on the same bases.
    num_parameters: int  # Number of parameters of the model.
    num_steps: int  # Optimizer steps.
    num_bases_seen: int  # Bases in all training windows, with repetitions.
    num_train_bases: int  # Bases in the training split.
    split_rule: str  # Rule of the held-out split.
    training_seconds: float  # Wall time of steps and validations since the run was last started.
    environment: dict[str, str]  # Versions, threads and device.
    corpus: str  # Name of the corpus.
    counts_looks: str = "a side"  # Position of the context: on each side (`a side`), or `before`.
    average: Score | None = None  # Score of the moving average of the weights, if any.
    epochs: dict[str, float] = field(default_factory=dict)  # Passes over each group of a mixture.

    @property
    def counts_name(self) -> str:
        """Name of the context-count table."""
        return name_of_counts(self.counts_order, self.counts_looks)


def write_summary(summary: RunSummary, run: Path) -> None:
    """Save the summary in a run folder."""
    sources = (METRICS_FILE, THROUGHPUT_FILE)
    write_result(run / SUMMARY_FILE, to_plain(summary), sources=sources)


def read_summary(run: Path) -> RunSummary:
    """Load the summary of a run.

    Raises:
        CheckpointError: The run is not finished.
        CorruptError: The summary or the metrics changed after they were written.
    """
    check_result(run / SUMMARY_FILE)
    try:
        plain: dict[str, Any] = read_json(run / SUMMARY_FILE)
    except DocumentError as failure:
        raise CheckpointError(
            f"the run in `{run}` is not finished: it has no `{SUMMARY_FILE}`",
            hint="run the same `genomeformer pretrain` command again; it resumes where it stopped",
        ) from failure
    return from_plain(RunSummary, plain, where=str(run / SUMMARY_FILE))
