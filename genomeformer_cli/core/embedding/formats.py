"""Rows as files of other kinds, each whole or not at all: npz, HDF5, AnnData, parquet, text.

What needs a package that is not everybody's says so before any work is done (`check_format`).
AnnData's files are HDF5 of a published layout, so `h5py` alone writes them.
"""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.rows import npy_header
from genomeformer_cli.core.errors import MissingExtraError, UsageError
from genomeformer_cli.core.store.atomic import atomic_file

Floats = npt.NDArray[np.floating[Any]]
_ROWS_AT_ONCE = 1 << 14
_IDS = "ids"


@dataclass(frozen=True)
class Table:
    """What is to be written.

    Attributes:
        rows: (R, K), perhaps mapped.
        ids: Of the records.
        sizes: Rows of each record: 1, or its bases.
        per_base: Whether a row is a base.
    """

    rows: Floats
    ids: Sequence[str]
    sizes: Sequence[int]
    per_base: bool

    def parts(self) -> Iterator[tuple[str, Floats]]:
        """Rows of one record after the other."""
        start = 0
        for name, size in zip(self.ids, self.sizes, strict=True):
            yield name, self.rows[start : start + size] if self.per_base else self.rows[start]
            start += size

    def stretches(self) -> Iterator[tuple[Sequence[str], npt.NDArray[np.int64], Floats]]:
        """Ids, places in the record (from 0) and rows, some thousands at a time."""
        ends = np.cumsum(np.asarray(self.sizes, dtype=np.int64))
        for start in range(0, len(self.rows), _ROWS_AT_ONCE):
            rows = self.rows[start : start + _ROWS_AT_ONCE]
            row = np.arange(start, start + len(rows))
            record = np.searchsorted(ends, row, side="right")
            first = ends[record] - np.asarray(self.sizes, dtype=np.int64)[record]
            yield [self.ids[one] for one in record], row - first, rows


def unique_names(ids: Sequence[str], reserved: Sequence[str] = ()) -> Iterator[str]:
    """Yield names for ids, each once and without `/`: the second `a` is `a.2`, no id is `record`.

    Args:
        ids: Ids of records.
        reserved: Names that are taken already.
    """
    taken = set(reserved)
    times: dict[str, int] = {}
    for one in ids:
        plain = one.replace("/", "_").strip(".") or "record"
        name = plain
        while name in taken:
            times[plain] = times.get(plain, 1) + 1
            name = f"{plain}.{times[plain]}"
        taken.add(name)
        yield name


def _write_npz(table: Table, file: IO[bytes]) -> None:
    """Pooled: `vectors` and `ids`. By base: one array a record, called by its id."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        if table.per_base:
            names = unique_names(table.ids, reserved=(_IDS,))
            for name, (_, rows) in zip(names, table.parts(), strict=True):
                _put(archive, name, rows)
        else:
            _put(archive, "vectors", table.rows)
        _put(archive, _IDS, np.array(table.ids, dtype=np.str_))


def _put(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    with archive.open(entry, "w", force_zip64=True) as member:
        if array.dtype.kind == "U":
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            member.write(content.getvalue())
            return
        member.write(npy_header(array.shape, array.dtype))
        for start in range(0, len(array), _ROWS_AT_ONCE):
            member.write(np.ascontiguousarray(array[start : start + _ROWS_AT_ONCE]).tobytes())


def _write_h5(table: Table, file: IO[bytes]) -> None:
    """One data set a record, called by its id, which `original_id` holds as it was."""
    h5py = importlib.import_module("h5py")
    with h5py.File(file, "w") as archive:
        names = unique_names(table.ids)
        for name, (one, rows) in zip(names, table.parts(), strict=True):
            archive.create_dataset(name, data=rows).attrs["original_id"] = one


def _write_h5ad(table: Table, file: IO[bytes]) -> None:
    """AnnData 0.8 and later: `X`, names of the rows in `obs`, and of the columns in `var`."""
    h5py = importlib.import_module("h5py")
    with h5py.File(file, "w") as archive:
        _mark(archive, "anndata", "0.1.0")
        _mark(archive.create_dataset("X", data=table.rows), "array", "0.2.0")
        names = list(unique_names(table.ids))
        columns = [f"e{column}" for column in range(table.rows.shape[1])]
        obs = _frame(archive, "obs", names, ["id"])
        _mark(_strings(obs, "id", table.ids), "string-array", "0.2.0")
        _frame(archive, "var", columns, [])
        for group in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _mark(archive.create_group(group), "dict", "0.1.0")


def _mark(node: Any, kind: str, version: str) -> Any:
    node.attrs["encoding-type"], node.attrs["encoding-version"] = kind, version
    return node


def _strings(group: Any, name: str, values: Sequence[str]) -> Any:
    dtype = importlib.import_module("h5py").string_dtype()
    return group.create_dataset(name, data=np.array(values, dtype=object), dtype=dtype)


def _frame(archive: Any, name: str, index: Sequence[str], columns: Sequence[str]) -> Any:
    group = _mark(archive.create_group(name), "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs.create(
        "column-order",
        np.array(columns, dtype=object),
        dtype=importlib.import_module("h5py").string_dtype(),
    )
    _mark(_strings(group, "_index", index), "string-array", "0.2.0")
    return group


def _write_parquet(table: Table, file: IO[bytes]) -> None:
    """Columns `id`, by base `position` (from 1), then `e0`, `e1`, ...."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    number = arrow.from_numpy_dtype(table.rows.dtype)
    fields = [("id", arrow.string())] + ([("position", arrow.int64())] if table.per_base else [])
    fields += [(f"e{column}", number) for column in range(table.rows.shape[1])]
    schema = arrow.schema(fields)
    with parquet.ParquetWriter(file, schema) as writer:
        for ids, places, rows in table.stretches():
            columns = [
                ids,
                *([places + 1] if table.per_base else []),
                *np.ascontiguousarray(rows.T),
            ]
            writer.write_table(arrow.table(columns, schema=schema))


def _write_tsv(table: Table, file: IO[bytes]) -> None:
    """The same as text, with a line of names; a number is as short as it can be read back."""
    names = ["id", *(["position"] if table.per_base else [])]
    names += [f"e{column}" for column in range(table.rows.shape[1])]
    file.write(("\t".join(names) + "\n").encode())
    for ids, places, rows in table.stretches():
        for one, place, row in zip(ids, places, rows, strict=True):
            fields = [one, *([str(place + 1)] if table.per_base else []), *map(str, row)]
            file.write(("\t".join(fields) + "\n").encode())


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is written, what it needs, and the extra that brings it."""

    write: Callable[[Table, IO[bytes]], None] | None
    needs: str = ""
    extra: str = ""
    per_base: bool = True


FORMATS = {
    ".npy": Format(None),
    ".npz": Format(_write_npz),
    ".h5": Format(_write_h5, "h5py", "h5"),
    ".h5ad": Format(_write_h5ad, "h5py", "h5", per_base=False),
    ".parquet": Format(_write_parquet, "pyarrow", "parquet"),
    ".tsv": Format(_write_tsv),
}


def check_format(path: Path, *, per_base: bool) -> Format:
    """The kind of file that a name asks for.

    Raises:
        UsageError: There is none, or it cannot hold a row a base.
        MissingExtraError: It needs a package that is not installed.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        known = ", ".join(f"`{suffix}`" for suffix in FORMATS)
        raise UsageError(f"`{path}` is of no kind we write", hint=f"end it with {known}")
    if per_base and not found.per_base:
        raise UsageError(
            f"`{path.suffix}` holds a row a record, not a row a base",
            hint="write `.npy`, `.npz` or `.h5`, or choose another `--pool`",
        )
    if found.needs:
        try:
            importlib.import_module(found.needs)
        except ImportError:
            raise MissingExtraError(
                f"`{path.suffix}` files need `{found.needs}`",
                hint=f"`pip install 'genomeformer[{found.extra}]'`, or write `.npy` or `.npz`",
            ) from None
    return found


def write_table(table: Table, path: Path) -> None:
    """Write rows as the kind of file that the name asks for, `.npy` excepted.

    Raises:
        StoreError: The system refused the write.
    """
    write = FORMATS[path.suffix.lower()].write
    assert write is not None
    with atomic_file(path) as file:
        write(table, file)
