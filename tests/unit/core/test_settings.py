"""Places and settings from the environment."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import platformdirs
import pytest

from genomeformer_cli.core.settings import (
    HOME_VARIABLE,
    cache_root,
    postpone_collection,
    resume_collection,
)


def test_the_environment_chooses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"


@pytest.mark.parametrize("unset", [None, ""])
def test_else_it_is_the_platforms(unset: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if unset is None:
        monkeypatch.delenv(HOME_VARIABLE)
    else:
        monkeypatch.setenv(HOME_VARIABLE, unset)
    assert cache_root() == platformdirs.user_cache_path("genomeformer", appauthor=False)


def test_a_relative_cache_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, "here")
    assert cache_root() == tmp_path / "here"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(HOME_VARIABLE, "~/cache")
    assert cache_root() == tmp_path / "cache"


def test_garbage_is_collected_rarely_until_the_start_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = gc.get_threshold()
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    try:
        postpone_collection()
        assert gc.get_threshold()[0] > 50 * usual[0]
        resume_collection()
        assert gc.get_threshold() == usual
        assert gc.get_freeze_count() > 0
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def test_collection_stays_as_it_is_in_a_process_that_has_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = gc.get_threshold()
    monkeypatch.setitem(sys.modules, "torch", sys)
    frozen = gc.get_freeze_count()
    postpone_collection()
    resume_collection()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)
