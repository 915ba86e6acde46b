"""Save vectors: `.npy` to a file (atomically) or to a pipe, ids as text.

`numpy.save` asks for the position of its file and so fails on a pipe; the header and the bytes
written here do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from genomeformer_cli.core.store.atomic import atomic_file, write_text


def write_npy(array: npt.NDArray[np.float32], file: IO[bytes]) -> None:
    """Write an array in `.npy` format 1.0 to any binary stream, a pipe included."""
    array = np.ascontiguousarray(array)
    npy_format.write_array_header_1_0(file, npy_format.header_data_from_array_1_0(array))
    rest = memoryview(array.data.cast("B") if array.size else b"")
    while rest:  # an unbuffered stream may take only a part
        rest = rest[file.write(rest) :]
    file.flush()


def save_npy(array: npt.NDArray[np.float32], path: Path) -> None:
    """Write a `.npy` file that is there whole or not at all."""
    with atomic_file(path) as file:
        write_npy(array, file)


def save_ids(ids: Sequence[str], path: Path) -> None:
    """Write one id a line, in the order of the rows."""
    write_text(path, "".join(f"{one}\n" for one in ids))
