"""Join vectors row by row, holding one piece in memory at a time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def merge(pieces: Sequence[Path], output: Path) -> None:
    """Write the rows of all pieces, in their order, to one array."""
    arrays = [np.load(path, mmap_mode="r") for path in pieces]
    rows = sum(array.shape[0] for array in arrays)
    merged = np.lib.format.open_memmap(
        output, mode="w+", dtype=arrays[0].dtype, shape=(rows, *arrays[0].shape[1:])
    )
    first = 0
    for array in arrays:
        merged[first : first + len(array)] = array
        first += len(array)
    merged.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Join vectors row by row.")
    parser.add_argument("pieces", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    merge(options.pieces, options.output)
