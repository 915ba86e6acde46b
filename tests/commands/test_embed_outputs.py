"""Kinds of files, rows by base, resuming, processes, pictures."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from genomeformer_cli import __version__
from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.files import names_in
from tests.models import RELEASED, WIDTH

SEQUENCES = Path(str(files("genomeformer_cli"))) / "assets" / "sequences"
PROMOTERS = SEQUENCES / "ecoli_promoters.fa"
NUM_PROMOTERS = 106
MODEL = ("--model", RELEASED)
ODD = b">a\nACGTACG\n>b\n>c\nNNN\n>a\nGG\n"

pytestmark = pytest.mark.usefixtures("trained")


def array(done: Finished) -> npt.NDArray[np.floating[Any]]:
    assert done.exit_code == 0, done.err
    found: npt.NDArray[np.floating[Any]] = np.load(io.BytesIO(done.stdout))
    return found


def succeed(done: Finished) -> None:
    assert done.exit_code == 0, done.err


def test_every_kind_of_file_holds_the_same_rows(run_cli: RunCommand, tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    expected = array(run_cli("embed", str(PROMOTERS), *MODEL))
    for suffix in ("npy", "npz", "h5", "h5ad", "parquet", "tsv"):
        output = tmp_path / f"v.{suffix}"
        succeed(run_cli("embed", str(PROMOTERS), *MODEL, "-o", str(output)))
    assert (np.load(tmp_path / "v.npy", mmap_mode="r") == expected).all()
    with np.load(tmp_path / "v.npz") as found:
        assert (found["vectors"] == expected).all()
        ids = found["ids"].tolist()
    with h5py.File(tmp_path / "v.h5") as found:
        assert len(found) == NUM_PROMOTERS
        assert (found[ids[7]][:] == expected[7]).all()
    with h5py.File(tmp_path / "v.h5ad") as found:
        assert (found["X"][:] == expected).all()
    table = parquet.read_table(tmp_path / "v.parquet").to_pydict()
    assert table["id"] == ids
    assert (expected == np.array([table[f"e{column}"] for column in range(WIDTH)]).T).all()
    text = np.genfromtxt(tmp_path / "v.tsv", skip_header=1, dtype=str, delimiter="\t")
    assert text[:, 0].tolist() == ids
    assert (text[:, 1:].astype(np.float32) == expected).all()
    kinds = ("h5", "h5ad", "npy", "npz", "parquet", "tsv")
    assert names_in(tmp_path) == [
        "cache", *(name for kind in kinds for name in (f"v.{kind}", f"v.{kind}.json"))
    ]  # fmt: skip


def test_the_description_beside_the_array_records_its_making(
    run_cli: RunCommand, tmp_path: Path, trained: Path
) -> None:
    output = tmp_path / "v.npy"
    line = ("embed", "-", *MODEL, "-o", str(output), "--pool", "max", "--set", "rows.rc=concat")
    succeed(run_cli(*line, "--set", "rows.layers=0,1", "--set", "dtype=float16", stdin=ODD))
    said = json.loads((tmp_path / "v.npy.json").read_text())
    seal = (trained / "weights" / RELEASED / "SHA256SUMS").read_text().splitlines()
    (digest,) = (one.split()[0] for one in seal if one.endswith("model.safetensors"))
    assert {
        key: said[key] for key in said if key not in ("job", "vocabulary_sha256", "merge", "sha256")
    } == {
        "genomeformer_version": __version__,
        "model": RELEASED,
        "model_sha256": digest,
        "row": "a record",
        "pool": "max",
        "layers": [0, 1],
        "layers_joined": "side by side",
        "rc": "concat",
        "window": 64,
        "stride": None,
        "dtype": "float16",
        "precision": "fp32",
        "sources": [["-", 0, 0]],
        "regions": None,
        "shard": None,
        "rows": 4,
        "width": 4 * WIDTH,
        "records": 4,
        "records_without_vector": 2,
        "output": {
            "bytes": output.stat().st_size,
            "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        },
    }
    assert np.load(output).dtype == np.float16


def test_one_row_per_base(run_cli: RunCommand, tmp_path: Path) -> None:
    ids = tmp_path / "ids.tsv"
    done = run_cli("embed", "-", *MODEL, "--pool", "none", "--ids", str(ids), stdin=ODD)
    found = array(done)
    assert found.shape == (12, WIDTH)
    assert np.isnan(found).all(axis=1).tolist() == [False] * 7 + [True] * 3 + [False] * 2
    rows = [line.split("\t") for line in ids.read_text().splitlines()[1:]]
    assert rows == [
        ["a", "7", "0", "7"],
        ["b", "0", "7", "0"],
        ["c", "3", "7", "3"],
        ["a", "2", "10", "2"],
    ]
    pooled = array(run_cli("embed", "-", *MODEL, stdin=ODD))
    np.testing.assert_allclose(found[:7].mean(axis=0), pooled[0], atol=1e-5)
    output = tmp_path / "b.npz"
    succeed(run_cli("embed", "-", *MODEL, "--pool", "none", "-o", str(output), stdin=ODD))
    with np.load(output) as members:
        assert [members[name].shape[0] for name in ("a", "b", "c", "a.2")] == [7, 0, 3, 2]


def test_a_chromosome_without_windows(run_cli: RunCommand, tmp_path: Path) -> None:
    output = tmp_path / "phage.npy"
    line = ("embed", "NC_001422.1", *MODEL)
    succeed(run_cli(*line, "--window", "whole", "--pool", "none", "-o", str(output)))
    by_base = np.load(output)
    assert by_base.shape == (5386, WIDTH)
    pooled = array(run_cli(*line, "--window", "whole"))
    np.testing.assert_allclose(by_base.mean(axis=0), pooled[0], atol=1e-5)
    once = array(run_cli(*line, "--window", "6000"))
    np.testing.assert_allclose(pooled, once, atol=1e-5)


def test_half_precision_is_the_rounded_rows(run_cli: RunCommand) -> None:
    full = array(run_cli("embed", str(PROMOTERS), *MODEL))
    half = array(run_cli("embed", str(PROMOTERS), *MODEL, "--set", "dtype=float16"))
    assert half.dtype == np.float16
    assert (half == full.astype(np.float16)).all()


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_workers_change_no_bit(pool: str, run_cli: RunCommand) -> None:
    line = ("embed", str(PROMOTERS), *MODEL, "--pool", pool, "--set", "rows.tokens_per_batch=512")
    one = run_cli(*line, "--workers", "1")
    assert array(one).shape[0] > 0
    for workers in ("2", "5"):
        assert run_cli(*line, "--workers", workers).stdout == one.stdout


def test_processes_on_devices_of_their_own_give_the_same_bits(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genomeformer_cli.core.workflows import embed

    monkeypatch.setattr(embed, "gpu_names", lambda number: ["cpu"] * number)
    monkeypatch.setattr(embed, "_BASES", 2000)
    line = ("embed", str(PROMOTERS), *MODEL)
    one, two = run_cli(*line), run_cli(*line, "--set", "gpus=2")
    assert one.stdout == two.stdout
    assert array(one).shape[0] > 0


def test_gpus_that_are_not_there_are_an_error(run_cli: RunCommand) -> None:
    line = ("embed", str(PROMOTERS), *MODEL)
    assert_failure(run_cli(*line, "--set", "gpus=99"), "99 GPUs: torch finds", exit_code=2)
    both = run_cli(*line, "--set", "gpus=2", "--device", "cpu")
    assert_failure(both, "2 GPUs on the device `cpu`", hint="one process per GPU", exit_code=2)
    assert run_cli(*line, "--set", "gpus=0").exit_code == 0


@pytest.mark.parametrize("pool", ["mean", "none"])
def test_an_interrupted_job_continues_where_it_stopped(
    pool: str, run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genomeformer_cli.core.embedding.embedder import Embedder
    from genomeformer_cli.core.workflows import embed

    output, folder = tmp_path / "out" / "v.npy", tmp_path / "out"
    line = ("embed", str(PROMOTERS), *MODEL, "--pool", pool, "-o", str(output), "--resume")
    expected = array(run_cli("embed", str(PROMOTERS), *MODEL, "--pool", pool))
    monkeypatch.setattr(embed, "_BASES", 600)
    calls = []
    for name in ("embed", "embed_bases"):
        plain = getattr(Embedder, name)

        def counted(self: Embedder, *given: Any, plain: Any = plain) -> Any:
            calls.append(len(given[0]))
            if len(calls) == 5:
                raise KeyboardInterrupt
            return plain(self, *given)

        monkeypatch.setattr(Embedder, name, counted)
    stopped = run_cli(*line)
    assert stopped.exit_code == 130
    assert "--resume" in stopped.err
    assert names_in(folder) == [".v.npy.partial"]
    before, calls[:] = sum(calls[:4]), [0] * 10
    resumed = run_cli(*line)
    succeed(resumed)
    assert f"{before} records are already embedded" in resumed.err
    assert sum(calls) == NUM_PROMOTERS - before
    np.testing.assert_allclose(np.load(output), expected, atol=1e-5)
    assert names_in(folder) == ["v.npy", "v.npy.json"]
    calls[:] = [0] * 10
    again = run_cli(*line)
    succeed(again)
    assert "finished already" in again.err
    assert sum(calls) == 0
    other = run_cli(*line, "--set", "rows.rc=mean")
    succeed(other)
    assert sum(calls) == NUM_PROMOTERS


def test_a_failure_in_the_first_rows_leaves_nothing(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genomeformer_cli.core.embedding.embedder import Embedder
    from genomeformer_cli.core.errors import InputError

    def fail(self: Embedder, *given: Any) -> None:
        raise InputError("no memory", hint="buy some")

    monkeypatch.setattr(Embedder, "embed", fail)
    folder = tmp_path / "out"
    done = run_cli("embed", str(PROMOTERS), *MODEL, "-o", str(folder / "v.npy"))
    assert_failure(done, "no memory")
    assert names_in(folder) == []


@pytest.mark.parametrize("suffix", ["png", "html", "svg"])
def test_rows_are_drawn_on_a_plane(suffix: str, run_cli: RunCommand, tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    text = PROMOTERS.read_text(encoding="ascii").splitlines()
    ids = [line[1:].split()[0] for line in text if line.startswith(">")]
    lines = [f"{one}\tx\t{'<long>' if row % 3 else 'short'}" for row, one in enumerate(ids[:90])]
    # As Excel writes it; the reader of all tables reads it.
    table.write_text("\n".join(["id\tother\tkind", *lines]) + "\n", "utf-8-sig", newline="\r\n")
    picture = tmp_path / f"p.{suffix}"
    line = ("embed", str(PROMOTERS), *MODEL, "--plot", str(picture))
    expected = array(run_cli("embed", str(PROMOTERS), *MODEL))
    coloured = run_cli(*line, "--set", f"plot_colors={table}:Kind")
    assert (array(coloured) == expected).all()
    missing = f"{NUM_PROMOTERS - 90} of {NUM_PROMOTERS} rows are not in the table"
    assert missing in coloured.err
    assert f"the first is `{ids[90]}`" in coloured.err
    content = picture.read_bytes()
    first = content
    if suffix == "html":
        assert content.count(b"<circle") == NUM_PROMOTERS
        assert b"&lt;long&gt;" in content
        assert f"<title>{ids[0]} (short)</title>".encode() in content
        assert b"no value" in content
    succeed(run_cli(*line, "--set", f"plot_colors={table}:kind"))
    assert picture.read_bytes() == first
    assert_failure(
        run_cli(*line, "--set", f"plot_colors={table}:none"), "no column `none`", hint="`kind`"
    )
    assert_failure(run_cli(*line, "--set", "plot_colors=missing.tsv"), "missing.tsv")
    table.write_text(f"id\tkind\n{ids[0]}\ta\n{ids[0]}\tb\n")
    assert_failure(run_cli(*line, "--set", f"plot_colors={table}"), "two values of `kind`")


def test_umap_without_its_package_is_reported(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    line = ("embed", str(PROMOTERS), *MODEL, "--plot", str(tmp_path / "p.html"))
    assert_failure(
        run_cli(*line, "--set", "plot_method=umap"), "umap-learn", hint="genomeformer[umap]"
    )
