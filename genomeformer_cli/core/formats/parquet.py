"""Sequences of a parquet table, read by `pyarrow`, an optional package."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from genomeformer_cli.core.errors import FormatError, MissingExtraError

_MAGIC = b"PAR1"
_ID = "id"
_MAX_NAMED = 20


def is_parquet(path: Path) -> bool:
    """Return True for a parquet file, by its first bytes; False for a missing file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def parquet_rows(path: Path, column: str, display_name: str) -> Iterator[tuple[str, str]]:
    """Yield the id and the text of every row, one row group in memory at a time.

    Args:
        path: Parquet file.
        column: Name of the column of the texts, case-insensitive.
        display_name: Name of the file in errors.

    Raises:
        MissingExtraError: `pyarrow` is not installed.
        FormatError: The file is damaged, or has no such column of text.
    """
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError(
            f"`{display_name}` is a parquet table, which needs `pyarrow`",
            hint="`pip install 'genomeformer[parquet]'`, or export the table as TSV",
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            texts = _find(names, column, display_name)
            if texts is None:
                listing = ", ".join(f"`{name}`" for name in names[:_MAX_NAMED])
                raise FormatError(
                    f"`{display_name}` has no column `{column}`",
                    hint=f"its columns are {listing or '(none)'}",
                )
            kind = file.schema_arrow.field(texts).type
            if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
                raise FormatError(
                    f"`{display_name}`: column `{texts}` holds {kind}, not text",
                    hint="write sequences as text",
                )
            ids = _find(names, _ID, display_name)
            columns = [texts] if ids is None else [texts, ids]
            for batch in file.iter_batches(columns=columns):
                values = batch.column(texts).to_pylist()
                labels = [""] * len(values) if ids is None else batch.column(ids).to_pylist()
                for label, value in zip(labels, values, strict=True):
                    yield "" if label is None else str(label), (value or "").strip()
    except (arrow.ArrowException, OSError) as failure:
        raise FormatError(
            f"`{display_name}` cannot be read as parquet: {str(failure).partition(chr(10))[0]}",
            hint="write the table again, or export it as TSV",
        ) from failure


def _find(names: list[str], column: str, display_name: str) -> str | None:
    """Return the column of that name; an exact match takes precedence over another case."""
    exact = [name for name in names if name == column]
    matches = exact or [name for name in names if name.casefold() == column.casefold()]
    if len(matches) > 1:
        raise FormatError(
            f"`{display_name}` has {len(matches)} columns `{column}`",
            hint="rename or remove all but one of them",
        )
    return matches[0] if matches else None
