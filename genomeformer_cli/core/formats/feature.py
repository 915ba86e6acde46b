"""Feature of a genome, independent of the file format.

Coordinates are 0-based and half-open, on the strand of the FASTA file. On a circular record a part
across the origin ends past the record's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import lru_cache

from genomeformer_cli.core.errors import AnnotationError

PLUS, MINUS, UNSTRANDED = 1, -1, 0
_MAX_DIGITS = 6


class Kind(Enum):
    """Category of a feature."""

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
    """Contiguous part of a feature."""

    start: int  # First base, 0-based.
    end: int  # End (exclusive).
    strand: int  # `PLUS`, `MINUS` or `UNSTRANDED`.
    phase: int | None = None  # Bases from the 5' end of a CDS part to its first complete codon.

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
    """Annotated feature: a gene, a CDS, an RNA, or anything else."""

    kind: Kind  # Category.
    # Parts in ascending order; in biological order if their strands differ.
    parts: tuple[Part, ...]
    genetic_code: int = 0  # Number of the genetic code (`transl_table`); 0 if none is named.
    type: str = ""  # Type as written: third column of GFF3, or feature key of GenBank.
    id: str = ""  # ID or parent in GFF3; protein id, locus tag, gene or label in GenBank.
    gene: str = ""  # Gene symbol, if any.
    locus_tag: str = ""  # Locus tag, if any.
    open_5: bool = False  # True if the 5' end is beyond the sequenced part (`<`).
    open_3: bool = False  # True if the 3' end is beyond the sequenced part.
    pseudo: bool = False  # True for a pseudogene or a part of one.
    # Part of the location that cannot be interpreted. Such a feature gives no windows, and `parts`
    # are the extent excluded from `intergenic`.
    unclear: str = ""
    implied: bool = False  # True if the file has only the children of the feature.
    line: int = 0  # First line of the feature in the file.

    @property
    def strand(self) -> int:
        """Strand of all parts, or `UNSTRANDED` if they differ."""
        strands = {part.strand for part in self.parts}
        return strands.pop() if len(strands) == 1 else UNSTRANDED

    @property
    def start(self) -> int:
        """First base of any part."""
        return min(part.start for part in self.parts)

    @property
    def end(self) -> int:
        """End (exclusive) of the last part."""
        return max(part.end for part in self.parts)

    @property
    def is_certain(self) -> bool:
        """True for a feature with a clear location that is not part of a pseudogene."""
        return not self.pseudo and not self.unclear

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.id or self.locus_tag or self.gene or self.kind.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFeatures:
    """Annotation of one record."""

    id: str  # Id of the record in the annotation.
    features: list[Feature] = field(default_factory=list)  # Features in file order.
    circular: bool = False  # True for a circular record.
    length: int | None = None  # Length of the record, if declared.
    num_described: int = 0  # Number of features that describe the whole record, or its letters.
    placeless: tuple[str, ...] = ()  # Names of features without any interpretable location.
    in_order: bool = True  # True if parts are in biological order; GFF3 does not define an order.

    @property
    def num_features(self) -> int:
        """Number of features in the file."""
        num_written = sum(not feature.implied for feature in self.features)
        return num_written + self.num_described + len(self.placeless)

    @property
    def has_genes(self) -> bool:
        """True if genes or parts of genes are annotated."""
        return any(feature.kind in GENE_KINDS for feature in self.features) or bool(self.placeless)


@lru_cache(maxsize=1024)
def kind_of(type_name: str) -> Kind | None:
    """Return the category of a feature type of GFF3 or GenBank, case-insensitive.

    An unknown type is a `PLACE`: an uninterpreted feature must not become a negative example.

    Returns:
        None if the type describes the whole record (source, region) or its letters (gap,
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


def genetic_code(text: str) -> int:
    """Return the number of a genetic code as written; 0 if there is none, -1 if it is invalid."""
    if not text:
        return 0
    is_number = text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS
    return int(text) or -1 if is_number else -1


def unwrap(parts: Sequence[Part], length: int) -> tuple[Part, ...]:
    """Order the parts of a feature of a circular record along one ascending axis.

    Parts after the origin are shifted by the record's length, and parts that touch there are
    merged. A part crosses the origin if it begins before its predecessor.

    Args:
        parts: Parts in genomic order along the feature.
        length: Length of the record.
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
    """Order sorted parts along their feature on a circle.

    The feature excludes one of the gaps between its parts. It is assumed to cover less than half of
    the circle, so that this gap is the one longer than half.

    Returns:
        The parts; None if there is no such gap, so that the order is ambiguous.
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
