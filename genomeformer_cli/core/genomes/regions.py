"""Regions of a genome as query sequences: BED intervals, and windows around VCF variants.

One record of the genome is in memory at a time. Rows keep the order of the region file; a row
without a sequence is an empty query with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.bed import BedRow, Interval
from genomeformer_cli.core.formats.named_records import check_names, named_records, unknown_record
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import (
    Codes,
    decode_bases,
    encode_bases,
    reverse_complement_codes,
)

_NOTHING: Codes = np.empty(0, dtype=np.uint8)
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """One row of output: an interval of a genome, or a window around a variant."""

    id: str  # Id of the row.
    record: str  # Id of the FASTA record.
    # Bases; None: none are named, or `variant` is the middle of a window.
    interval: Interval | None = None
    variant: Variant | None = None  # Variant in the middle of the window.
    flank: int = 0  # Bases to either side of the variant, fewer at the ends of a record.
    changed: bool = False  # True for the window with the alternative allele.
    problem: str = ""  # Reason for which the file names no sequence; empty if it does.
    place: Region | None = None  # Coordinates as written; those of the bases may be fewer.


def bed_regions(rows: Iterable[BedRow]) -> list[RegionRow]:
    """Return one region per row of a BED file."""
    return [
        RegionRow(
            id=row.id,
            record=row.record,
            interval=row.interval,
            problem=row.problem,
            place=Region(
                chrom=row.record,
                start=row.start,
                end=row.stop,
                strand=row.sign,
                feature="",
            ),
        )
        for row in rows
    ]


def vcf_regions(variants: Iterable[Variant], flank: int) -> list[RegionRow]:
    """Return two regions per alternative allele: with the reference, and with the alternative.

    Ids are `record:position:REF>ALT:ref` and `...:alt`.
    """
    return [
        RegionRow(
            id=f"{variant.chromosome}:{variant.position}:{variant.ref}>{variant.alt}:{kind}",
            record=variant.chromosome,
            variant=variant,
            flank=flank,
            changed=kind == "alt",
            problem=variant.problem,
            place=Region(
                chrom=variant.chromosome,
                start=variant.position - 1,
                end=variant.position - 1 + len(variant.ref),
                strand="+",
                feature=kind,
            ),
        )
        for variant in variants
        for kind in ("ref", "alt")
    ]


def region_queries(
    regions: Sequence[RegionRow],
    fasta: Path,
    *,
    source: str,
    display_name: str | None = None,
    reporter: Reporter | None = None,
) -> list[Query]:
    """Return the bases of every region, in the order of the regions.

    Args:
        regions: Rows of one file.
        fasta: Genome file.
        source: Name of the region file.
        display_name: Name of the genome in errors; the path by default.
        reporter: Receives the changes made while reading the genome.

    Raises:
        FastaError, AlphabetError: The genome is unreadable, or two records share a name.
        InputError: All regions are on records that the genome does not have.
    """
    rows = RegionReader(regions, NamedFile(fasta, display_name or str(fasta)), source)
    return list(rows.read(reporter))


class RegionReader:
    """Reader of the bases of regions, which can be repeated.

    Memory holds one record, if the rows are in the order of the genome's records; bases of rows
    that come too early are kept until their turn. A row on a record that the genome does not have
    is recognised at the end of the first reading, so that the rows after it are kept there.

    Args:
        regions: Rows of one file.
        genome: Genome file.
        source: Name of the region file.
    """

    def __init__(self, regions: Sequence[RegionRow], genome: NamedFile, source: str) -> None:
        self._regions = regions
        self._genome = genome
        self._source = source
        self._rows: dict[str, list[int]] = {}
        for row, region in enumerate(regions):
            self._rows.setdefault(region.record, []).append(row)
        self._lengths: dict[str, int] = {}

    def read(self, reporter: Reporter | None = None) -> Iterator[Query]:
        """Yield the bases of every region, in the order of the regions.

        Args:
            reporter: Receives the changes made while reading the genome.

        Raises:
            FastaError, AlphabetError: The genome is unreadable, or two records share a name.
            InputError: All regions are on records that the genome does not have.
        """
        is_known = dict.fromkeys(self._lengths) if self._lengths else None
        lengths: dict[str, int] = {}
        waiting: dict[int, Query] = {}
        turn = 0
        records = named_records(
            self._genome.path,
            self._rows.keys(),
            display_name=self._genome.display_name,
            lengths=lengths,
            reporter=reporter,
        )
        for record in records:
            while turn < len(self._regions):
                region = self._regions[turn]
                if turn in waiting:
                    yield waiting.pop(turn)
                elif region.record == record.id:
                    yield _cut(region, record.codes)
                elif is_known is not None and region.record not in is_known:
                    yield self._without_record(region, self._lengths)
                else:
                    break
                turn += 1
            for row in self._rows[record.id]:
                if row >= turn:
                    waiting[row] = _cut(self._regions[row], record.codes)
        check_names(
            [region.record for region in self._regions],
            lengths,
            source=self._source,
            genome=self._genome.display_name,
        )
        self._lengths = lengths
        for row in range(turn, len(self._regions)):
            has_bases = row in waiting
            region = self._regions[row]
            yield waiting.pop(row) if has_bases else self._without_record(region, lengths)

    def _without_record(self, region: RegionRow, lengths: Mapping[str, int]) -> Query:
        problem = region.problem or unknown_record(region.record, lengths)
        return Query(region.id, _NOTHING, problem, region.place)


def queries_of_files(
    regions: Sequence[RegionRow], files: Sequence[Path], *, source: str
) -> list[Query]:
    """Return the bases of every region; each record is looked up in all genome files.

    Args:
        regions: Rows of one file.
        files: Genome files, at least one.
        source: Name of the region file.

    Raises:
        FastaError, AlphabetError: A genome is unreadable, or two records share a name.
        InputError: A record is in several files, or all regions are on records of none.
    """
    if len(files) == 1:
        return region_queries(regions, files[0], source=source)
    by_record: dict[str, list[int]] = {}
    for row, region in enumerate(regions):
        by_record.setdefault(region.record, []).append(row)
    owners: dict[str, Path] = {}
    lengths: dict[str, int] = {}
    queries: list[Query | None] = [None] * len(regions)
    for path in files:
        for record in named_records(path, by_record.keys(), lengths=lengths):
            if record.id in owners:
                raise InputError(
                    f"`{source}`: the record `{record.id}` is in `{owners[record.id]}` and in "
                    f"`{path}`",
                    hint="keep the genome that the regions were made of",
                )
            owners[record.id] = path
            for row in by_record[record.id]:
                queries[row] = _cut(regions[row], record.codes)
    genome = ", ".join(path.name for path in files)
    check_names([region.record for region in regions], lengths, source=source, genome=genome)
    return [
        query
        or Query(region.id, _NOTHING, region.problem or unknown_record(region.record, lengths))
        for region, query in zip(regions, queries, strict=True)
    ]


def _cut(region: RegionRow, codes: Codes) -> Query:
    problem, bases, place = region.problem, _NOTHING, region.place
    if region.interval is not None:
        bases, problem = _bases_of_interval(region.interval, codes)
    elif region.variant is not None and not problem:
        problem = variant_problem(region.variant, codes)
        if not problem:
            bases = _bases_around(region, region.variant, codes)
            place = _window(region, codes.size)
    return Query(region.id, _NOTHING if problem else bases, problem, place)


def _window(region: RegionRow, length: int) -> Region | None:
    """Return the place of the window around a variant, cut off at the ends of the record."""
    place = region.place
    if place is None:
        return None
    start, end = max(place.start - region.flank, 0), min(place.end + region.flank, length)
    return replace(place, start=start, end=end)


def _bases_of_interval(interval: Interval, codes: Codes) -> tuple[Codes, str]:
    if interval.stop > codes.size:
        return _NOTHING, beyond(interval.record, interval.stop, codes.size)
    # A copy, so that the record can be released.
    bases = codes[interval.start : interval.stop].copy()
    return reverse_complement_codes(bases) if interval.reverse else bases, ""


def _bases_around(region: RegionRow, variant: Variant, codes: Codes) -> Codes:
    start = variant.position - 1
    end = start + len(variant.ref)
    before = codes[max(start - region.flank, 0) : start]
    after = codes[end : end + region.flank]
    allele = encode_bases(variant.alt) if region.changed else codes[start:end]
    return np.concatenate((before, allele, after))


def beyond(record: str, stop: int, length: int) -> str:
    """Return the reason for a row that ends after its record."""
    return f"beyond the record: it reaches to base {stop:,} of `{record}`, which has {length:,}"


def variant_problem(variant: Variant, codes: Codes) -> str:
    """Return the reason that a variant does not fit its record; empty if it does."""
    if variant.problem:
        return variant.problem
    start, size = variant.position - 1, len(variant.ref)
    if start == codes.size:
        return f"telomere: position {variant.position:,} is behind the last base"
    if start + size > codes.size:
        return beyond(variant.chromosome, start + size, codes.size)
    observed, reference = codes[start : start + size], encode_bases(variant.ref)
    if not np.array_equal(observed, reference):
        first = int(np.argmax(observed != reference))
        bases = decode_bases(observed[:_SHOWN]) + ("..." if size > _SHOWN else "")
        position_note = f", from base {first + 1} of the allele on" if first >= _SHOWN else ""
        return f"reference mismatch: the genome has `{bases}` there{position_note}"
    return ""


def reasons(problems: Iterable[str]) -> str:
    """Return the number of rows per category of reasons, the most frequent first."""
    counts = Counter(problem.partition(":")[0] for problem in problems)
    return ", ".join(f"{number:,} {category}" for category, number in counts.most_common())
