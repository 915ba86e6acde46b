"""Results of a run are compared with their checksums before they are read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store.results import check_result, check_results, write_result
from tests.files import flip_a_byte

NAMES = ("metrics.jsonl", "summary.json", "summary.json.sha256")
DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte": flip_a_byte,
    "a truncated tail": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "an empty file": lambda path: path.write_bytes(b""),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    write_result(tmp_path / "summary.json", {"bits": 1.9}, sources=["metrics.jsonl"])
    return tmp_path


def test_a_result_has_checksums_that_coreutils_can_read(run: Path) -> None:
    assert json.loads((run / "summary.json").read_text()) == {"bits": 1.9}
    assert check_results(run) == 2
    subprocess.run(["sha256sum", "-c", "--quiet", "summary.json.sha256"], cwd=run, check=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(name: str, damage: str, run: Path) -> None:
    DAMAGE[damage](run / name)
    with pytest.raises(CorruptError) as caught:
        check_result(run / "summary.json")
    assert str(run) in caught.value.message
    assert name in caught.value.message


def test_a_removed_source_is_named(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    with pytest.raises(CorruptError, match=r"metrics\.jsonl"):
        check_result(run / "summary.json")


def test_checksums_without_their_result_are_those_of_an_unfinished_run(run: Path) -> None:
    (run / "summary.json").unlink()
    flip_a_byte(run / "metrics.jsonl")
    assert check_results(run) == 0
