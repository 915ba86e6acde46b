"""Records of a genome by id, for VCF and BED files.

Rows on an id that occurs twice would be ambiguous, so a requested id must be unique. Names that the
genome lacks are compared with its ids to find the likely cause.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from genomeformer_cli.core.errors import FastaError, InputError
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.reporting import Reporter

_MITOCHONDRION = ("m", "mt")
_VERSION = re.compile(r"\.[0-9]+$")
_NUM_SHOWN = 4


def named_records(
    fasta: Path,
    names: Collection[str],
    *,
    display_name: str | None = None,
    lengths: dict[str, int] | None = None,
    reporter: Reporter | None = None,
) -> Iterator[Query]:
    """Yield the records with the given names, in the order of the genome.

    A duplicate id is an error if a row refers to it, a warning otherwise, in every command. Consume
    all records before using any.

    Args:
        fasta: Genome file: FASTA, FASTQ, GenBank or a table.
        names: Ids of the records.
        display_name: Name of the genome in errors; the path by default.
        lengths: Receives the id and the length of every record.
        reporter: Receives the changes made while reading, and other duplicate ids.

    Raises:
        FastaError, AlphabetError: The genome cannot be read, or a requested id is not unique.
    """
    lengths = {} if lengths is None else lengths
    twice: dict[str, None] = {}
    yielded: set[str] = set()
    for record in read_any_sequences(fasta, display_name=display_name, reporter=reporter):
        if record.id in yielded:
            raise FastaError(
                f"`{display_name or fasta}` has several records of the id `{record.id}`",
                hint="rename or remove all but one: rows on it could mean any of them",
            )
        if record.id in lengths:
            twice[record.id] = None
        lengths[record.id] = record.codes.size
        if record.id in names:
            yielded.add(record.id)
            yield record
    if twice and reporter is not None:
        reporter.warn(
            f"`{display_name or fasta}`: {len(twice)} ids occur more than once, the first is "
            f"`{next(iter(twice))}`; no row is on them"
        )


def similar_name(name: str, ids: Collection[str]) -> str:
    """Return the id that most likely means the record called `name`; empty if there is none."""
    if name in ids:
        return name
    forms = {_plain(record_id): record_id for record_id in reversed(list(ids))}
    return forms.get(_plain(name), "")


def _plain(name: str) -> str:
    """Remove the parts of a name that differ between sources of genomes."""
    plain = _VERSION.sub("", name.casefold()).removeprefix("chromosome").removeprefix("chr")
    plain = plain.strip("_ ")
    return "mt" if plain in _MITOCHONDRION else plain.lstrip("0") or plain


def check_names(
    names: Sequence[str], lengths: Mapping[str, int], *, source: str, genome: str
) -> None:
    """Raise an error if there are rows, but none on a record of the genome.

    Args:
        names: Record of every row.
        lengths: Lengths of the genome's records by id.
        source: Name of the file of rows.
        genome: Name of the genome.

    Raises:
        InputError: All rows are on records that the genome does not have.
    """
    if not names or any(name in lengths for name in names):
        return
    first = names[0]
    raise InputError(
        f"no row of `{source}` is on a record of `{genome}`: the file names "
        f"{list_names(names)}, the "
        f"genome {list_names(lengths)}",
        hint=_cause(first, similar_name(first, lengths)),
    )


def _cause(name: str, similar: str) -> str:
    if not similar:
        return "give the genome whose coordinates the file uses, with the same record names"
    longer, shorter = sorted((name, similar), key=len, reverse=True)
    if longer.casefold() == f"chr{shorter}".casefold():
        return (
            f"the names differ by `chr`: rename the records of one of the files, as `{name}` to "
            f"`{similar}`"
        )
    return (
        f"the names differ: `{name}` is probably `{similar}`; rename the records of one of the "
        "files"
    )


def list_names(names: Collection[str]) -> str:
    """Return the first different names and the number of the others."""
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _NUM_SHOWN:,} more" if len(different) > _NUM_SHOWN else ""
    return ", ".join(f"`{name}`" for name in different[:_NUM_SHOWN]) + more


def unknown_record(name: str, ids: Collection[str]) -> str:
    """Return the reason for a row on a record that the genome does not have."""
    similar = similar_name(name, ids)
    return f"unknown record: the genome has no `{name}`" + (f", but `{similar}`" if similar else "")
