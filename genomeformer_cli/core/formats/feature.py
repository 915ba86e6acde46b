"""A feature of a genome, whichever format it was read from.

Coordinates are 0-based and half-open, on the strand of the FASTA file. On a circular record a
part that crosses the origin goes on past the record's length: `start` is below it, `end` above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import pairwise

PLUS, MINUS, UNSTRANDED = 1, -1, 0
_GENE_LIKE = {"exon", "intron", "UTR", "transcript", "primary_transcript", "5'UTR", "3'UTR"}


class Kind(Enum):
    """What a feature is to us."""

    GENE = auto()
    CDS = auto()
    RRNA = auto()
    TRNA = auto()
    OTHER = auto()
    """Part of a gene in another way (exon, other RNA): not intergenic, and no class of its own."""


@dataclass(frozen=True, slots=True)
class Part:
    """An unbroken piece of a feature.

    Attributes:
        start: First base, 0-based.
        end: One past the last base.
        strand: `PLUS`, `MINUS` or `UNSTRANDED`.
        phase: Of a CDS: bases to skip, from the part's 5' end, to the first whole codon.
    """

    start: int
    end: int
    strand: int
    phase: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A gene, a CDS, an RNA.

    Attributes:
        kind: What it is.
        parts: Pieces in ascending order; in the feature's own order if their strands differ.
        id: ID in GFF3; in GenBank protein id, locus tag or gene.
        gene: Symbol, if it has one.
        locus_tag: If it has one.
        open_5: The 5' end lies beyond what is known (`<`).
        open_3: So does the 3' end.
        pseudo: It, or the gene it is of, is a pseudogene.
    """

    kind: Kind
    parts: tuple[Part, ...]
    id: str = ""
    gene: str = ""
    locus_tag: str = ""
    open_5: bool = False
    open_3: bool = False
    pseudo: bool = False

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFeatures:
    """What is annotated of one record.

    Attributes:
        id: The record's id, as the annotation has it.
        features: In the order of the file.
        circular: Whether the record is a circle.
    """

    id: str
    features: list[Feature] = field(default_factory=list)
    circular: bool = False


def kind_of(type_name: str) -> Kind | None:
    """What a feature type of GFF3 or GenBank is to us; None: nothing (region, repeat, ...)."""
    exact = {"CDS": Kind.CDS, "rRNA": Kind.RRNA, "tRNA": Kind.TRNA}
    if type_name in exact:
        return exact[type_name]
    if type_name.endswith("gene"):  # gene, pseudogene, ncRNA_gene, processed_pseudogene
        return Kind.GENE
    inner = type_name.endswith(("RNA", "_UTR", "transcript")) or "gene_segment" in type_name
    return Kind.OTHER if inner or type_name in _GENE_LIKE else None


def unwrap(parts: Sequence[Part], length: int) -> tuple[Part, ...]:
    """Put the parts of a feature of a circular record in one ascending line.

    Where the parts cross the origin, those after it are moved on by the record's length; parts
    that touch there become one. They cross it where one begins before its predecessor; parts that
    are sorted already cross it only if they touch it from both sides, and then in the largest gap
    between them lies all that the feature leaves out.

    Args:
        parts: In genomic order as the feature runs, or sorted.
        length: Bases of the record.
    """
    parts = list(parts)
    is_sorted = all(one.start <= after.start for one, after in pairwise(parts))
    if is_sorted and len(parts) > 1 and parts[0].start == 0 and parts[-1].end == length:
        gaps = [after.start - one.end for one, after in pairwise(parts)]
        cut = gaps.index(max(gaps)) + 1
        parts = parts[cut:] + parts[:cut]
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
