"""Baselines of a run: tables of counts, and its twin with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.evaluation.counts import CountBaseline, count_baseline
from genomeformer_cli.core.evaluation.held_out_scores import TWIN_SEED_SHIFT
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.markov import markov_baseline
from genomeformer_cli.core.evaluation.masked_queries import Queries, QueryConfig
from genomeformer_cli.core.evaluation.wide_counts import Sides
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.results import write_result
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.loop import TrainingRun
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    read_rows,
    score_of,
)
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.training.summary import RunSummary, write_summary
from genomeformer_cli.core.workflows.devices import environment
from genomeformer_cli.core.workflows.records import read_record
from genomeformer_cli.core.workflows.run_config import BASELINE_FILE


def validation_queries(config: PretrainConfig) -> QueryConfig:
    """Return the validation queries of a configuration."""
    return QueryConfig(
        length=config.model.context,
        max_windows=config.training.validation_windows,
        passes=config.training.validation_passes,
        causal=objective_for(config.model.direction).is_causal,
        both_strands=config.training.both_strands,
    )


def run_baseline(
    folder: Path, corpus: Corpus, queries: Queries, reporter: Reporter, *, causal: bool
) -> CountBaseline:
    """Return the score of tables of counts, computed once per run."""
    path = folder / BASELINE_FILE
    if path.exists():
        return read_record(path, CountBaseline)
    if queries.bases_V is None:
        sides = Sides.LEFT if causal else Sides.BOTH
        baseline = count_baseline(corpus, queries, reporter, sides)
    else:
        baseline = markov_baseline(corpus, queries, reporter)
    write_result(path, to_plain(baseline))
    return baseline


def summarise(
    run: TrainingRun,
    corpus: Corpus,
    queries: Queries,
    baseline: CountBaseline,
    num_processes: int,
) -> RunSummary:
    """Write the summary of a finished run."""
    assert isinstance(run.batches, Batches)
    device = run.model.device
    twin = build_model(run.model.config, seed=run.config.seed + TWIN_SEED_SHIFT).to(device)
    steps, speeds = (read_rows(run.folder / name) for name in (METRICS_FILE, THROUGHPUT_FILE))
    summary = RunSummary(
        model=score_of(steps[-1], "validation"),
        counts=baseline.score,
        counts_order=baseline.order,
        random_twin=likelihood(twin, queries),
        num_parameters=run.model.num_parameters,
        num_steps=run.config.steps,
        num_bases_seen=sum(row["num_bases"] for row in steps),
        num_train_bases=corpus.manifest.num_train,
        split_rule=corpus.manifest.split_rule,
        training_seconds=speeds[-1]["seconds"],
        environment=environment(
            device,
            threads=str(torch.get_num_threads()),
            precision=run.compute.precision,
            compiled=run.compute.compile,
            kernels=run.compute.kernels,
            processes=str(num_processes),
        ),
        corpus=corpus.manifest.name,
        counts_looks=baseline.looks,
        average=score_of(steps[-1], "validation_average")
        if "validation_average" in steps[-1]
        else None,
        epochs=run.batches.epochs(),
    )
    write_summary(summary, run.folder)
    return summary
