"""Parquet tables, read by `pyarrow`, an optional package.

Cells become text: a missing cell is empty, numbers and truth values are written as Python does.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import FormatError, MissingExtraError
from genomeformer_cli.core.formats.tables import TableRow, TextTable
from genomeformer_cli.core.store.run_record import note_input

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
    with _opened(path, display_name) as file:
        names = file.schema_arrow.names
        texts = _find(names, column, display_name)
        if texts is None:
            listing = ", ".join(f"`{name}`" for name in names[:_MAX_NAMED])
            raise FormatError(
                f"`{display_name}` has no column `{column}`",
                hint=f"its columns are {listing or '(none)'}",
            )
        kind = str(file.schema_arrow.field(texts).type)
        if kind not in ("string", "large_string"):
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


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Return the names of the columns.

    Raises:
        MissingExtraError: `pyarrow` is not installed.
        FormatError: The file is damaged.
    """
    with _opened(path, str(path)) as file:
        return tuple(file.schema_arrow.names)


def parquet_table(path: Path, display_name: str) -> TextTable:
    """Read the columns of text, numbers and truth values as a table; others are left out.

    Raises:
        MissingExtraError: `pyarrow` is not installed.
        FormatError: The file is damaged.
    """
    with _opened(path, display_name) as file:
        columns = tuple(field.name for field in file.schema_arrow if _is_simple(str(field.type)))
        rows: list[TableRow] = []
        num_rows = 0
        for batch in file.iter_batches(columns=list(columns)):
            values = [column.to_pylist() for column in batch.columns]
            for number in range(batch.num_rows):
                num_rows += 1
                cells = tuple(_text(column[number]) for column in values)
                if any(cells):
                    rows.append(TableRow(num_rows, 0, cells))
    return TextTable(
        display_name=display_name,
        separator="",
        columns=columns,
        rows=tuple(rows),
        num_empty=num_rows - len(rows),
    )


def parquet_records(
    path: Path, columns: Sequence[str], display_name: str
) -> Iterator[dict[str, Any]]:
    """Yield the values of every row by column, nested lists included.

    Args:
        path: Parquet file.
        columns: Names of the columns; those that the file lacks are left out.
        display_name: Name of the file in errors.

    Raises:
        MissingExtraError: `pyarrow` is not installed.
        FormatError: The file is damaged.
    """
    with _opened(path, display_name) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=16, columns=present):
            yield from batch.to_pylist()


@contextmanager
def _opened(path: Path, display_name: str) -> Iterator[Any]:
    """Open a file; errors of `pyarrow` while it is read become errors of the format."""
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError(
            f"`{display_name}` is a parquet table, which needs `pyarrow`",
            hint="`pip install 'genomeformer[parquet]'`, or export the table as TSV",
        ) from None
    note_input(path, display_name)
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as failure:
        raise FormatError(
            f"`{display_name}` cannot be read as parquet: {str(failure).partition(chr(10))[0]}",
            hint="write the table again, or export it as TSV",
        ) from failure


def _is_simple(kind: str) -> bool:
    simple = ("string", "large_string", "bool", "int", "uint", "float", "double", "halffloat")
    return kind.startswith(simple) or kind.startswith("dictionary<values=string")


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


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
