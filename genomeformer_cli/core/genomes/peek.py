"""First records of a file, letters unchanged; the file is read only as far as needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.fasta import FastaReader, Record
from genomeformer_cli.core.sequence import Codes


@dataclass(frozen=True, kw_only=True)
class Peek:
    """Beginning of a file."""

    records: tuple[Record, ...]  # First records; the last one may be cut.
    whole: bool  # True if this is the whole file.
    last_is_whole: bool  # True if the last record is not cut.


def peek_records(path: Path, num_letters: int, *, display_name: str) -> Peek:
    """Read records up to a number of letters; a record counts as at least one.

    Args:
        path: FASTA or FASTQ file, plain or compressed.
        num_letters: Maximum number of letters; the last record is cut there.
        display_name: Name of the file in errors.

    Raises:
        FastaError: The file is missing, empty, or not FASTA as far as read; a file read to its end
            may also be truncated or damaged.
    """
    headers: list[tuple[str, str]] = []
    parts: list[list[Codes]] = []
    at_end = True
    for block in FastaReader(path, display_name=display_name, letters=True).blocks():
        start = 0
        for (stop, name), description in zip(block.starts, block.descriptions, strict=True):
            if parts:
                parts[-1].append(block.marked[start:stop])
            headers.append((name, description))
            parts.append([])
            start = stop
        parts[-1].append(block.marked[start:])
        if (
            sum(max(sum(part.size for part in record_parts), 1) for record_parts in parts)
            > num_letters
        ):
            at_end = False
            break
    return _cut(headers, parts, num_letters, at_end=at_end)


def _cut(
    headers: list[tuple[str, str]], parts: list[list[Codes]], num_left: int, *, at_end: bool
) -> Peek:
    """Cut the records to `num_left` letters."""
    records: list[Record] = []
    for (name, description), record_parts in zip(headers, parts, strict=True):
        if num_left <= 0:
            return Peek(records=tuple(records), whole=False, last_is_whole=True)
        letters = np.concatenate(record_parts).tobytes().decode("ascii")
        records.append(Record(name, description, letters[:num_left]))
        if len(letters) > num_left:
            return Peek(records=tuple(records), whole=False, last_is_whole=False)
        num_left -= max(len(letters), 1)
    return Peek(records=tuple(records), whole=at_end, last_is_whole=at_end)
