"""One vector per genome, and shards joined into one file."""

from __future__ import annotations

import json
import random
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.embedding.vector_reader import read_vectors
from genomeformer_cli.core.formats.region import COLUMNS
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED, WIDTH

h5py: Any = import_module("h5py")
pq: Any = import_module("pyarrow.parquet")

pytestmark = pytest.mark.usefixtures("trained")

MODEL = ("--model", RELEASED)


def dna(seed: int, length: int) -> str:
    return "".join(random.Random(seed).choices("ACGT", k=length))


@pytest.fixture
def genomes(tmp_path: Path) -> list[Path]:
    """Two genomes of several contigs, some with N, and one of N alone."""
    texts = {
        "a": f">1|x\n{dna(1, 90)}\n>2|y\n{dna(2, 35)}NNNNN\n",
        "b": f">1|z\n{dna(3, 140)}\n",
        "n": ">1\nNNNNNNN\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.fa").write_text(text)
    return [tmp_path / f"{name}.fa" for name in texts]


def embedded(run_cli: RunCommand, folder: Path, *line: str) -> tuple[Any, list[list[str]]]:
    """Return the vectors, and the table of ids."""
    out, ids = folder / "out.npy", folder / "out.tsv"
    done = run_cli("embed", *line, *MODEL, "-o", str(out), "--ids", str(ids))
    assert done.exit_code == 0, done.err
    return np.load(out), [row.split("\t") for row in ids.read_text().splitlines()]


def test_a_genome_is_the_mean_of_its_tiles_weighted_by_bases(
    run_cli: RunCommand, genomes: list[Path], tmp_path: Path
) -> None:
    line = [str(path) for path in genomes[:2]]
    tiles, ids = embedded(run_cli, tmp_path, *line, "--tile", "40")
    weights = np.array([40, 40, 40, 35, 40, 40, 40, 40.0])
    assert [int(row[6]) - int(row[5]) for row in ids[1:]] == [40] * 8
    expected = np.stack(
        [np.average(tiles[part], axis=0, weights=weights[part]) for part in (slice(4), slice(4, 8))]
    )
    found, ids = embedded(run_cli, tmp_path, *line, "--tile", "40", "--pool", "genome")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert ids == [
        ["id", "length", "first_row", "rows"],
        ["a", "155", "0", "1"],
        ["b", "160", "1", "1"],
    ]


def test_whole_records_are_groups_of_contigs_too(
    run_cli: RunCommand, genomes: list[Path], tmp_path: Path
) -> None:
    line = [str(path) for path in genomes]
    contigs, _ = embedded(run_cli, tmp_path, *line)
    found, ids = embedded(run_cli, tmp_path, *line, "--pool", "genome")
    np.testing.assert_allclose(found[0], (90 * contigs[0] + 35 * contigs[1]) / 125, atol=1e-6)
    np.testing.assert_allclose(found[1], contigs[2], atol=1e-6)
    assert np.isnan(found[2]).all()
    assert [row[0] for row in ids[1:]] == ["a", "b", "n"]
    by_prefix = (*line[:1], "--pool", "genome", "--set", "group=prefix")
    found, ids = embedded(run_cli, tmp_path, *by_prefix)
    np.testing.assert_allclose(found, contigs[:2], atol=1e-6)
    assert [row[0] for row in ids[1:]] == ["1", "2"]
    facts = json.loads((tmp_path / "out.npy.json").read_text())
    assert (facts["row"], facts["rows"]) == ("a group by prefix", 2)


def test_genomes_are_rows_of_every_format(
    run_cli: RunCommand, genomes: list[Path], tmp_path: Path
) -> None:
    line = ("embed", *map(str, genomes[:2]), "--tile", "40", "--pool", "genome", *MODEL)
    assert run_cli(*line, "-o", str(tmp_path / "g.h5ad")).exit_code == 0
    with h5py.File(tmp_path / "g.h5ad") as file:
        assert file["X"].shape == (2, WIDTH)
        assert file["obs"]["id"].asstr()[:].tolist() == ["a", "b"]
    refused = run_cli(*line, "--shard", "1/2", "-o", str(tmp_path / "g.npy"))
    assert_failure(refused, "`--pool genome` with `--shard`", exit_code=2)


def shards(run_cli: RunCommand, source: Path, suffix: str, number: int = 3) -> list[Path]:
    paths = []
    for first in range(1, number + 1):
        path = source.with_name(f"{first}of{number}{suffix}")
        line = ("embed", str(source), "--tile", "30", "--step", "7", *MODEL)
        done = run_cli(*line, "--shard", f"{first}/{number}", "-o", str(path))
        assert done.exit_code == 0, done.err
        paths.append(path)
    return paths


def vectors(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path)
    return read_vectors(path).rows


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5ad", ".parquet"])
def test_merged_shards_are_the_whole(
    suffix: str, run_cli: RunCommand, genomes: list[Path], tmp_path: Path
) -> None:
    whole, merged = tmp_path / f"whole{suffix}", tmp_path / f"merged{suffix}"
    line = ("embed", str(genomes[0]), "--tile", "30", "--step", "7", *MODEL)
    assert run_cli(*line, "-o", str(whole)).exit_code == 0
    paths = shards(run_cli, genomes[0], suffix)
    done = run_cli("embed", "--merge", *map(str, reversed(paths)), "-o", str(merged))
    assert done.exit_code == 0, done.err
    assert "from 3 shards" in done.out
    found, expected = vectors(merged), vectors(whole)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for first, path in enumerate(paths):
        assert (found[first::3] == vectors(path)).all()
    if suffix == ".npz":
        with np.load(merged) as ours, np.load(whole) as theirs:
            assert (ours["ids"] == theirs["ids"]).all()
    elif suffix == ".parquet":
        columns = ["id", *COLUMNS]
        assert pq.read_table(merged, columns=columns).equals(pq.read_table(whole, columns=columns))
    elif suffix == ".h5ad":
        with h5py.File(merged) as ours, h5py.File(whole) as theirs:
            for name in ("id", "start", "end", "chrom/codes", "strand/codes"):
                assert (ours["obs"][name][:] == theirs["obs"][name][:]).all()
    facts = json.loads((tmp_path / f"merged{suffix}.json").read_text())
    assert facts["shard"] is None
    assert facts["merged"] == [path.name for path in paths]


def test_shards_that_do_not_belong_together_are_refused(
    run_cli: RunCommand, genomes: list[Path], tmp_path: Path
) -> None:
    paths = shards(run_cli, genomes[0], ".npy")
    out = ("-o", str(tmp_path / "merged.npy"))

    def merge(*given: Path | str) -> Any:
        return run_cli("embed", "--merge", *map(str, given), *out)

    assert_failure(merge(*paths[:2]), "1 of 3 shards are missing: 3/3")
    assert_failure(merge(*paths, paths[0]), "shard 1/3 is given twice")
    other = shards(run_cli, genomes[1], ".npy", 2)
    assert_failure(merge(*paths[:2], other[1]), "do not belong together: `sources`")
    whole = tmp_path / "whole.npy"
    run_cli("embed", str(genomes[0]), *MODEL, "-o", str(whole))
    assert_failure(merge(whole), "is not a shard")
    shutil.copy(paths[0], tmp_path / "alone.npy")
    assert_failure(merge(tmp_path / "alone.npy", *paths[1:]), "no valid description")
    content = bytearray(paths[2].read_bytes())
    content[-1] ^= 1
    paths[2].write_bytes(content)
    assert_failure(merge(*paths), "was changed after it was written", hint="shard 3/3")
    assert not (tmp_path / "merged.npy").exists()
    refused = run_cli("embed", "--merge", *map(str, paths), "-o", str(tmp_path / "m.tsv"))
    assert_failure(refused, "different formats", exit_code=2)
    assert_failure(run_cli("embed", "--merge", *out), "needs shards", exit_code=2)
    refused = run_cli("embed", "--merge", "a.npy", "--pool", "max", *out)
    assert_failure(refused, "`--merge` and `--pool` exclude", exit_code=2)
