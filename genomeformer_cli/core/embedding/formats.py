"""Writers of other file types, each file complete or absent: npz, HDF5, AnnData, parquet, text.

`check_format` checks for missing packages before any work is done. AnnData files are HDF5 with a
published layout, so that `h5py` alone writes them.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import MissingExtraError, UsageError
from genomeformer_cli.core.formats.npz import write_array
from genomeformer_cli.core.formats.region import COLUMNS, RegionColumns, WordColumn
from genomeformer_cli.core.store.atomic import atomic_file

Floats = npt.NDArray[np.floating[Any]]
_ROWS_PER_CHUNK = 1 << 14
_IDS = "ids"
PROVENANCE = "genomeformer"


class VectorChunk(NamedTuple):
    """Consecutive rows."""

    ids: Sequence[str]  # Record of each row.
    positions: npt.NDArray[np.int64]  # Position in the record, from 0.
    rows: Floats  # (R, K).
    regions: RegionColumns | None  # Coordinates of the record of each row.


@dataclass(frozen=True)
class VectorTable:
    """Vectors to write."""

    rows: Floats  # (R, K), perhaps memory-mapped.
    ids: Sequence[str]  # Record ids.
    sizes: Sequence[int]  # Rows of each record: 1, or its bases.
    per_base: bool  # True if there is one row per base.
    regions: RegionColumns | None = None  # Coordinates of each record; None for whole records.
    provenance: Mapping[str, Any] = field(default_factory=dict)  # Origin of the rows, as JSON.

    def records(self) -> Iterator[tuple[str, Floats]]:
        """Yield the id and the rows of each record."""
        start = 0
        for name, size in zip(self.ids, self.sizes, strict=True):
            yield name, self.rows[start : start + size] if self.per_base else self.rows[start]
            start += size

    def chunks(self) -> Iterator[VectorChunk]:
        """Yield the rows in chunks, with their ids, positions and coordinates."""
        ends = np.cumsum(np.asarray(self.sizes, dtype=np.int64))
        for start in range(0, len(self.rows), _ROWS_PER_CHUNK):
            rows = self.rows[start : start + _ROWS_PER_CHUNK]
            row = np.arange(start, start + len(rows))
            record = np.searchsorted(ends, row, side="right")
            first = ends[record] - np.asarray(self.sizes, dtype=np.int64)[record]
            ids = [self.ids[index] for index in record]
            regions = None if self.regions is None else self.regions.take(record)
            yield VectorChunk(ids, row - first, rows, regions)


def unique_names(ids: Sequence[str], reserved: Sequence[str] = ()) -> Iterator[str]:
    """Yield unique names without `/` for ids: the second `a` is `a.2`, an empty id is `record`.

    Args:
        ids: Record ids.
        reserved: Names that are already in use.
    """
    used = set(reserved)
    counts: dict[str, int] = {}
    for identifier in ids:
        base_name = identifier.replace("/", "_").strip(".") or "record"
        name = base_name
        while name in used:
            counts[base_name] = counts.get(base_name, 1) + 1
            name = f"{base_name}.{counts[base_name]}"
        used.add(name)
        yield name


def _write_npz(table: VectorTable, file: IO[bytes]) -> None:
    """Write `vectors` and `ids`; with rows per base, one array per record, named by its id."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        if table.per_base:
            names = unique_names(table.ids, reserved=(_IDS,))
            for name, (_, rows) in zip(names, table.records(), strict=True):
                write_array(archive, name, rows)
        else:
            write_array(archive, "vectors", table.rows)
        write_array(archive, _IDS, np.array(table.ids, dtype=np.str_))


def _write_h5(table: VectorTable, file: IO[bytes]) -> None:
    """Write one data set per record, named by its id; `original_id` holds the exact id."""
    h5py = importlib.import_module("h5py")
    with h5py.File(file, "w") as archive:
        names = unique_names(table.ids)
        for name, (identifier, rows) in zip(names, table.records(), strict=True):
            archive.create_dataset(name, data=rows).attrs["original_id"] = identifier


def _write_h5ad(table: VectorTable, file: IO[bytes]) -> None:
    """Write AnnData 0.8 and later: `X`, rows in `obs`, columns in `var`, provenance in `uns`.

    `obs` has the ids, and the coordinates of regions; `uns["genomeformer"]` has the model, options
    and sources, nested values as JSON.
    """
    h5py = importlib.import_module("h5py")
    with h5py.File(file, "w") as archive:
        _set_encoding(archive, "anndata", "0.1.0")
        _set_encoding(archive.create_dataset("X", data=table.rows), "array", "0.2.0")
        names = list(unique_names(table.ids))
        columns = [f"e{column}" for column in range(table.rows.shape[1])]
        regions = table.regions.items() if table.regions is not None else []
        obs = _frame(archive, "obs", names, ["id", *(name for name, _ in regions)])
        _set_encoding(_strings(obs, "id", table.ids), "string-array", "0.2.0")
        for name, column in regions:
            _write_column(obs, name, column)
        _frame(archive, "var", columns, [])
        for group in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _set_encoding(archive.create_group(group), "dict", "0.1.0")
        _write_provenance(archive["uns"], table.provenance)


def _write_column(obs: Any, name: str, column: WordColumn | npt.NDArray[np.int64]) -> None:
    """Write numbers as an array, words as categories."""
    if not isinstance(column, WordColumn):
        _set_encoding(obs.create_dataset(name, data=column), "array", "0.2.0")
        return
    # pandas orders categories; their codes follow.
    order = np.argsort(np.array(column.words, dtype=object), kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    group = _set_encoding(obs.create_group(name), "categorical", "0.2.0")
    group.attrs["ordered"] = False
    words = [column.words[index] for index in order]
    _set_encoding(_strings(group, "categories", words), "string-array", "0.2.0")
    codes = rank[column.codes] if len(order) else column.codes
    _set_encoding(group.create_dataset("codes", data=codes), "array", "0.2.0")


def _write_provenance(uns: Any, provenance: Mapping[str, Any]) -> None:
    group = _set_encoding(uns.create_group(PROVENANCE), "dict", "0.1.0")
    for name, value in provenance.items():
        text = value if isinstance(value, str) else json.dumps(value)
        node = group.create_dataset(
            name, data=text, dtype=importlib.import_module("h5py").string_dtype()
        )
        _set_encoding(node, "string", "0.2.0")


def _set_encoding(node: Any, kind: str, version: str) -> Any:
    node.attrs["encoding-type"], node.attrs["encoding-version"] = kind, version
    return node


def _strings(group: Any, name: str, values: Sequence[str]) -> Any:
    dtype = importlib.import_module("h5py").string_dtype()
    return group.create_dataset(name, data=np.array(values, dtype=object), dtype=dtype)


def _frame(archive: Any, name: str, index: Sequence[str], columns: Sequence[str]) -> Any:
    group = _set_encoding(archive.create_group(name), "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs.create(
        "column-order",
        np.array(columns, dtype=object),
        dtype=importlib.import_module("h5py").string_dtype(),
    )
    _set_encoding(_strings(group, "_index", index), "string-array", "0.2.0")
    return group


def _write_parquet(table: VectorTable, file: IO[bytes]) -> None:
    """Write columns `id`, coordinates of regions, `position` (from 1) per base, `e0`, `e1`, ....

    The metadata of the file have the provenance as JSON.
    """
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    number = arrow.from_numpy_dtype(table.rows.dtype)
    fields = [("id", arrow.string())]
    if table.regions is not None:
        words = arrow.string()
        kinds = {"start": arrow.int64(), "end": arrow.int64()}
        fields += [(name, kinds.get(name, words)) for name in COLUMNS]
    fields += [("position", arrow.int64())] if table.per_base else []
    fields += [(f"e{column}", number) for column in range(table.rows.shape[1])]
    provenance = json.dumps(dict(table.provenance))
    schema = arrow.schema(fields).with_metadata({PROVENANCE: provenance})
    with parquet.ParquetWriter(file, schema) as writer:
        for ids, positions, rows, regions in table.chunks():
            columns = [
                ids,
                *(_plain_columns(regions) if regions is not None else []),
                *([positions + 1] if table.per_base else []),
                *np.ascontiguousarray(rows.T),
            ]
            writer.write_table(arrow.table(columns, schema=schema))


def _plain_columns(regions: RegionColumns) -> list[Any]:
    return [
        column.values() if isinstance(column, WordColumn) else column
        for _, column in regions.items()
    ]


def _write_tsv(table: VectorTable, file: IO[bytes]) -> None:
    """Write the columns of parquet as text, with a header; numbers are written in shortest form."""
    names = ["id", *(COLUMNS if table.regions is not None else ())]
    names += ["position"] if table.per_base else []
    names += [f"e{column}" for column in range(table.rows.shape[1])]
    file.write(("\t".join(names) + "\n").encode())
    for ids, positions, rows, regions in table.chunks():
        cells = regions.rows() if regions is not None else repeat(())
        for identifier, place, position, row in zip(ids, cells, positions, rows, strict=False):
            at = [str(position + 1)] if table.per_base else []
            fields = [identifier, *place, *at, *map(str, row)]
            file.write(("\t".join(fields) + "\n").encode())


@dataclass(frozen=True)
class Format:
    """File type: its writer, the package it needs, and the extra that installs the package."""

    write: Callable[[VectorTable, IO[bytes]], None] | None
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
    """Return the file type of a path.

    Raises:
        UsageError: The suffix is unknown, or the type cannot hold one row per base.
        MissingExtraError: A package is not installed.
    """
    file_format = FORMATS.get(path.suffix.lower())
    if file_format is None:
        suffixes = ", ".join(f"`{suffix}`" for suffix in FORMATS)
        raise UsageError(f"unknown file type of `{path}`", hint=f"end it with {suffixes}")
    if per_base and not file_format.per_base:
        raise UsageError(
            f"`{path.suffix}` holds one row per record, not one per base",
            hint="write `.npy`, `.npz` or `.h5`, or choose another `--pool`",
        )
    if file_format.needs:
        try:
            importlib.import_module(file_format.needs)
        except ImportError:
            raise MissingExtraError(
                f"`{path.suffix}` files need `{file_format.needs}`",
                hint=f"`pip install 'genomeformer[{file_format.extra}]'`, or write `.npy`",
            ) from None
    return file_format


def write_table(table: VectorTable, path: Path) -> None:
    """Write rows in the file type of the path, `.npy` excepted.

    Raises:
        StoreError: The system refused the write.
    """
    write = FORMATS[path.suffix.lower()].write
    assert write is not None
    with atomic_file(path) as file:
        write(table, file)
