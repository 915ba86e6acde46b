"""Sequences of a command: files, cached genomes, or regions of a genome, read lazily.

This is the one way from options to sequences, for every command that reads unlabelled sequences:

    sources = SequenceSources(genome="x.gbk", features=("CDS",))     # or files=, bed=, vcf=, tile=
    with ExitStack() as stack:
        look = look_through(sources, store=store, stack=stack, reporter=reporter, check=RowCheck())
        for query in look.read():     # any number of times, in the same order
            query.id, query.codes, query.region, query.problem

`query.region` has the coordinates (`chrom start end strand feature`), or is None for whole records;
`formats.region.region_columns` collects them as columns. A query with a `problem` has no codes, and
keeps its row. Memory holds one record and the annotation of one file; rows of BED and VCF that are
not in the order of the genome's records keep their bases until their turn. `commands/_sources.py`
declares the options.

All input is read once before any work: reading costs little beside the model, and finds errors
early: damaged files, invalid letters, records without a vector, duplicate ids.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from genomeformer_cli.core.annotation.feature_regions import FeatureRules, feature_queries
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.annotation.tiles import TileCount, TileRules, tile_queries
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.bed import read_bed, remarks_of
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.text import STDIN, NamedFile, is_pipe, local_copy
from genomeformer_cli.core.formats.vcf import read_variants
from genomeformer_cli.core.genomes.regions import (
    RegionReader,
    RegionRow,
    bed_regions,
    reasons,
    vcf_regions,
)
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.source_files import (
    Identity,
    Source,
    file_identity,
    find_source,
    known_annotation,
    required_annotation,
)

_MAX_WARNINGS = 100
Read = Callable[[], Iterator[Query]]
# True for base codes with something to compute on.
HasToken = Callable[[Codes], bool]


def has_known_base(codes: Codes) -> bool:
    """Return True if a sequence has bases other than N."""
    return bool((codes < NUM_REAL_BASES).any())


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """Records without a vector, and what to do with them."""

    has_token: HasToken = has_known_base
    unit: str = "whole token of A C G T"  # Name of what `has_token` finds, for messages.
    strict: bool = False  # Raise for these records instead of warning.


@dataclass(frozen=True, kw_only=True)
class Look:
    """Result of reading the sources."""

    read: Read  # Function that reads all records again.
    num_records: int  # Number of records.
    num_bases: int  # Number of bases.
    odd: tuple[tuple[int, str], ...]  # Row and description of records without a vector.
    # Names, sizes and times of the files, which identify the job; None if one of them is a pipe.
    identities: tuple[Identity, ...] | None
    genomes: tuple[str, ...] = ()  # Name of each source.
    # Sequence files, each with its annotation or None.
    files: tuple[tuple[NamedFile, NamedFile | None], ...] = ()

    def records(self) -> Iterator[Query]:
        """Read the whole records of the files again, whatever is cut from them."""
        return _records([file for file, _ in self.files])


def look_through(
    sources: SequenceSources,
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
        FastaError, AnnotationError, AlphabetError, InputError: A source is invalid.
        NotInCacheError: A name is unknown.
    """
    names = sources.files or (sources.genome,)
    places = [find_source(name, store=store, stack=stack) for name in names if name is not None]
    for place in places:
        path, name = place.file.path, place.file.display_name
        reporter.debug(f"input: {name} ({path})" if name != str(path) else f"input: {path}")
    identities = [place.identity for place in places]
    again = all(place.is_file for place in places)
    rows_of = sources.bed or sources.vcf or sources.gff
    rows = None
    if rows_of is not None:
        rows = NamedFile(
            *stack.enter_context(local_copy(str(rows_of), command="embed --genome FASTA --bed -"))
        )
        identities.append(file_identity(rows_of))
        again &= str(rows_of) != STDIN and not is_pipe(rows_of)
    first, read = _readers(sources, places, rows, reporter)
    if sources.shard:
        first = partial(_every, first, *sources.shard)
        read = partial(_every, read, *sources.shard)
    file_identities = tuple(identities) if again else None
    look = _look(first, read, file_identities, reporter, check)
    return replace(
        look,
        genomes=tuple(place.name for place in places),
        files=tuple((place.file, known_annotation(place)) for place in places),
    )


def records_text(
    num_records: int, num_bases: int, num_without: int, noun: str = "record", kind: str = ""
) -> str:
    """Return how many records were read and used, and how many were not, which are of a kind."""
    text = f"read {count_noun(num_records, noun)}, {count_noun(num_bases, 'base')}"
    if num_without:
        kind = kind or ("empty or of N alone" if noun == "record" else "without a sequence")
        text += f": {num_records - num_without:,} used, {num_without:,} {kind}"
    return text


def _readers(
    sources: SequenceSources,
    places: Sequence[Source],
    rows: NamedFile | None,
    reporter: Reporter,
) -> tuple[Read, Read]:
    """Return the function that reads all sequences with reports, and one that is silent."""
    if sources.bed or sources.vcf:
        assert rows is not None
        reader, text = _row_reader(sources, places[0].file, rows, reporter)
        first = partial(_reported, reader, f"`{rows.display_name}`: {text}", reporter)
        return first, reader.read
    rule = sources.feature_rules
    if rule is not None:
        pairs = [(place.file, required_annotation(place, rows)) for place in places]
        return (
            partial(_feature_sequences, pairs, rule, reporter),
            partial(_feature_sequences, pairs, rule, SilentReporter()),
        )
    files = [place.file for place in places]
    tiles = sources.tile_rules
    if tiles is not None:
        return (
            partial(_tiles, files, tiles, reporter),
            partial(_tiles, files, tiles, SilentReporter()),
        )
    return partial(_records, files, reporter), partial(_records, files)


def _row_reader(
    sources: SequenceSources, genome: NamedFile, rows: NamedFile, reporter: Reporter
) -> tuple[RegionReader, str]:
    """Return the reader of a BED or VCF file, and how many rows it has."""
    regions, text = _regions(sources, rows, reporter)
    return RegionReader(regions, genome, rows.display_name), text


def _regions(
    sources: SequenceSources, rows: NamedFile, reporter: Reporter
) -> tuple[list[RegionRow], str]:
    """Return the regions of a BED or VCF file, and how many rows it has."""
    if sources.vcf is not None:
        variants = list(read_variants(rows.path, display_name=rows.display_name))
        num_rows = len({variant.line for variant in variants})
        text = f"{count_noun(num_rows, 'row')}, {count_noun(len(variants), 'allele')}"
        return vcf_regions(variants, sources.flank), text
    bed = list(read_bed(rows.path, display_name=rows.display_name))
    for remark in remarks_of(bed, rows.display_name):
        reporter.warn(remark)
    return bed_regions(bed), count_noun(len(bed), "row")


def _reported(reader: RegionReader, text: str, reporter: Reporter) -> Iterator[Query]:
    """Yield all regions, then report how many have a sequence, and why others do not."""
    num_used = 0
    problems: Counter[str] = Counter()
    for query in reader.read(reporter):
        num_used += not query.problem
        if query.problem:
            problems[query.problem.partition(":")[0]] += 1
        yield query
    text = f"{text}, {count_noun(num_used, 'sequence')}"
    if problems:
        number = f"{problems.total():,}"
        reporter.warn(f"{text}; {number} without ({reasons(problems.elements())})")
    else:
        reporter.note(text)


def _feature_sequences(
    pairs: Sequence[tuple[NamedFile, NamedFile]], rules: FeatureRules, reporter: Reporter
) -> Iterator[Query]:
    for number, (file, annotation) in enumerate(pairs):
        records = annotated_records(
            None if file == annotation else file, annotation, reporter=reporter, needs_genes=False
        )
        for query in feature_queries(records, rules, display_name=annotation.display_name):
            yield replace(query, genome=number)


def _tiles(files: Sequence[NamedFile], rules: TileRules, reporter: Reporter) -> Iterator[Query]:
    count = TileCount()
    for record in _records(files, reporter):
        yield from tile_queries(record, rules, count)
    if not count.used:
        limit = f", or no more N than `regions.max_n={rules.max_n:g}`" if rules.max_n < 1 else ""
        raise InputError(
            f"no tile of {rules.width:,} bases has a base other than N{limit}",
            hint="give sequences with bases" + (", or raise `regions.max_n`" if limit else ""),
        )
    if count.left_out:
        reporter.note(
            f"tiles: {count.used + count.left_out:,} read, {count.used:,} used, "
            f"{count.left_out:,} left out (N)"
        )


def _records(files: Sequence[NamedFile], reporter: Reporter | None = None) -> Iterator[Query]:
    for number, file in enumerate(files):
        for query in read_any_sequences(
            file.path, display_name=file.display_name, reporter=reporter
        ):
            yield replace(query, genome=number) if number else query


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
    hashes = array("q")
    num_bases = 0
    with reporter.track("reading", None, "bases") as tracker:
        for row, query in enumerate(first()):
            hashes.append(hash(query.id))
            num_bases += query.codes.size
            tracker.advance(query.codes.size)
            problem = _problem(query, check)
            if problem:
                odd.append((row, problem))
                if check.strict:
                    raise InputError(problem, hint="leave `strict` out to have a row of NaN")
    _tell_of_doubles(hashes, read, reporter, strict=check.strict)
    return Look(
        read=read,
        num_records=len(hashes),
        num_bases=num_bases,
        odd=tuple(odd),
        identities=identities,
    )


def _problem(query: Query, check: RowCheck) -> str:
    """Return the reason why a record has no vector; empty if it has one."""
    if query.problem:
        return f"region `{query.id}`: {query.problem}"
    if not query.codes.size:
        return f"record `{query.id}` is empty"
    noun = "record" if query.region is None else "region"
    if query.codes.min() == NUM_REAL_BASES:
        return f"{noun} `{query.id}` holds no base but N"
    return "" if check.has_token(query.codes) else f"{noun} `{query.id}` holds no {check.unit}"


def _tell_of_doubles(hashes: array[int], read: Read, reporter: Reporter, *, strict: bool) -> None:
    values, counts = np.unique(np.array(hashes, dtype=np.int64), return_counts=True)
    doubles = set(values[counts > 1].tolist())
    if not doubles:
        return
    times = Counter(query.id for query in read() if hash(query.id) in doubles)
    lines = [
        f"the id `{name}` occurs {number} times" for name, number in times.items() if number > 1
    ]
    if strict and lines:
        raise InputError(lines[0], hint="leave `strict` out to keep a row for each")
    warn_of([f"{line}; every record keeps its row" for line in lines], "ids", reporter)


def warn_of(lines: Sequence[str], what: str, reporter: Reporter) -> None:
    """Warn once per line, up to a hundred times."""
    for line in lines[:_MAX_WARNINGS]:
        reporter.warn(line)
    if len(lines) > _MAX_WARNINGS:
        reporter.warn(f"and {len(lines) - _MAX_WARNINGS} more {what} like these")
