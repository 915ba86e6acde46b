"""Readers of the files that `formats` writes: one row per record, with ids and regions."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genomeformer_cli.core.embedding.formats import VectorTable, check_format
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.region import COLUMNS, Region, RegionColumns, region_columns


def read_vectors(path: Path) -> VectorTable:
    """Read a file of vectors.

    Raises:
        InputError: The file is not one that `embed` writes.
        MissingExtraError: A package is not installed.
    """
    check_format(path, per_base=False)
    try:
        return READERS[path.suffix.lower()](path)
    except (KeyError, ValueError, OSError) as failure:
        raise InputError(
            f"`{path}` cannot be read as vectors: {failure}", hint="write it again with `embed`"
        ) from failure


def _read_npz(path: Path) -> VectorTable:
    with np.load(path, allow_pickle=False) as archive:
        rows, ids = archive["vectors"], archive["ids"].tolist()
    return VectorTable(rows, ids, [1] * len(ids), per_base=False)


def _read_h5ad(path: Path) -> VectorTable:
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "r") as archive:
        obs = archive["obs"]
        ids = obs["id"].asstr()[:].tolist()
        regions = None
        if "start" in obs:
            words = {name: _categories(obs[name]) for name in ("chrom", "strand", "feature")}
            regions = _regions(words | {"start": obs["start"][:], "end": obs["end"][:]})
        return VectorTable(archive["X"][:], ids, [1] * len(ids), per_base=False, regions=regions)


def _categories(column: Any) -> list[str]:
    words = column["categories"].asstr()[:]
    values: list[str] = words[column["codes"][:]].tolist() if len(words) else []
    return values


def _read_parquet(path: Path) -> VectorTable:
    table = importlib.import_module("pyarrow.parquet").ParquetFile(path).read()
    names = table.column_names
    ids = table.column("id").to_pylist()
    regions = None
    if "start" in names:
        regions = _regions({name: table.column(name).to_pylist() for name in COLUMNS})
    columns = [name for name in names if name not in ("id", *COLUMNS)]
    rows = np.column_stack([table.column(name).to_numpy() for name in columns])
    return VectorTable(rows, ids, [1] * len(ids), per_base=False, regions=regions)


def _regions(columns: dict[str, Any]) -> RegionColumns:
    rows = zip(*(columns[name] for name in COLUMNS), strict=True)
    return region_columns(
        Region(chrom=chrom, start=int(start), end=int(end), strand=strand, feature=feature)
        for chrom, start, end, strand, feature in rows
    )


READERS: dict[str, Callable[[Path], VectorTable]] = {
    ".npz": _read_npz,
    ".h5ad": _read_h5ad,
    ".parquet": _read_parquet,
}
