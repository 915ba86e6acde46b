"""Files of vectors, read by other libraries."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.embedding.formats import (
    FORMATS,
    VectorTable,
    check_format,
    unique_names,
    write_table,
)
from genomeformer_cli.core.errors import MissingExtraError, UsageError

IDS = ("a", "b/c", "a", "")
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
POOLED = VectorTable(ROWS, IDS, [1, 1, 1, 1], per_base=False)
BY_BASE = VectorTable(ROWS, IDS, [2, 1, 0, 1], per_base=True)
NAMES = ["a", "b_c", "a.2", "record"]


def test_names_are_unique_and_hold_no_slash() -> None:
    assert list(unique_names(IDS)) == NAMES
    assert list(unique_names(["a.2", "a", "a", "a", ".", ".."])) == [
        "a.2",
        "a",
        "a.3",
        "a.4",
        "record",
        "record.2",
    ]


def test_npz(tmp_path: Path) -> None:
    write_table(POOLED, tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        assert (found["vectors"] == ROWS).all()
        assert found["ids"].tolist() == list(IDS)
    write_table(BY_BASE, tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as found:
        assert [found[name].shape for name in NAMES] == [(2, 3), (1, 3), (0, 3), (1, 3)]
        assert (found["record"] == ROWS[3:]).all()


def test_the_same_rows_are_the_same_npz(tmp_path: Path) -> None:
    for name in ("1.npz", "2.npz"):
        write_table(POOLED, tmp_path / name)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_h5(tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    write_table(POOLED, tmp_path / "p.h5")
    write_table(BY_BASE, tmp_path / "b.h5")
    with h5py.File(tmp_path / "p.h5") as found:
        assert {name: found[name].attrs["original_id"] for name in found} == dict(
            zip(NAMES, IDS, strict=True)
        )
        assert (found["a.2"][:] == ROWS[2]).all()
    with h5py.File(tmp_path / "b.h5") as found:
        assert found["a"].shape == (2, 3)


def test_h5ad_is_read_by_anndata(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    write_table(POOLED, tmp_path / "p.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata: Any = pytest.importorskip("anndata")
        found = anndata.read_h5ad(tmp_path / "p.h5ad")
    assert (found.X == ROWS).all()
    assert found.obs_names.tolist() == NAMES
    assert found.obs["id"].tolist() == list(IDS)
    assert found.var_names.tolist() == ["e0", "e1", "e2"]


def test_parquet(tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    write_table(POOLED, tmp_path / "p.parquet")
    write_table(BY_BASE, tmp_path / "b.parquet")
    found = parquet.read_table(tmp_path / "p.parquet").to_pydict()
    assert found["id"] == list(IDS)
    assert found["e1"] == ROWS[:, 1].tolist()
    found = parquet.read_table(tmp_path / "b.parquet").to_pydict()
    assert found["id"] == ["a", "a", "b/c", ""]
    assert found["position"] == [1, 2, 1, 1]


def test_tsv(tmp_path: Path) -> None:
    table = VectorTable(np.array([[0.1, np.nan]], dtype=np.float32), ["x"], [1], per_base=False)
    write_table(table, tmp_path / "p.tsv")
    assert (tmp_path / "p.tsv").read_text() == "id\te0\te1\nx\t0.1\tnan\n"
    write_table(BY_BASE, tmp_path / "b.tsv")
    lines = (tmp_path / "b.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [
        ["id", "position"],
        ["a", "1"],
        ["a", "2"],
        ["b/c", "1"],
        ["", "1"],
    ]


def test_a_name_of_no_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown file type"):
        check_format(Path("vectors.doc"), per_base=False)
    with pytest.raises(UsageError, match="not one per base"):
        check_format(Path("vectors.h5ad"), per_base=True)


@pytest.mark.parametrize("suffix", [name for name, one in FORMATS.items() if one.needs])
def test_a_missing_package_is_named_with_its_extra(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtraError) as caught:
        check_format(Path(f"v{suffix}"), per_base=False)
    assert caught.value.hint is not None
    assert f"genomeformer[{FORMATS[suffix].extra}]" in caught.value.hint
