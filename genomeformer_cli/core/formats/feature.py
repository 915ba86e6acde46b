"""A feature of a genome, in whichever format it was written.

Coordinates are 0-based and half-open, on the strand of the FASTA file. On a circular record a
part that crosses the origin goes on past the record's length: `start` is below it, `end` above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import lru_cache

from genomeformer_cli.core.errors import AnnotationError

PLUS, MINUS, UNSTRANDED = 1, -1, 0


class Kind(Enum):
    """Use of a feature."""

    GENE = auto()
    CDS = auto()
    RRNA = auto()
    TRNA = auto()
    OTHER = auto()
    """Gene part without a class of its own: exon, other RNA."""
    PLACE = auto()
    """Anything else that is somewhere: mobile element, repeat, regulatory site."""


GENE_KINDS = frozenset(Kind) - {Kind.PLACE}

_EXACT = {"cds": Kind.CDS, "rrna": Kind.RRNA, "trna": Kind.TRNA}
_SO_TERMS = {
    "SO:0000704": "gene",
    "SO:0000336": "pseudogene",
    "SO:0000316": "CDS",
    "SO:0000252": "rRNA",
    "SO:0000253": "tRNA",
    "SO:0000234": "mRNA",
    "SO:0000147": "exon",
    "SO:0000001": "region",
    "SO:0000340": "chromosome",
    "SO:0000149": "contig",
    "SO:0000148": "supercontig",
}
_GENE_PARTS = frozenset(
    (
        *("exon", "intron", "utr", "transcript", "primary_transcript", "5'utr", "3'utr"),
        *("c_region", "n_region", "s_region", "v_region", "v_segment", "d_segment"),
        *("j_segment",),
    )
)
_OF_THE_RECORD = frozenset(
    (
        *("source", "region", "chromosome", "plasmid", "contig", "scaffold", "supercontig"),
        *("ultracontig", "clone", "assembly", "sequence_assembly", "databank_entry", "gap"),
        *("assembly_gap", "remark", "comment", "variation", "misc_difference"),
        *("sequence_alteration", "sequence_variant", "snp", "snv", "old_sequence", "conflict"),
        *("unsure", "sts", "primer_bind", "primer"),
    )
)


@dataclass(frozen=True, slots=True)
class Part:
    """An unbroken piece of a feature.

    Attributes:
        start: First base, 0-based.
        end: One past the last base, above `start`.
        strand: `PLUS`, `MINUS` or `UNSTRANDED`.
        phase: Bases from the 5' end of a CDS part to its first complete codon.
    """

    start: int
    end: int
    strand: int
    phase: int | None = None

    def __post_init__(self) -> None:
        """Check the interval.

        Raises:
            AnnotationError: The interval is empty, runs backwards, or starts before the record.
        """
        if not 0 <= self.start < self.end:
            raise AnnotationError(
                f"invalid interval: base {self.start + 1:,} to base {self.end:,}",
                hint="a part runs from a lower base to a higher one",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A gene, a CDS, an RNA, or anything else that is annotated somewhere.

    Attributes:
        kind: Use of the feature.
        parts: Pieces in ascending order; in the feature's own order if their strands differ.
        id: ID in GFF3; in GenBank protein id, locus tag, gene or label.
        gene: Symbol, if it has one.
        locus_tag: Locus tag, if it has one.
        open_5: The 5' end lies beyond the sequenced part (`<`).
        open_3: The 3' end lies beyond the sequenced part.
        pseudo: It, or the gene it is of, is a pseudogene.
        unclear: Piece of the location that is not understood. Such a feature gives no windows, and
            `parts` are the extent to keep out of `intergenic`.
        implied: The file does not hold the feature itself, only its children.
        line: Line of the file on which it begins.
    """

    kind: Kind
    parts: tuple[Part, ...]
    id: str = ""
    gene: str = ""
    locus_tag: str = ""
    open_5: bool = False
    open_3: bool = False
    pseudo: bool = False
    unclear: str = ""
    implied: bool = False
    line: int = 0

    @property
    def strand(self) -> int:
        """The strand of all parts, or `UNSTRANDED` if they differ."""
        strands = {part.strand for part in self.parts}
        return strands.pop() if len(strands) == 1 else UNSTRANDED

    @property
    def start(self) -> int:
        """First base of any part."""
        return min(part.start for part in self.parts)

    @property
    def end(self) -> int:
        """One past the last base of any part."""
        return max(part.end for part in self.parts)

    @property
    def is_certain(self) -> bool:
        """True for a feature that is understood and not part of a pseudogene."""
        return not self.pseudo and not self.unclear

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.id or self.locus_tag or self.gene or self.kind.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFeatures:
    """Annotation of one record.

    Attributes:
        id: The record's id in the annotation.
        features: Features in the order of the file.
        circular: True for a circular record.
        length: Bases of the record, if the annotation states it.
        num_described: Features of the file that describe the record as a whole, or its letters.
        placeless: Names of features of whose place nothing is understood.
        in_order: Parts are listed as the feature runs; GFF3 does not state an order.
    """

    id: str
    features: list[Feature] = field(default_factory=list)
    circular: bool = False
    length: int | None = None
    num_described: int = 0
    placeless: tuple[str, ...] = ()
    in_order: bool = True

    @property
    def num_features(self) -> int:
        """Features that the file holds."""
        num_written = sum(not one.implied for one in self.features)
        return num_written + self.num_described + len(self.placeless)

    @property
    def has_genes(self) -> bool:
        """True if genes or parts of genes are annotated."""
        return any(one.kind in GENE_KINDS for one in self.features) or bool(self.placeless)


@lru_cache(maxsize=1024)
def kind_of(type_name: str) -> Kind | None:
    """Return the use of a feature type of GFF3 or GenBank, in any case.

    A type that is not known is a `PLACE`: what nobody can interpret must not become a negative.

    Returns:
        None if the type describes the record as a whole (source, region) or its letters (gap,
        variation).
    """
    name = _SO_TERMS.get(type_name, type_name)
    lower = name.lower()
    if lower in _EXACT:
        return _EXACT[lower]
    if lower.endswith("gene"):  # gene, pseudogene, ncRNA_gene, processed_pseudogene
        return Kind.GENE
    if lower in _OF_THE_RECORD:
        return None
    inner = lower.endswith(("rna", "_utr", "transcript")) or "gene_segment" in lower
    return Kind.OTHER if inner or lower in _GENE_PARTS else Kind.PLACE


def unwrap(parts: Sequence[Part], length: int) -> tuple[Part, ...]:
    """Put the parts of a feature of a circular record in one ascending row.

    Where the parts cross the origin, those after it are moved on by the record's length; parts
    that touch there become one. They cross it where one begins before its predecessor.

    Args:
        parts: In genomic order as the feature runs.
        length: Bases of the record.
    """
    moved: list[Part] = []
    turns = 0
    for part in parts:
        if moved and part.start + turns * length < moved[-1].start:
            turns += 1
        part = replace(part, start=part.start + turns * length, end=part.end + turns * length)
        before = moved[-1] if moved else None
        if before and before.end == part.start == length and before.strand == part.strand:
            first = before if part.strand == PLUS else part
            moved[-1] = Part(before.start, part.end, part.strand, first.phase)
        else:
            moved.append(part)
    return tuple(moved)


def order_on_circle(parts: Sequence[Part], length: int) -> tuple[Part, ...] | None:
    """Put sorted parts in the order in which their feature runs around a circle.

    The feature leaves out one of the gaps between its parts. It is taken to cover less than half of
    the circle, so that this gap is the one that is larger than half.

    Returns:
        The parts; None: there is no such gap, so that the order is in doubt.
    """
    parts = tuple(parts)
    if len(parts) < 2:
        return parts
    reached = parts[0].end
    for cut, part in enumerate(parts[1:], start=1):
        if 2 * (part.start - reached) > length:
            return parts[cut:] + parts[:cut]
        reached = max(reached, part.end)
    return parts if 2 * (parts[0].start + length - reached) > length else None
