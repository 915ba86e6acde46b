"""Regions of a genome as query sequences: BED intervals, and windows around VCF variants.

The genome is read once, one record in memory at a time; what is kept is the regions' own bases, so
memory grows with what is asked for and not with the genome. Rows come in the order of the file that
names the regions; one that names what is not there is an empty query that says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import FastaError, InputError
from genomeformer_cli.core.formats.compression import text_chunks, text_lines
from genomeformer_cli.core.formats.sequences import Query, read_queries
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes

_NOTHING: Codes = np.empty(0, dtype=np.uint8)
_BED_NOISE = (b"#", b"track", b"browser")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A stretch of a genome, and perhaps a change in it.

    Attributes:
        id: What its row is called.
        record: Id of the FASTA record.
        start: First base, 0-based.
        stop: One past the last base.
        reverse: Whether the other strand is meant.
        reference: Bases that must stand at `at`, where the region is a window around them, which
            the ends of the record may cut short; empty: the region must lie within the record.
        at: Where `reference` begins in the record.
        alternative: Bases that take the place of `reference`; None: nothing is changed.
        problem: Why it cannot be had, if that is known already.
    """

    id: str
    record: str
    start: int
    stop: int
    reverse: bool = False
    reference: str = ""
    at: int = 0
    alternative: str | None = None
    problem: str = ""


def read_bed(path: Path) -> list[Region]:
    """The intervals of a BED file of any packing; the other strand where it says `-`.

    A region is called by its name column; without one, `record:start-stop`, as BED counts.

    Raises:
        InputError: It cannot be read, or a line is no interval.
    """
    regions = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith(_BED_NOISE):
            continue
        fields = _text(line, path, number).split("\t")
        fields = fields if len(fields) > 1 else fields[0].split()
        try:
            record, start, stop = fields[0], int(fields[1]), int(fields[2])
        except (IndexError, ValueError):
            raise InputError(
                f"`{path}`, line {number}: not a BED interval",
                hint="a line is record, start, end, and perhaps name, score, strand, by tabs",
            ) from None
        name = fields[3] if len(fields) > 3 and fields[3] not in ("", ".") else ""
        strand = fields[5] if len(fields) > 5 else "."
        called = name.split()[0] if name.split() else f"{record}:{start}-{stop}"
        problem = "" if 0 <= start <= stop else "is no interval"
        regions.append(
            Region(
                id=called,
                record=record,
                start=start,
                stop=stop,
                reverse=strand == "-",
                problem=problem,
            )
        )
    return regions


def read_vcf(path: Path, flank: int) -> list[Region]:
    """Two windows for every alternative allele of a VCF file: with the reference, with the other.

    A window is the allele with `flank` bases to either side, fewer at the ends of a record.
    Rows are called `record:position:REF>ALT:ref` and `...:alt`.

    Raises:
        InputError: It cannot be read, or a line is no variant.
    """
    regions = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        fields = _text(line, path, number).split("\t")
        try:
            record, position, reference, alternatives = fields[0], int(fields[1]), *fields[3:5]
        except ValueError:
            raise InputError(
                f"`{path}`, line {number}: not a VCF variant",
                hint="a line is CHROM, POS, ID, REF, ALT and more, by tabs",
            ) from None
        for alternative in alternatives.split(","):
            regions += _pair(record, position - 1, reference, alternative, flank)
    return regions


def _pair(record: str, at: int, reference: str, alternative: str, flank: int) -> list[Region]:
    called = f"{record}:{at + 1}:{reference}>{alternative}"
    problem = ""
    for allele in (reference, alternative):
        if not allele or allele.upper().strip("ACGTUNRYSWKMBDHV"):
            problem = f"has an allele without bases, `{allele}`"
    start, stop = at - flank, at + len(reference) + flank
    return [
        Region(
            id=f"{called}:{kind}",
            record=record,
            start=start,
            stop=stop,
            reference=reference,
            at=at,
            alternative=changed,
            problem=problem,
        )
        for kind, changed in (("ref", None), ("alt", alternative))
    ]


def region_queries(
    regions: Sequence[Region], fasta: Path, *, shown: str | None = None
) -> Iterator[Query]:
    """The bases of every region, in the order of the regions.

    Raises:
        FastaError, AlphabetError: The genome cannot be read.
    """
    by_record: dict[str, list[int]] = {}
    for row, region in enumerate(regions):
        by_record.setdefault(region.record, []).append(row)
    cut: list[Query | None] = [None] * len(regions)
    for record in read_queries(fasta, shown=shown):
        for row in by_record.pop(record.id, ()):
            cut[row] = _cut(regions[row], record.codes)
        if not by_record:
            break
    for region, query in zip(regions, cut, strict=True):
        absent = region.problem or f"is of `{region.record}`, which the genome does not have"
        yield query or Query(region.id, _NOTHING, absent)


def _cut(region: Region, codes: Codes) -> Query:
    problem = region.problem or _misfit(region, codes)
    if problem:
        return Query(region.id, _NOTHING, problem)
    start, stop = max(region.start, 0), min(region.stop, codes.size)
    # A copy, so that the record can go.
    bases = codes[start:stop].copy()
    if region.alternative is not None:
        end = region.at + len(region.reference)
        parts = (codes[start : region.at], encode_bases(region.alternative), codes[end:stop])
        bases = np.concatenate(parts)
    return Query(region.id, reverse_complement_codes(bases) if region.reverse else bases)


def _misfit(region: Region, codes: Codes) -> str:
    """Why a region does not fit its record; empty if it does."""
    at, end = region.at, region.at + len(region.reference)
    inside = region.start >= 0 and region.stop <= codes.size
    if region.reference:
        inside = at >= 0 and end <= codes.size
    if not inside:
        return f"reaches beyond `{region.record}`, which has {codes.size} bases"
    if region.reference and not np.array_equal(codes[at:end], encode_bases(region.reference)):
        return f"says `{region.reference}` where the genome has other bases"
    return ""


def _lines(path: Path) -> Iterator[bytes]:
    try:
        yield from text_lines(text_chunks(path, shown=str(path)))
    except FastaError as failure:
        raise InputError(failure.message, hint=failure.hint) from failure


def _text(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise InputError(
            f"`{path}`, line {number}: no text", hint="check the file's format"
        ) from failure
