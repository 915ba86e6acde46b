"""Divide sequences into pieces of about equal numbers of bases, in input order.

The pieces follow each other: joined, they have the records of the input in the same order.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.sequence import decode_bases


def read_records(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield the id and the bases of every record."""
    for path in paths:
        for query in read_any_sequences(path):
            yield query.id, decode_bases(query.codes)


def scatter(paths: Sequence[Path], pieces: Sequence[Path]) -> None:
    """Write the records of the files to the pieces; exit if a piece has none."""
    total = sum(len(bases) for _, bases in read_records(paths))
    seen, records = 0, [0] * len(pieces)
    with ExitStack() as stack:
        files = [stack.enter_context(gzip.open(path, "wt", compresslevel=1)) for path in pieces]
        for name, bases in read_records(paths):
            number = min(seen * len(pieces) // max(total, 1), len(pieces) - 1)
            files[number].write(f">{name}\n{bases}\n")
            records[number] += 1
            seen += len(bases)
    if 0 in records:
        empty = records.count(0)
        sys.exit(f"{empty} of {len(pieces)} pieces have no record: set a smaller `pieces`")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Divide sequences into pieces.")
    parser.add_argument("sequences", type=Path, nargs="+")
    parser.add_argument("--pieces", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    scatter(options.sequences, options.pieces)
