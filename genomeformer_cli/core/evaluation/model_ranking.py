"""Scores of models, tables and random twins on the same queries, with intervals.

Shape letters: N queries.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.counts import CountedScores, Subset
from genomeformer_cli.core.evaluation.token_scores import (
    ConfidenceInterval,
    Groups,
    TokenScores,
    bootstrap_mean,
)

MODEL, COUNTS, TWIN = "model", "counts", "random"
NUM_BINS = 12


@dataclass(frozen=True, kw_only=True)
class RankingRow:
    """Scores of one model or table on a subset of the queries."""

    kind: str  # `all`, `genome` or `region`.
    part: str  # Name of the genome or region.
    who: str  # `model`, `counts`, or `random` for the model with random weights.
    detail: int | None  # Order of the best counts; seed of a random model.
    bits: ConfidenceInterval  # Bits per base.
    accuracy: ConfidenceInterval  # Fraction of the bases whose most probable letter is correct.
    # Bits per base of the counts minus those of this model; None for the counts.
    gain: ConfidenceInterval | None
    num_bases: int  # Number of queries.
    counted_on: str = ""  # Counted part of the corpus; empty: all of it, or no counts.


@dataclass(frozen=True, kw_only=True)
class PositionBin:
    """Bits per base in a bin of positions, such as distances from the window's edge."""

    place: float  # Mean position of the bin, in bases.
    model: float  # Bits of the model.
    counts: float | None  # Bits of the table that does best on all queries; None without a corpus.
    num_bases: int  # Number of queries in the bin.


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """Scores of a model, tables and random twins on the same queries."""

    model: TokenScores  # Scores of the model.
    tables: Mapping[Subset, CountedScores]  # Best counts per subset; empty without a corpus.
    twins: Mapping[int, TokenScores]  # Scores of models with random weights, by seed.
    windows_N: Groups  # Window of each query, the unit of the bootstrap.
    subsets: Mapping[Subset, npt.NDArray[np.bool_]]  # See `used_subsets`.
    positions_N: npt.NDArray[np.int64]  # Position of each query.


def rank_models(query_scores: QueryScores, seed: int) -> tuple[RankingRow, ...]:
    """Return one row per model or table, on all queries and on every subset."""
    rows: list[RankingRow] = []
    for (kind, part), selected_N in query_scores.subsets.items():
        windows_N = query_scores.windows_N[selected_N]
        best = query_scores.tables.get((kind, part))
        counts = best.scores if best is not None else None
        entries: list[tuple[str, int | None, TokenScores]] = [
            (MODEL, None, query_scores.model.select(selected_N))
        ]
        entries += [(COUNTS, best.order, best.scores)] if best is not None else []
        entries += [
            (TWIN, twin_seed, twin.select(selected_N))
            for twin_seed, twin in query_scores.twins.items()
        ]
        for source, detail, scores in entries:
            # By name, so that the order of genomes does not change an interval.
            name = f"{kind} {part} {source} {detail if source == TWIN else ''}"
            generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
            gain = None
            if counts is not None and source != COUNTS:
                gain = bootstrap_mean(counts.bits_N - scores.bits_N, windows_N, generator)
            rows.append(
                RankingRow(
                    kind=kind,
                    part=part,
                    who=source,
                    detail=detail,
                    bits=bootstrap_mean(scores.bits_N, windows_N, generator),
                    accuracy=bootstrap_mean(
                        scores.correct_N.astype(np.float64), windows_N, generator
                    ),
                    gain=gain,
                    num_bases=int(scores.bits_N.size),
                    counted_on=best.group if best is not None and source == COUNTS else "",
                )
            )
    return tuple(rows)


def used_subsets(
    subsets: Mapping[Subset, npt.NDArray[np.bool_]], num_queries: int
) -> dict[Subset, npt.NDArray[np.bool_]]:
    """Return all queries, and each genome and region that has queries and is one of several."""
    used = {name: selected_N for name, selected_N in subsets.items() if selected_N.any()}
    kinds = Counter(kind for kind, _ in used)
    every_query = {("all", "all"): np.ones(num_queries, dtype=np.bool_)}
    return every_query | {name: used[name] for name in used if kinds[name[0]] > 1}


def position_curve(query_scores: QueryScores, *, logarithmic: bool) -> tuple[PositionBin, ...]:
    """Return bits per base by position, in about `NUM_BINS` bins.

    Args:
        query_scores: Scores and the positions of their queries.
        logarithmic: Use bins of growing width, for whole records.
    """
    low, high = int(query_scores.positions_N.min()), int(query_scores.positions_N.max()) + 1
    spread = np.geomspace(max(low, 1), high, NUM_BINS + 1)
    edges = np.unique((spread if logarithmic else np.linspace(low, high, NUM_BINS + 1)).round())
    bins_N = np.clip(np.searchsorted(edges, query_scores.positions_N, side="right") - 1, 0, None)
    best = query_scores.tables.get(("all", "all"))
    counts = best.scores if best is not None else None
    bins: list[PositionBin] = []
    for bin_number in np.unique(bins_N):
        selected_N = bins_N == bin_number
        bins.append(
            PositionBin(
                place=float(query_scores.positions_N[selected_N].mean()),
                model=float(query_scores.model.bits_N[selected_N].mean()),
                counts=None if counts is None else float(counts.bits_N[selected_N].mean()),
                num_bases=int(selected_N.sum()),
            )
        )
    return tuple(bins)
