"""Hits and scores along a genome from the predictions of tiles, or of the bases of records.

Tiles overlap, a track of scores may not. A position takes the score of the tile whose centre is the
nearest; with both strands, the larger score of the two. A hit is a tile whose probability reaches
the threshold; for labels of bases, a run of such bases.

Shape letters: L bases of a sequence, C classes, N spans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.metrics import Floats
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.tracks.elements import Hit, Spans, sorted_hits

# Pairs of classes of which the second one is what a task looks for.
_ABSENT_PRESENT = (("0", "1"), ("false", "true"), ("no", "yes"), ("negative", "positive"))
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """Choice of classes and hits."""

    labels: tuple[str, ...] = ()  # Classes or quantities; empty: see `selected_labels`.
    threshold: float | None = None  # Smallest score of a hit; None: 0.5 for probabilities.
    merge: int | None = None  # Largest gap between hits that are merged; None: merge none.


@dataclass(frozen=True, kw_only=True)
class PlacedPrediction:
    """Prediction of a sequence with its place."""

    place: Region
    # (1, C), or (L, C) in the order of the strand; NaN without a prediction.
    values: Floats


def selected_labels(space: LabelSpace, rules: TrackRules, *, single: bool) -> list[int]:
    """Return the numbers of the classes or quantities of a track.

    Without a choice: the second of two classes such as 0 and 1, or the only quantity; for hits, all
    classes.

    Args:
        space: Outputs of the model.
        rules: Choice of classes.
        single: The track holds scores, of one class.

    Raises:
        UsageError: A name is unknown, or a track of scores has no single class.
    """
    names = ", ".join(f"`{name}`" for name in space.names)
    for label in rules.labels:
        if label not in space.names:
            raise UsageError(f"the model has no class `{label}`", hint=f"it has {names}")
    numbers = [space.names.index(label) for label in rules.labels]
    if not numbers and tuple(map(str.lower, space.names)) in _ABSENT_PRESENT:
        numbers = [1]
    if not numbers:
        numbers = list(range(len(space.names)))
    if single and len(numbers) != 1:
        raise UsageError(
            f"a track of scores holds one class, and {len(numbers)} are selected",
            hint=f"select one with `--class`: {names}",
        )
    return numbers


def hit_threshold(space: LabelSpace, rules: TrackRules) -> float:
    """Return the smallest score of a hit.

    Raises:
        UsageError: The outputs are quantities, and no threshold is given.
    """
    if rules.threshold is not None:
        if math.isnan(rules.threshold):
            raise UsageError("invalid `--threshold nan`", hint="give a number")
        if space.kind is not TaskKind.REGRESSION and not 0 <= rules.threshold <= 1:
            raise UsageError(
                f"invalid `--threshold {rules.threshold:g}`: scores are probabilities",
                hint="give a number from 0 to 1, such as 0.9",
            )
        return rules.threshold
    if space.kind is TaskKind.REGRESSION:
        raise UsageError(
            "hits of a quantity need a threshold", hint="give the smallest value as `--threshold`"
        )
    return _DEFAULT_THRESHOLD


def find_hits(
    space: LabelSpace, predictions: Iterable[PlacedPrediction], rules: TrackRules
) -> Iterator[Hit]:
    """Yield the sorted hits of predictions along a genome."""
    columns, threshold = selected_labels(space, rules, single=False), hit_threshold(space, rules)
    all_classes = space.is_exclusive and not rules.labels and len(columns) == len(space.names)
    find = _base_hits if space.is_per_base else _tile_hits
    gap = rules.merge
    if space.is_per_base:
        gap = gap or 0
        forward = (replace(piece, values=_forward(piece)) for piece in predictions)
        predictions = central_pieces(forward, per_base=True)
    hits = (
        hit
        for prediction in predictions
        for hit in find(space, prediction, columns, threshold, only_first=all_classes)
    )
    yield from sorted_hits(hits, gap)


def _tile_hits(
    space: LabelSpace,
    prediction: PlacedPrediction,
    columns: Sequence[int],
    threshold: float,
    *,
    only_first: bool,
) -> Iterator[Hit]:
    value_C = prediction.values[0]
    if not np.isfinite(value_C).all():
        return
    if only_first:
        columns = [int(value_C.argmax())]
    for column in columns:
        if value_C[column] >= threshold:
            yield _hit(prediction.place, space.names[column], float(value_C[column]))


def _base_hits(
    space: LabelSpace,
    prediction: PlacedPrediction,
    columns: Sequence[int],
    threshold: float,
    *,
    only_first: bool,
) -> Iterator[Hit]:
    value_LC, place = prediction.values, prediction.place
    for column in columns:
        with np.errstate(invalid="ignore"):
            is_hit_L = value_LC[:, column] >= threshold
        if only_first:
            is_hit_L &= value_LC.argmax(axis=1) == column
        edges = np.flatnonzero(np.diff(np.concatenate(([0], is_hit_L.astype(np.int8), [0]))))
        for start, end in edges.reshape(-1, 2).tolist():
            score = float(value_LC[start:end, column].max())
            region = Region(
                chrom=place.chrom,
                start=place.start + start,
                end=place.start + end,
                strand=place.strand,
            )
            yield _hit(region, space.names[column], score)


def _hit(place: Region, label: str, score: float) -> Hit:
    return Hit(
        chrom=place.chrom,
        start=place.start,
        end=place.end,
        strand=place.strand,
        label=label,
        score=score,
    )


def find_scores(
    space: LabelSpace, predictions: Iterable[PlacedPrediction], rules: TrackRules
) -> Iterator[Spans]:
    """Yield the scores of one class, without overlaps."""
    (column,) = selected_labels(space, rules, single=True)
    for prediction in central_pieces(
        _larger_of_strands(predictions, column), per_base=space.is_per_base
    ):
        place, value_N = prediction.place, prediction.values[:, 0]
        start_N = np.arange(place.start, place.end, dtype=np.int64)
        if not space.is_per_base:
            start_N = start_N[:1]
        end_N = start_N + 1 if space.is_per_base else np.array([place.end], dtype=np.int64)
        yield Spans(chrom=place.chrom, start_N=start_N, end_N=end_N, value_N=value_N)


def _larger_of_strands(
    predictions: Iterable[PlacedPrediction], column: int
) -> Iterator[PlacedPrediction]:
    """Yield one prediction per tile, values (1 or L, 1) in the order of the forward strand."""

    def interval(prediction: PlacedPrediction) -> tuple[str, int, int]:
        return prediction.place.chrom, prediction.place.start, prediction.place.end

    for _, strands in groupby(predictions, interval):
        members = list(strands)
        values = [_forward(member)[:, column : column + 1] for member in members]
        yield PlacedPrediction(place=members[0].place, values=np.fmax.reduce(values))


def _forward(prediction: PlacedPrediction) -> Floats:
    """Return the values in the order of the forward strand."""
    return prediction.values[::-1] if prediction.place.strand == "-" else prediction.values


def central_pieces(
    predictions: Iterable[PlacedPrediction], *, per_base: bool
) -> Iterator[PlacedPrediction]:
    """Yield each tile, cut where the next tile of its strand has a nearer centre."""
    waiting: dict[str, tuple[PlacedPrediction, int]] = {}
    chrom = ""
    for prediction in predictions:
        place = prediction.place
        if place.chrom != chrom:
            for last, low in waiting.values():
                yield _cut(last, low, last.place.end, per_base=per_base)
            waiting, chrom = {}, place.chrom
        low = place.start
        if place.strand in waiting:
            last, last_low = waiting[place.strand]
            before = last.place
            high = before.end
            if place.start < high:
                high = low = (before.start + before.end + place.start + place.end) // 4
            yield _cut(last, last_low, high, per_base=per_base)
        waiting[place.strand] = (prediction, low)
    for last, low in waiting.values():
        yield _cut(last, low, last.place.end, per_base=per_base)


def _cut(prediction: PlacedPrediction, low: int, high: int, *, per_base: bool) -> PlacedPrediction:
    first = prediction.place.start
    values = prediction.values[low - first : high - first] if per_base else prediction.values
    return PlacedPrediction(place=replace(prediction.place, start=low, end=high), values=values)
