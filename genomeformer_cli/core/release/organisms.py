"""Whose records a corpus holds: organisms and accessions, read off the headers of its files.

Two kinds of header are understood, and what is neither is left as it is:

    >ITEM|ACCESSION organism          a file of several genomes: the records of an item are one's
    >ACCESSION organism, more         a record as archives give it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genomeformer_cli.core.genomes.fasta_headers import DescribedRecord

TRAINED, HELD_OUT, BOTH, NEITHER = "trained on", "held out", "both", "neither"
# `length=4641652`, `/path/to/file`: words of a program, not a name. Strains may have slashes.
_NO_NAME = re.compile(r"=|\\|(?:^|\s)[/~]|://")


@dataclass(frozen=True, kw_only=True)
class Organism:
    """The records of one organism.

    Attributes:
        name: As the headers say it, strain and all; empty if they do not.
        accessions: Of its records, or their ids.
        num_bases: Letters of them; None if that is no longer known.
        role: `trained on`, `held out`, or `both`, where parts of it are held out.
    """

    name: str
    accessions: tuple[str, ...]
    num_bases: int | None
    role: str


def role_of(splits: Iterable[str]) -> str:
    """What was done with what lies in these splits, in words."""
    distinct = set(splits) - {"unused"}
    if len(distinct) > 1:
        return BOTH
    return {"train": TRAINED, "validation": HELD_OUT}.get(next(iter(distinct), ""), NEITHER)


def organism_named(description: str) -> str:
    """The name of an organism that a description begins with; empty if it names none."""
    name = description.split(",")[0].strip(" -")
    return "" if _NO_NAME.search(name) else name


def organisms_of(
    splits: Mapping[str, set[str]], described: Mapping[str, DescribedRecord]
) -> tuple[Organism, ...]:
    """The organisms of a file, in its order; none if its headers neither name any nor have items.

    Args:
        splits: By the id of each record, those that it has parts in.
        described: What the file says of the records, by their ids; empty if it is no longer there.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for record in splits:
        item, _ = _parts(record)
        known = described.get(record)
        name = organism_named(known.description) if known is not None else ""
        groups.setdefault((item, name), []).append(record)
    if groups.keys() == {("", "")}:
        return ()
    return tuple(
        Organism(
            name=name,
            accessions=tuple(_parts(record)[1] for record in records),
            num_bases=_bases(records, described),
            role=role_of(split for record in records for split in splits[record]),
        )
        for (_, name), records in groups.items()
    )


def _parts(record: str) -> tuple[str, str]:
    """Item and accession of a record; without an item the whole id is the accession."""
    parts = record.split("|")
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else ("", record)


def _bases(records: Iterable[str], described: Mapping[str, DescribedRecord]) -> int | None:
    known = [described.get(record) for record in records]
    if any(one is None for one in known):
        return None
    return sum(one.num_bases for one in known if one is not None)
