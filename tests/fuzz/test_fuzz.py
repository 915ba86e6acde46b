"""The corpus of findings is replayed, and every parser takes some random inputs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.fuzz.run import CORPUS, attempt, inputs_of
from tests.fuzz.targets import targets

INPUTS = 40
# They build a model, or write a folder or a database.
SLOW = ("config", "weights", "archive", "archive-inner", "ncbi-taxdump", "task-text")
KEPT = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: str(path.relative_to(CORPUS)))
def test_what_was_found_once_stays_mended(kept: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert attempt(targets()[kept.parent.name], kept.read_bytes(), tmp_path) is None


@pytest.mark.parametrize("name", list(targets()))
def test_a_parser_gives_a_result_or_an_error_of_ours(name: str, tmp_path: Path) -> None:
    target = targets()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in target.seeds:
            (tmp_path / target.name).write_bytes(seed)
            target.read(tmp_path / target.name)  # a seed is valid, or mutations reach little
        for number in range(INPUTS // 4 if name in SLOW else INPUTS):
            failure = attempt(target, inputs_of(name, number), tmp_path)
            assert failure is None, f"input {number} of {name}"
