"""Sources of sequences: files, cached genomes, regions; all input is read once before any work.

Reading costs little beside the model, and finds errors early: damaged files, invalid letters,
records without a vector, duplicate ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.bed import BedRow, read_bed
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.text import STDIN, is_pipe, local_copy
from genomeformer_cli.core.formats.vcf import read_variants
from genomeformer_cli.core.genomes.genome import cached_genomes
from genomeformer_cli.core.genomes.regions import (
    Region,
    bed_regions,
    count_noun,
    reasons,
    region_queries,
    vcf_regions,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.layout import Kind, Store

_MAX_WARNINGS = 100
Read = Callable[[], Iterator[Query]]
# True for base codes with a token of A C G T only.
HasToken = Callable[[Codes], bool]


def has_known_base(codes: Codes) -> bool:
    """Return True if a sequence has bases other than N."""
    return bool((codes < NUM_REAL_BASES).any())


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """Records without a vector, and what to do with them."""

    has_token: HasToken = has_known_base
    strict: bool = False  # Raise for these records instead of warning.


Identity = tuple[str, int, int]
Place = tuple[Path, str]


@dataclass(frozen=True, kw_only=True)
class EmbedSources:
    """Sources of sequences."""

    # FASTA or FASTQ files, compressed or not; `-` for standard input; cached genomes.
    files: tuple[str, ...] = ()
    genome: str | None = None  # Cached genome or FASTA file to which `bed` and `vcf` refer.
    bed: Path | None = None  # BED file of regions.
    vcf: Path | None = None  # VCF file of variants.
    flank: int = 100  # Bases on each side of a variant.
    shard: tuple[int, int] | None = None  # (i, n): only every n-th record, beginning with the i-th.

    def __post_init__(self) -> None:
        regions = self.bed is not None or self.vcf is not None
        if regions and not self.genome:
            raise UsageError(
                f"`{'--bed' if self.bed else '--vcf'}` needs a genome",
                hint="name it with `--genome`, not as a file to embed",
            )
        if bool(self.files) == bool(self.genome):
            raise UsageError(
                "nothing to embed"
                if not self.files
                else "both sequence files and `--genome` are given",
                hint="give FASTA files, `-`, or a cached genome; or `--genome X --bed REGIONS`",
            )
        if self.bed and self.vcf:
            raise UsageError(
                "`--bed` and `--vcf` exclude each other", hint="embed one after the other"
            )
        if [*self.files, self.genome, str(self.bed), str(self.vcf)].count(STDIN) > 1:
            raise UsageError("standard input can be read only once", hint="give `-` once")
        if self.flank < 0:
            raise UsageError(f"invalid flank of {self.flank} bases", hint="give 0 or more")
        if self.shard and not 1 <= self.shard[0] <= self.shard[1]:
            raise UsageError(
                f"there is no shard {self.shard[0]} of {self.shard[1]}",
                hint="`--shard 1/4` to `--shard 4/4` are the shards of four",
            )


@dataclass(frozen=True, kw_only=True)
class Look:
    """Result of reading the sources."""

    read: Read  # Function that reads all records again.
    num_records: int  # Number of records.
    num_bases: int  # Number of bases.
    odd: tuple[tuple[int, str], ...]  # Row and description of records without a vector.
    # Names, sizes and times of the files, which identify the job; None if one of them is a pipe.
    identities: tuple[Identity, ...] | None


def look_through(
    sources: EmbedSources,
    *,
    store: Store,
    stack: ExitStack,
    reporter: Reporter,
    check: RowCheck,
) -> Look:
    """Find the sources and read them once.

    Args:
        sources: Sources of sequences.
        store: Cache.
        stack: Keeps copies of pipes until it is closed.
        reporter: Receives records without a vector and duplicate ids.
        check: Records without a vector, and what to do with them.

    Raises:
        FastaError, AlphabetError, InputError: A source is invalid.
        NotInCacheError: A name is unknown.
    """
    places = [
        _place(source, store=store, stack=stack) for source in sources.files or [sources.genome]
    ]
    inputs = [place for place, _, _ in places]
    for path, name in inputs:
        reporter.debug(f"input: {name} ({path})" if name != str(path) else f"input: {path}")
    first: Read = partial(_records, inputs, reporter)
    read: Read = partial(_records, inputs)
    rows_of = sources.bed or sources.vcf
    if rows_of is not None:
        ((path, display_name), _, _) = places[0]
        is_file = str(rows_of) != STDIN and not is_pipe(rows_of)
        place = stack.enter_context(
            local_copy(str(rows_of), command="embed --genome FASTA --bed -")
        )
        places.append((place, _identity(rows_of), is_file))
        # Cut once; what is kept is the regions' own bases.
        regions, text = _regions(sources, place, reporter)
        queries = region_queries(
            regions, path, source=place[1], display_name=display_name, reporter=reporter
        )
        _report(queries, f"`{place[1]}`: {text}", reporter)
        first = read = queries.__iter__
    if sources.shard:
        first = partial(_every, first, *sources.shard)
        read = partial(_every, read, *sources.shard)
    identities = [identity for _, identity, _ in places]
    again = all(is_file for _, _, is_file in places)
    file_identities = tuple(identities) if again else None
    return _look(first, read, file_identities, reporter, check)


def records_text(num_records: int, num_bases: int, num_without: int) -> str:
    """Return how many records were read and used, and how many have nothing to compute on."""
    text = f"read {count_noun(num_records, 'record')}, {count_noun(num_bases, 'base')}"
    if num_without:
        text += f": {num_records - num_without:,} used, {num_without:,} empty or of N alone"
    return text


def _regions(sources: EmbedSources, place: Place, reporter: Reporter) -> tuple[list[Region], str]:
    """Return the regions of a BED or VCF file, and how many rows it has."""
    path, display_name = place
    if sources.vcf is not None:
        variants = list(read_variants(path, display_name=display_name))
        num_rows = len({variant.line for variant in variants})
        text = f"{count_noun(num_rows, 'row')}, {count_noun(len(variants), 'allele')}"
        return vcf_regions(variants, sources.flank), text
    rows = list(read_bed(path, display_name=display_name))
    _warn_of_remarks(rows, display_name, reporter)
    return bed_regions(rows), count_noun(len(rows), "row")


def _warn_of_remarks(rows: Sequence[BedRow], bed: str, reporter: Reporter) -> None:
    """Warn once per kind of oddity, with its count and its first line."""
    for remark, number in Counter(row.remark for row in rows if row.remark).items():
        first = next(row.line for row in rows if row.remark == remark)
        reporter.warn(f"`{bed}`: {count_noun(number, 'row')} (the first in line {first}): {remark}")


def _report(queries: Sequence[Query], text: str, reporter: Reporter) -> None:
    """Report how many rows have a sequence, and why others do not."""
    problems = [query.problem for query in queries if query.problem]
    text = f"{text}, {count_noun(len(queries) - len(problems), 'sequence')}"
    if problems:
        reporter.warn(f"{text}; {len(problems):,} without ({reasons(problems)})")
    else:
        reporter.note(text)


def _place(source: str | None, *, store: Store, stack: ExitStack) -> tuple[Place, Identity, bool]:
    assert source is not None
    path = Path(source)
    if source != STDIN and not path.exists() and store.has(Kind.GENOMES, source):
        ((genome, fasta),) = cached_genomes(store, [source])
        return (fasta, f"genome {genome.name}"), (genome.name, *_identity(fasta)[1:]), True
    is_file = source != STDIN and not is_pipe(path)
    place = stack.enter_context(local_copy(source))
    return place, _identity(path) if is_file else (source, 0, 0), is_file


def _identity(path: Path) -> Identity:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def _records(places: Sequence[Place], reporter: Reporter | None = None) -> Iterator[Query]:
    return chain.from_iterable(
        read_any_sequences(path, display_name=display_name, reporter=reporter)
        for path, display_name in places
    )


def _every(read: Read, first: int, step: int) -> Iterator[Query]:
    return (query for number, query in enumerate(read()) if number % step == first - 1)


def _look(
    first: Read,
    read: Read,
    identities: tuple[Identity, ...] | None,
    reporter: Reporter,
    check: RowCheck,
) -> Look:
    odd: list[tuple[int, str]] = []
    hashes: list[int] = []
    num_bases = 0
    with reporter.track("reading", None, "bases") as tracker:
        for row, query in enumerate(first()):
            hashes.append(hash(query.id))
            num_bases += query.codes.size
            tracker.advance(query.codes.size)
            problem = _problem(query, check.has_token)
            if problem:
                odd.append((row, problem))
                if check.strict:
                    raise InputError(problem, hint="leave `--strict` out to have a row of NaN")
    _tell_of_doubles(hashes, read, reporter, strict=check.strict)
    return Look(
        read=read,
        num_records=len(hashes),
        num_bases=num_bases,
        odd=tuple(odd),
        identities=identities,
    )


def _problem(query: Query, has_token: HasToken) -> str:
    """Return the reason why a record has no vector; empty if it has one."""
    if query.problem:
        return f"region `{query.id}`: {query.problem}"
    if not query.codes.size:
        return f"record `{query.id}` is empty"
    if query.codes.min() == NUM_REAL_BASES:
        return f"record `{query.id}` holds no base but N"
    return "" if has_token(query.codes) else f"record `{query.id}` holds no whole token of A C G T"


def _tell_of_doubles(hashes: list[int], read: Read, reporter: Reporter, *, strict: bool) -> None:
    values, counts = np.unique(np.array(hashes, dtype=np.int64), return_counts=True)
    doubles = set(values[counts > 1].tolist())
    if not doubles:
        return
    times = Counter(query.id for query in read() if hash(query.id) in doubles)
    lines = [
        f"the id `{name}` occurs {number} times" for name, number in times.items() if number > 1
    ]
    if strict and lines:
        raise InputError(lines[0], hint="leave `--strict` out to keep a row for each")
    warn_of([f"{line}; every record keeps its row" for line in lines], "ids", reporter)


def warn_of(lines: Sequence[str], what: str, reporter: Reporter) -> None:
    """Warn once per line, up to a hundred times."""
    for line in lines[:_MAX_WARNINGS]:
        reporter.warn(line)
    if len(lines) > _MAX_WARNINGS:
        reporter.warn(f"and {len(lines) - _MAX_WARNINGS} more {what} like these")
