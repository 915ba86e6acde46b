"""Labels in HDF5 files, whose rows are those of a table beside them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import FormatError, MissingExtraError

_LABELS = "labels"


@contextmanager
def open_archive(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        MissingExtraError: `h5py` is not installed.
        FormatError: The file is damaged.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as failure:
        raise MissingExtraError(
            f"`{path}` needs the package `h5py`",
            hint="install it with `pip install 'genomeformer[h5]'`",
        ) from failure
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as failure:
        raise FormatError(
            f"`{path}` is not a complete HDF5 file", hint="download it again"
        ) from failure


def labels_along(file: Any, path: Path, num_rows: int) -> Any:
    """Return the labels (N, M) of the rows of a table, read on indexing.

    Raises:
        FormatError: The file has no such array.
    """
    labels = file.get(_LABELS)
    shape: tuple[int, ...] = getattr(labels, "shape", ())
    if len(shape) != 2 or shape[0] != num_rows or labels.dtype.kind not in "iub":
        raise FormatError(
            f"`{path}` has no whole numbers `{_LABELS}` of {num_rows:,} rows, but an array of "
            f"shape {tuple(shape)}",
            hint="each row of the table beside it has a row of labels",
        )
    return labels
