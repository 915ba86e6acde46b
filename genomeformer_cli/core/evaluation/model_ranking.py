"""Who predicts better, on what: scores of several on the same questions, with intervals.

Shape letters: N questions.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.counts import best_order
from genomeformer_cli.core.evaluation.token_scores import (
    Groups,
    Interval,
    TokenScores,
    bootstrap_mean,
)

MODEL, COUNTS, TWIN = "model", "counts", "random"
NUM_BINS = 12


@dataclass(frozen=True, kw_only=True)
class RankingRow:
    """One answerer on one part of the questions.

    Attributes:
        kind: `all`, `genome` or `region`.
        part: Which one.
        who: `model`, `counts`, or `random` for the same model with random weights.
        detail: Of counts, the order that does best here; of random, the seed.
        bits: Bits per base.
        accuracy: Part of the bases whose most probable letter was right.
        gain: Bits per base that this one is better than the counts; None for the counts.
        num_bases: How many were asked.
    """

    kind: str
    part: str
    who: str
    detail: int | None
    bits: Interval
    accuracy: Interval
    gain: Interval | None
    num_bases: int


@dataclass(frozen=True, kw_only=True)
class PositionBin:
    """Bits per base at some places, such as far from the edges of a window.

    Attributes:
        place: Middle of the bin, in bases.
        model: Bits of the model.
        counts: Of the counts that do best on all questions; None without a corpus to count.
        num_bases: Questions there.
    """

    place: float
    model: float
    counts: float | None
    num_bases: int


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """Everything that was answered about the same questions.

    Attributes:
        model: What the model said.
        tables: What tables of order 0, 1, ... said; empty without a corpus to count.
        twins: What models with random weights said, by seed.
        windows_N: Which window each question is of: what is resampled.
        parts: Questions of each genome and region, by kind and name.
        places_N: Where each question stands.
    """

    model: TokenScores
    tables: Sequence[TokenScores]
    twins: Mapping[int, TokenScores]
    windows_N: Groups
    parts: Mapping[tuple[str, str], npt.NDArray[np.bool_]]
    places_N: npt.NDArray[np.int64]


def rank_models(asked: QueryScores, seed: int) -> tuple[RankingRow, ...]:
    """A row for each answerer on all questions and on every part of them."""
    everything = np.ones(asked.windows_N.size, dtype=np.bool_)
    rows: list[RankingRow] = []
    parts = {key: chosen_N for key, chosen_N in asked.parts.items() if chosen_N.any()}
    kinds = Counter(kind for kind, _ in parts)
    for (kind, part), chosen_N in {("all", "all"): everything, **parts}.items():
        if kinds[kind] == 1:  # the only one is everything
            continue
        windows_N = asked.windows_N[chosen_N]
        tables = [_taken(table, chosen_N) for table in asked.tables]
        best = best_order(tables) if tables else None
        counts = tables[best] if best is not None else None
        contestants: list[tuple[str, int | None, TokenScores]] = [
            (MODEL, None, _taken(asked.model, chosen_N))
        ]
        contestants += [(COUNTS, best, counts)] if counts is not None else []
        contestants += [
            (TWIN, seed_of, _taken(twin, chosen_N)) for seed_of, twin in asked.twins.items()
        ]
        for who, detail, answers in contestants:
            # By name, so that the order of genomes does not change an interval.
            name = f"{kind} {part} {who} {detail if who == TWIN else ''}"
            generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
            gain = None
            if counts is not None and who != COUNTS:
                gain = bootstrap_mean(counts.bits_N - answers.bits_N, windows_N, generator)
            rows.append(
                RankingRow(
                    kind=kind,
                    part=part,
                    who=who,
                    detail=detail,
                    bits=bootstrap_mean(answers.bits_N, windows_N, generator),
                    accuracy=bootstrap_mean(
                        answers.correct_N.astype(np.float64), windows_N, generator
                    ),
                    gain=gain,
                    num_bases=int(answers.bits_N.size),
                )
            )
    return tuple(rows)


def _taken(answers: TokenScores, chosen_N: npt.NDArray[np.bool_]) -> TokenScores:
    return TokenScores(bits_N=answers.bits_N[chosen_N], correct_N=answers.correct_N[chosen_N])


def position_curve(asked: QueryScores, *, logarithmic: bool) -> tuple[PositionBin, ...]:
    """Bits per base over places, in about `NUM_BINS` bins.

    Args:
        asked: Answers and where their questions stand.
        logarithmic: Bins of a growing width, for whole records.
    """
    low, high = int(asked.places_N.min()), int(asked.places_N.max()) + 1
    spread = np.geomspace(max(low, 1), high, NUM_BINS + 1)
    edges = np.unique((spread if logarithmic else np.linspace(low, high, NUM_BINS + 1)).round())
    which_N = np.clip(np.searchsorted(edges, asked.places_N, side="right") - 1, 0, None)
    counts = asked.tables[best_order(list(asked.tables))] if asked.tables else None
    places: list[PositionBin] = []
    for bin_number in np.unique(which_N):
        chosen_N = which_N == bin_number
        places.append(
            PositionBin(
                place=float(asked.places_N[chosen_N].mean()),
                model=float(asked.model.bits_N[chosen_N].mean()),
                counts=None if counts is None else float(counts.bits_N[chosen_N].mean()),
                num_bases=int(chosen_N.sum()),
            )
        )
    return tuple(places)
