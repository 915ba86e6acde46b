"""Sequences of annotated features, on their strand, spliced, with coordinates.

| `--feature`              | sequence                                                             |
|--------------------------|----------------------------------------------------------------------|
| a type, such as `CDS`    | parts joined from 5' to 3', introns left out; flanks added on request |
| `promoter`               | around the first base of each gene: upstream of it, and from it on   |
| `terminator`             | around the last base of each gene: up to it, and downstream of it    |

A type is compared with the third column of GFF3 or the feature key of GenBank, in any case; `gene`
has pseudogenes too, which GFF3 gives a type of their own and GenBank a qualifier.
Upstream and downstream are read on the strand of the feature. Flanks are cut off at the ends of a
linear record, and continue across the origin of a circular one, at most once around it. Genes are
the features of type gene, or, in a record without them, its CDS, rRNA and tRNA. Rows are in the
order of the records, then of the annotation; a feature without a sequence keeps its row, with the
reason. Ids are locus tags, or else ids or names of the annotation; with several types, `TAG:TYPE`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.annotation.base_labels import circular_slice
from genomeformer_cli.core.annotation.config import WindowRules
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.annotation.windows import GENE_SUBSTITUTES, strand_sign
from genomeformer_cli.core.errors import AnnotationError, UsageError
from genomeformer_cli.core.formats.feature import MINUS, UNSTRANDED, Feature, Kind
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes

GENE, PROMOTER, TERMINATOR = "gene", "promoter", "terminator"
_NOTHING: Codes = np.empty(0, dtype=np.uint8)
_NUM_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class FeatureRules:
    """Features to cut, and the bases around them."""

    types: tuple[str, ...]  # Types of GFF3 or GenBank; `promoter` and `terminator` of genes.
    upstream: int | None = None  # Bases before; None: 0, or the default of the type.
    downstream: int | None = None  # Bases after; None: 0, or the default of the type.

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            UsageError: There is no type, or a number of bases is negative.
        """
        if not self.types or not all(self.types):
            raise UsageError("no type of features is given", hint="such as `--feature CDS`")
        for option, number in (("upstream", self.upstream), ("downstream", self.downstream)):
            if number is not None and number < 0:
                raise UsageError(f"invalid `--{option} {number}`", hint="give 0 bases or more")

    def flanks(self, kind: str) -> tuple[int, int]:
        """Return the bases upstream and downstream for a type."""
        defaults = {PROMOTER: WindowRules.promoter, TERMINATOR: WindowRules.terminator}
        before, after = defaults.get(kind, (0, 0))
        return (
            before if self.upstream is None else self.upstream,
            after if self.downstream is None else self.downstream,
        )


@dataclass(frozen=True, slots=True)
class Stretch:
    """Contiguous part of a region, on one strand."""

    start: int  # First base; below 0, or past the record's length, across the origin of a circle.
    end: int  # End (exclusive).
    strand: int  # `PLUS`, `MINUS` or `UNSTRANDED`.


def feature_queries(
    records: Iterable[AnnotatedRecord], rules: FeatureRules, *, display_name: str
) -> Iterator[Query]:
    """Yield the sequence of every requested feature, one record in memory at a time.

    Args:
        records: Annotated records, see `reading.annotated_records`.
        rules: Features to cut.
        display_name: Name of the annotation in errors.

    Raises:
        AnnotationError: The annotation has no feature of a requested type; raised at the end.
    """
    requested = dict.fromkeys(name.casefold() for name in rules.types)
    types: Counter[str] = Counter()
    missing = dict.fromkeys(requested)
    for record in records:
        types.update(feature.type for feature in record.features if not feature.implied)
        for kind, feature in _selected(record, requested):
            missing.pop(kind, None)
            yield _query(record, feature, kind, rules)
    if missing:
        listing = ", ".join(f"`{name}` ({n:,})" for name, n in types.most_common(_NUM_SHOWN))
        raise AnnotationError(
            f"`{display_name}` has no features for `--feature {next(iter(missing))}`",
            hint=f"its types are {listing or '(none)'}; also `promoter`, `terminator` of genes",
        )


def genes_of(record: AnnotatedRecord) -> list[Feature]:
    """Return the genes of a record, or its CDS and RNA features if it has none."""
    features = [feature for feature in record.features if not feature.implied]
    genes = [feature for feature in features if feature.kind is Kind.GENE]
    return genes or [feature for feature in features if feature.kind in GENE_SUBSTITUTES]


def _selected(record: AnnotatedRecord, requested: Iterable[str]) -> Iterator[tuple[str, Feature]]:
    """Yield the requested features of a record with their requested type."""
    derived = [kind for kind in requested if kind in (PROMOTER, TERMINATOR)]
    types = set(requested) - set(derived)
    for feature in record.features:
        kind = feature.type.casefold()
        if feature.kind is Kind.GENE and GENE in types:
            kind = GENE
        if kind in types and not feature.implied:
            yield kind, feature
    for kind in derived:
        for gene in genes_of(record):
            yield kind, gene


def _query(record: AnnotatedRecord, feature: Feature, kind: str, rules: FeatureRules) -> Query:
    derived = kind in (PROMOTER, TERMINATOR)
    name = kind if derived else feature.type
    identifier = feature.locus_tag or feature.id or feature.gene
    problem = _problem(record, feature, kind)
    flanks = rules.flanks(kind)
    stretches = _around(feature, kind, flanks) if derived else _spliced(feature, flanks)
    length = record.codes.size
    stretches = _fit_circle(stretches, length) if record.circular else _clip(stretches, length)
    if not stretches and not problem:
        problem = f"beyond the record: no base of it is on `{record.id}`, which has {length:,}"
    extent = stretches or [Stretch(feature.start, feature.end, feature.strand)]
    start, end = min(part.start for part in extent), max(part.end for part in extent)
    shift = start % length - start if length else 0
    strands = {part.strand for part in extent}
    region = Region(
        chrom=record.id,
        start=start + shift,
        end=end + shift,
        strand=strand_sign(strands.pop() if len(strands) == 1 else UNSTRANDED),
        feature=name,
    )
    if not identifier:
        identifier = f"{name}:{region.place}"
    elif len(rules.types) > 1:
        identifier = f"{identifier}:{name}"
    if problem:
        return Query(identifier, _NOTHING, problem, region)
    return Query(identifier, _join(stretches, record.codes), "", region)


def _problem(record: AnnotatedRecord, feature: Feature, kind: str) -> str:
    """Return the reason why a feature has no sequence; empty if it has one."""
    if feature.unclear:
        return f"unclear location: {feature.unclear}"
    if len({part.strand for part in feature.parts}) > 1 and not record.in_order:
        return "order of parts unknown: they are on both strands, and GFF3 states no order"
    if kind not in (PROMOTER, TERMINATOR):
        return ""
    if not feature.strand:
        return "no strand: the gene has none, so its start is unknown"
    if feature.open_5 if kind == PROMOTER else feature.open_3:
        return "open end: the gene continues beyond the record"
    return ""


def _spliced(feature: Feature, flanks: tuple[int, int]) -> list[Stretch]:
    """Return the parts from 5' to 3', the outer ones extended by the flanks."""
    parts = feature.parts[::-1] if feature.strand == MINUS else feature.parts
    stretches = [Stretch(part.start, part.end, part.strand) for part in parts]
    before, after = flanks
    stretches[0] = _extended(stretches[0], before, 0)
    stretches[-1] = _extended(stretches[-1], 0, after)
    return stretches


def _extended(stretch: Stretch, before: int, after: int) -> Stretch:
    """Return a stretch with bases added on its strand."""
    low, high = (after, before) if stretch.strand == MINUS else (before, after)
    return Stretch(stretch.start - low, stretch.end + high, stretch.strand)


def _around(feature: Feature, kind: str, flanks: tuple[int, int]) -> list[Stretch]:
    """Return the bases around the 5' or 3' end of a gene."""
    before, after = flanks[::-1] if feature.strand == MINUS else flanks
    is_low_end = (kind == PROMOTER) == (feature.strand != MINUS)
    position = feature.start if is_low_end else feature.end
    if not before + after:
        return []
    return [Stretch(position - before, position + after, feature.strand)]


def _clip(stretches: Iterable[Stretch], length: int) -> list[Stretch]:
    """Cut off what is beyond the ends of a linear record."""
    clipped = [
        Stretch(max(part.start, 0), min(part.end, length), part.strand) for part in stretches
    ]
    return [part for part in clipped if part.start < part.end]


def _fit_circle(stretches: list[Stretch], length: int) -> list[Stretch]:
    """Cut off what would go around a circle more than once, from the 3' end."""
    room, fitted = length, []
    for part in stretches:
        size = min(part.end - part.start, room)
        room -= size
        if size and part.strand == MINUS:
            fitted.append(Stretch(part.end - size, part.end, part.strand))
        elif size:
            fitted.append(Stretch(part.start, part.start + size, part.strand))
    return fitted


def _join(stretches: Iterable[Stretch], codes: Codes) -> Codes:
    pieces = []
    for part in stretches:
        piece = circular_slice(codes, part.start, part.end)
        pieces.append(reverse_complement_codes(piece) if part.strand == MINUS else piece)
    # A copy, so that the record can be released.
    return np.concatenate(pieces)
