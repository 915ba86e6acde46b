"""Conversion of features to the coordinates of their sequence."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from genomeformer_cli.core.annotation.intake import Reason, Tally
from genomeformer_cli.core.errors import AnnotationError
from genomeformer_cli.core.formats.feature import (
    UNSTRANDED,
    Feature,
    Kind,
    Part,
    RecordFeatures,
    order_on_circle,
    unwrap,
)

_IN_DOUBT = "order of its parts around the circle"
_OTHER_VERSION = "the annotation is of another version of the sequence: fetch both together"


def fit(
    annotated: RecordFeatures, length: int, display_name: str, tally: Tally
) -> tuple[Feature, ...]:
    """Return the features of a record, and the places that are not intergenic.

    Args:
        annotated: Annotation of the record.
        length: Length of the sequence.
        display_name: Name of the annotation in errors.
        tally: Receives the counts of used and unused features.

    Raises:
        AnnotationError: A feature, or the declared length of the record, does not fit the sequence.
    """
    if annotated.length not in (None, length):
        raise AnnotationError(
            f"`{annotated.id}` has {annotated.length:,} bases in `{display_name}` and "
            f"{length:,} in its "
            "sequence",
            hint=_OTHER_VERSION,
        )
    features: list[Feature] = []
    whole_record = bool(annotated.placeless)
    for original in annotated.features:
        fitted = _fit_feature(original, annotated, length, display_name)
        whole_record |= fitted.unclear == _IN_DOUBT
        features.append(fitted)
        if fitted.unclear:
            tally.leave_out(Reason.UNCLEAR)
        elif not fitted.implied:
            tally.used += 1
    tally.leave_out(Reason.PLACELESS, len(annotated.placeless))
    if whole_record and length:
        part = Part(0, length, UNSTRANDED)
        features.append(Feature(kind=Kind.PLACE, parts=(part,), implied=True))
    return tuple(features)


def _fit_feature(
    feature: Feature, annotated: RecordFeatures, length: int, display_name: str
) -> Feature:
    for part in feature.parts:
        _check(part, feature, annotated, length, display_name)
    if len({part.strand for part in feature.parts}) > 1:
        return feature
    if annotated.circular:
        parts: tuple[Part, ...] | None = feature.parts
        if not annotated.in_order or _touches_origin_twice(feature.parts, length):
            parts = order_on_circle(feature.parts, length)
        if parts is None:
            return replace(feature, unclear=_IN_DOUBT)
        parts = unwrap(parts, length)
        if parts[-1].end - parts[0].start <= length:
            return replace(feature, parts=parts)
        return replace(feature, unclear=feature.unclear or "parts go around more than once")
    if any(previous.start > following.start for previous, following in pairwise(feature.parts)):
        return replace(feature, unclear=feature.unclear or "parts run backwards")
    return feature


def _touches_origin_twice(parts: tuple[Part, ...], length: int) -> bool:
    """Return True for sorted parts that meet at the origin, as some programs write them."""
    return len(parts) > 1 and parts[0].start == 0 and parts[-1].end == length


def _check(
    part: Part, feature: Feature, annotated: RecordFeatures, length: int, display_name: str
) -> None:
    """Check that a part is on its record."""
    limit = 2 * length if annotated.circular else length
    if part.start < length and part.end <= limit and part.end - part.start <= length:
        return
    circle = "" if annotated.circular else ", and the record is not marked as a circle"
    raise AnnotationError(
        f"`{display_name}`: line {feature.line}: `{feature.name}` ends at base {part.end:,} of "
        f"`{annotated.id}`, which has {length:,}{circle}",
        hint=_OTHER_VERSION,
    )
