"""Does the `tiny` preset learn more of a chromosome than a table of counts? With which attention?

Trains every given attention on the bundled M. genitalium chromosome (its last tenth held out) and
prints, for the same held-out bases, the model, the best table of context counts and the same model
with random weights.

    python benchmarks/sample_chromosome.py                      # softmax and performer
    python benchmarks/sample_chromosome.py --conv-width 0 --steps 400
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.workflows.fetch import FetchRequest, fetch_genomes
from genomeformer_cli.core.workflows.pretrain import PretrainRequest, pretrain_model
from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes

CHROMOSOME = "NC_000908.2"


def main() -> None:
    """Train, then print one row per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", nargs="+", default=["softmax", "performer"])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--conv-width", type=int)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int)
    chosen = parser.parse_args()
    print("| model | seed | bits per base | accuracy | bases | seconds | bases/s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        fetch_genomes(FetchRequest(sample=True), reporter=SilentReporter(), store=store)
        request = TokenizeRequest(
            name="chromosome", genomes=(CHROMOSOME,), split=SplitConfig(by=SplitBy.TAIL)
        )
        tokenize_genomes(request, reporter=SilentReporter(), store=store)
        for seed in chosen.seed:
            for attention in chosen.attention:
                train(store, attention, seed, chosen)


def train(store: Store, attention: str, seed: int, chosen: argparse.Namespace) -> None:
    """Train one model and print its row, and once a seed those it is held against."""
    overrides: dict[str, Any] = {
        "model": {"attention": {"name": attention}},
        "training": {"seed": seed},
    }
    if chosen.steps is not None:
        overrides["training"]["steps"] = chosen.steps
    if chosen.conv_width is not None:
        overrides["model"]["conv_width"] = chosen.conv_width
    request = PretrainRequest(
        corpus="chromosome",
        name=f"{attention}-{seed}",
        preset=chosen.preset,
        overrides=overrides,
        threads=chosen.threads,
    )
    summary = pretrain_model(request, reporter=SilentReporter(), store=store).summary
    seconds = summary.training_seconds
    speed = f"{seconds:.0f} | {summary.num_bases_seen / seconds:,.0f} |"
    row(f"{chosen.preset}, {attention}", seed, summary.model, speed)
    row(f"{chosen.preset}, {attention}, random weights", seed, summary.random_twin, "| |")
    if attention == chosen.attention[-1]:
        row(f"counts, {summary.counts_order} neighbours per side", seed, summary.counts, "| |")


def row(what: str, seed: int, score: Score, speed: str) -> None:
    """Print one row of the table."""
    numbers = f"{score.bits_per_base:.4f} | {score.accuracy:.1%} | {score.num_bases:,}"
    print(f"| {what} | {seed} | {numbers} | {speed}", flush=True)


if __name__ == "__main__":
    main()
