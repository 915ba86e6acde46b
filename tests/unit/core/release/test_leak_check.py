"""Paths and users of the machine stay on the machine."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.tensors import WEIGHTS_FILE, read_tensors, write_tensors
from genomeformer_cli.core.release.leak_check import check_privacy
from tests.bundles import make_bundle


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(getpass, "getuser", lambda: "melitta")
    return make_bundle(tmp_path / "bundle").folder


def test_a_bundle_reveals_no_private_names(bundle: Path) -> None:
    check_privacy(bundle)


@pytest.mark.parametrize(
    "text",
    ["see /home/somebody/data", "in `/tmp/x/y.fa`", r"from C:\Users\me", "trained by melitta."],
)
@pytest.mark.parametrize("name", ["README.md", "train_config.toml", "eval_results.json"])
def test_a_path_or_a_user_is_found(bundle: Path, name: str, text: str) -> None:
    (bundle / name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=name):
        check_privacy(bundle)


@pytest.mark.parametrize(
    "text", ["https://example.org/data/x", "and/or home/x", "Bombus melittaensis", "1/tmp/x"]
)
def test_what_only_looks_like_it_is_let_be(bundle: Path, text: str) -> None:
    (bundle / "README.md").write_text(text, encoding="utf-8")
    check_privacy(bundle)


def test_names_of_authors_are_allowed(bundle: Path) -> None:
    (bundle / "CITATION.cff").write_text("- name: melitta\n", encoding="utf-8")
    check_privacy(bundle, allowed="melitta")
    with pytest.raises(CheckpointError, match="melitta"):
        check_privacy(bundle)


def test_the_header_of_the_weights_is_looked_at(bundle: Path) -> None:
    tensors = read_tensors(bundle / WEIGHTS_FILE)
    write_tensors(tensors, bundle / WEIGHTS_FILE, {"made_in": "/home/somebody/models"})
    with pytest.raises(CheckpointError, match=WEIGHTS_FILE):
        check_privacy(bundle)
