"""The first records of a file, letters as they stand: no more of it is read than is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.fasta import FastaReader, Record
from genomeformer_cli.core.sequence import Codes


@dataclass(frozen=True, kw_only=True)
class Peek:
    """What stands at the head of a file.

    Attributes:
        records: The first ones; the last may be the beginning of one.
        whole: Whether that is the whole file.
        last_is_whole: Whether the last record is.
    """

    records: tuple[Record, ...]
    whole: bool
    last_is_whole: bool


def peek_records(path: Path, num_letters: int, *, shown: str) -> Peek:
    """Read records until they hold so many letters, each record counted as one at least.

    Args:
        path: FASTA or FASTQ of any packing.
        num_letters: How many are wanted; the last record is cut there.
        shown: The name used in errors.

    Raises:
        FastaError: Missing, empty, or not FASTA as far as it was read; a file that is read to its
            end also when truncated or damaged.
    """
    opened: list[tuple[str, str]] = []
    parts: list[list[Codes]] = []
    at_end = True
    for block in FastaReader(path, shown=shown, letters=True).blocks():
        done = 0
        for (at, name), description in zip(block.starts, block.descriptions, strict=True):
            if parts:
                parts[-1].append(block.marked[done:at])
            opened.append((name, description))
            parts.append([])
            done = at
        parts[-1].append(block.marked[done:])
        if sum(max(sum(part.size for part in some), 1) for some in parts) > num_letters:
            at_end = False
            break
    return _cut(opened, parts, num_letters, at_end=at_end)


def _cut(
    opened: list[tuple[str, str]], parts: list[list[Codes]], wanted: int, *, at_end: bool
) -> Peek:
    """Cut the records that were read to the letters that are wanted."""
    found: list[Record] = []
    for (name, description), some in zip(opened, parts, strict=True):
        if wanted <= 0:
            return Peek(records=tuple(found), whole=False, last_is_whole=True)
        letters = np.concatenate(some).tobytes().decode("ascii")
        found.append(Record(name, description, letters[:wanted]))
        if len(letters) > wanted:
            return Peek(records=tuple(found), whole=False, last_is_whole=False)
        wanted -= max(len(letters), 1)
    return Peek(records=tuple(found), whole=at_end, last_is_whole=at_end)
