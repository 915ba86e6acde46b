"""Random annotation, the files that hold it, and what is true of it base by base."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from dataclasses import dataclass

import zstandard

from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.formats.feature import PLUS, Feature
from tests.annotations import genbank, gff

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content, 1, mtime=0),
    "bzip2": lambda content: bz2.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
}
# A blank that does not end a word of `tests.annotations.genbank`.
BLANK = "\N{NO-BREAK SPACE}"
TYPES = ("gene", "CDS", "tRNA", "rRNA", "exon", "misc_feature", "mobile_element", "mystery")


@dataclass(frozen=True, slots=True)
class Placed:
    """A feature as it is."""

    type: str  # Feature type.
    name: str  # Locus tag.
    # 0-based, half-open, ascending; past the length where they cross the origin.
    exons: tuple[tuple[int, int], ...]
    minus: bool  # It lies on the minus strand.
    phase: int  # Bases to the first whole codon, from the 5' end.
    unclear: bool = False  # Spelled so that its ends are not stated.

    def bases(self, length: int) -> list[int]:
        """Bases from 5' to 3'."""
        found = [at % length for start, end in self.exons for at in range(start, end)]
        return found[::-1] if self.minus else found

    def near(self, length: int, margin: int, *, circular: bool) -> set[int]:
        """Bases of the extent, and those that are too near to it to be intergenic."""
        reach = range(self.exons[0][0] - margin, self.exons[-1][1] + margin)
        if circular:
            return {at % length for at in reach}
        return {at for at in reach if 0 <= at < length}


@dataclass(frozen=True, slots=True)
class Truth:
    """A record as it is."""

    dna: str
    circular: bool
    features: tuple[Placed, ...]

    @property
    def length(self) -> int:
        return len(self.dna)


def draw_truth(draw: random.Random, *, unclear: float = 0.0, num: int = 6) -> Truth:
    """Draw a record with features on both strands, spliced, and across the origin of a circle."""
    length = draw.randrange(150, 500)
    circular = draw.random() < 0.5
    features = []
    for number in range(draw.randrange(1, num + 1)):
        sizes = [draw.randrange(1, 40) for _ in range(2 * draw.choice((1, 1, 1, 2, 3)) - 1)]
        total = sum(sizes)
        if total >= length:
            continue
        at = draw.randrange(length if circular else length - total + 1)
        exons = []
        for place, size in enumerate(sizes):
            if place % 2 == 0:
                exons.append((at, at + size))
            at += size
        if exons[0][0] >= length:
            exons = [(start - length, end - length) for start, end in exons]
        features.append(
            Placed(
                type=draw.choice(TYPES),
                name=f"t{number}",
                exons=tuple(exons),
                minus=draw.random() < 0.5,
                phase=draw.randrange(3),
                unclear=draw.random() < unclear,
            )
        )
    dna = "".join(draw.choice("ACGT") for _ in range(length))
    return Truth(dna=dna, circular=circular, features=tuple(features))


def genbank_text(truth: Truth, draw: random.Random, *, backwards: bool = True) -> str:
    """Spell a record as GenBank, each location in one of the ways there are."""
    rows = [f"source 1..{truth.length}"]
    for one in truth.features:
        location = _genbank_location(one, truth.length, draw, backwards=backwards)
        row = f"{one.type} {location} /locus_tag={one.name} /codon_start={one.phase + 1}"
        rows.append(row)
    return genbank(truth.dna, *rows, circular=truth.circular, name="c")


def _genbank_location(one: Placed, length: int, draw: random.Random, *, backwards: bool) -> str:
    pieces: list[str] = []
    for start, end in one.exons:
        for first, last in _split_at(start, end, length, whole=backwards and draw.random() < 0.5):
            short = first == last and draw.random() < 0.5
            pieces.append(str(first) if short else f"{first}..{last}")
    if one.unclear:
        first, last = one.exons[0][0] % length + 1, (one.exons[-1][1] - 1) % length + 1
        remote = ("J00194.1:7..9", "complement(J00194.1:7..9)", "gap(10)")
        pieces = draw.choice(
            (
                [f"({first}.{first})..{last}"],
                [f"one-of({first},{first})..{last}"],
                [f"{first}..({last}.{last})"],
                [draw.choice(remote), *pieces],
                [*pieces, draw.choice(remote)],
            )
        )
    if not one.minus:
        return _join(pieces, draw)
    if draw.random() < 0.5:
        return f"complement({_join(pieces, draw)})"
    return _join([f"complement({piece})" for piece in reversed(pieces)], draw)


def _join(pieces: list[str], draw: random.Random) -> str:
    if len(pieces) == 1:
        return pieces[0]
    comma = draw.choice((",", ",", f",\n{BLANK * 21}"))
    return f"join({comma.join(pieces)})"


def _split_at(start: int, end: int, length: int, *, whole: bool) -> list[tuple[int, int]]:
    """1-based pieces of an interval; across the origin, two, or one that runs backwards."""
    if start >= length:
        start, end = start - length, end - length
    if end <= length:
        return [(start + 1, end)]
    if whole:
        return [(start + 1, end - length)]
    return [(start + 1, length), (1, end - length)]


def gff_text(truth: Truth, draw: random.Random) -> str:
    """Spell a record as GFF3, lines of a feature in any order."""
    rows = []
    for one in truth.features:
        lines = []
        read = -one.phase
        exons = one.exons[::-1] if one.minus else one.exons
        for start, end in exons:
            pieces = _split_at(start, end, truth.length, whole=draw.random() < 0.3)
            across = start < truth.length < end
            if across and len(pieces) == 1 and draw.random() < 0.5:
                pieces = [(start + 1, end)]
            for first, last in pieces[::-1] if one.minus else pieces:
                size = (last - first) % truth.length + 1
                phase = str(-read % 3) if one.type == "CDS" else "."
                sign = "-" if one.minus else "+"
                lines.append(
                    f"c {one.type} {first} {last} {sign} {phase} ID={one.name};locus_tag={one.name}"
                )
                read += size
        draw.shuffle(lines)
        rows += lines
    return gff(*rows, circular=("c", truth.length) if truth.circular else None)


def packed(text: str, draw: random.Random) -> bytes:
    """Encode a text: any packing, either line end, with or without a byte order mark."""
    content = text.replace(BLANK, " ")
    if draw.random() < 0.5:
        content = content.replace("\n", "\r\n")
    if draw.random() < 0.3:
        content = "\ufeff" + content
    return PACKERS[draw.choice(sorted(PACKERS))](content.encode())


def read_bases(feature: Feature, record: AnnotatedRecord) -> list[int]:
    """Bases of a feature as it was read, from 5' to 3'."""
    size = record.codes.size
    parts = feature.parts if feature.strand >= 0 else feature.parts[::-1]
    found: list[int] = []
    for part in parts:
        piece = [at % size for at in range(part.start, part.end)]
        found += piece if part.strand == PLUS else piece[::-1]
    return found
