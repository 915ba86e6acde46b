"""Records of a genome by id: the one way from the names in a VCF or BED file to bases.

Two records of one id would make every row on them ambiguous, so a name that is asked for may occur
once. Names that the genome does not have are compared with those it has, to find the likely cause.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from genomeformer_cli.core.errors import FastaError, InputError
from genomeformer_cli.core.formats.sequences import Query, read_sequences
from genomeformer_cli.core.reporting import Reporter

_MITOCHONDRION = ("m", "mt")
_VERSION = re.compile(r"\.[0-9]+$")
_NUM_SHOWN = 4


def named_records(
    fasta: Path,
    names: Collection[str],
    *,
    shown: str | None = None,
    known: dict[str, int] | None = None,
    reporter: Reporter | None = None,
) -> Iterator[Query]:
    """Yield the records of some names, in the order of the genome.

    The rule for two records of one id is the same for every command: an error if a row is on that
    id, a warning otherwise. Take all records before using any.

    Args:
        fasta: FASTA or FASTQ of any packing.
        names: Ids of the records.
        shown: Name of the genome in errors; None: the path.
        known: Receives the id and the length of every record.
        reporter: Receives what reading changed, and other ids that occur twice.

    Raises:
        FastaError, AlphabetError: The genome cannot be read, or two records share one of the names.
    """
    known = {} if known is None else known
    twice: dict[str, None] = {}
    yielded: set[str] = set()
    for record in read_sequences(fasta, shown=shown, reporter=reporter):
        if record.id in yielded:
            raise FastaError(
                f"`{shown or fasta}` has several records of the id `{record.id}`",
                hint="rename or remove all but one: rows on it could mean any of them",
            )
        if record.id in known:
            twice[record.id] = None
        known[record.id] = record.codes.size
        if record.id in names:
            yielded.add(record.id)
            yield record
    if twice and reporter is not None:
        reporter.warn(
            f"`{shown or fasta}`: {len(twice)} ids occur more than once, the first is "
            f"`{next(iter(twice))}`; no row is on them"
        )


def similar_name(name: str, known: Collection[str]) -> str:
    """Return the known name that most likely means the same record; empty if there is none."""
    if name in known:
        return name
    forms = {_plain(one): one for one in reversed(list(known))}
    return forms.get(_plain(name), "")


def _plain(name: str) -> str:
    """Return a name without what sources of genomes write differently."""
    plain = _VERSION.sub("", name.casefold()).removeprefix("chromosome").removeprefix("chr")
    plain = plain.strip("_ ")
    return "mt" if plain in _MITOCHONDRION else plain.lstrip("0") or plain


def check_names(
    names: Sequence[str], known: Mapping[str, int], *, source: str, genome: str
) -> None:
    """Raise an error if there are rows, and none is on a record of the genome.

    Args:
        names: Record of every row.
        known: Ids of the genome's records.
        source: Name of the file of rows.
        genome: Name of the genome.

    Raises:
        InputError: No row is on a record of the genome.
    """
    if not names or any(name in known for name in names):
        return
    first = names[0]
    raise InputError(
        f"no row of `{source}` is on a record of `{genome}`: the file names {_listed(names)}, the "
        f"genome {_listed(known)}",
        hint=_cause(first, similar_name(first, known)),
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


def _listed(names: Collection[str]) -> str:
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _NUM_SHOWN:,} more" if len(different) > _NUM_SHOWN else ""
    return ", ".join(f"`{name}`" for name in different[:_NUM_SHOWN]) + more


def unknown_record(name: str, known: Collection[str]) -> str:
    """Return the reason for a row on a record that the genome does not have."""
    similar = similar_name(name, known)
    return f"unknown record: the genome has no `{name}`" + (f", but `{similar}`" if similar else "")
