"""Organisms and accessions of the records of a corpus, from the headers of its files.

Two kinds of header are parsed, others are left unchanged:

    >ITEM|ACCESSION organism          file of several genomes; records of an item belong together
    >ACCESSION organism, more         record as in archives
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
    """Records of one organism."""

    name: str  # Name in the headers, strain included; empty if absent.
    accessions: tuple[str, ...]  # Accessions of the records, or their ids.
    num_bases: int | None  # Number of letters; None if unknown.
    role: str  # `trained on`, `held out`, or `both`, if parts are held out.


def role_of(splits: Iterable[str]) -> str:
    """Return the role of records in these splits, in words."""
    distinct = set(splits) - {"unused"}
    if len(distinct) > 1:
        return BOTH
    return {"train": TRAINED, "validation": HELD_OUT}.get(next(iter(distinct), ""), NEITHER)


def parse_organism(description: str) -> str:
    """Return the name of the organism at the start of a description; empty if there is none."""
    name = description.split(",")[0].strip(" -")
    return "" if _NO_NAME.search(name) else name


def organisms_of(
    splits: Mapping[str, set[str]], described: Mapping[str, DescribedRecord]
) -> tuple[Organism, ...]:
    """Return the organisms of a file, in order; none if the headers have neither names nor items.

    Args:
        splits: Splits of each record, by id.
        described: Headers of the records, by id; empty if the file is missing.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for record in splits:
        item, _ = _split_item(record)
        header = described.get(record)
        name = parse_organism(header.description) if header is not None else ""
        groups.setdefault((item, name), []).append(record)
    if groups.keys() == {("", "")}:
        return ()
    return tuple(
        Organism(
            name=name,
            accessions=tuple(_split_item(record)[1] for record in records),
            num_bases=_bases(records, described),
            role=role_of(split for record in records for split in splits[record]),
        )
        for (_, name), records in groups.items()
    )


def _split_item(record: str) -> tuple[str, str]:
    """Return item and accession of a record; without an item the whole id is the accession."""
    parts = record.split("|")
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else ("", record)


def _bases(records: Iterable[str], described: Mapping[str, DescribedRecord]) -> int | None:
    headers = [described.get(record) for record in records]
    if any(header is None for header in headers):
        return None
    return sum(header.num_bases for header in headers if header is not None)
