"""Entries of other packages: found without imports, refused with the name of the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from genomeformer_cli.commands import _completion
from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig, attention_entry
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.model_io.model_folder import read_model_config
from genomeformer_cli.core.models.registry import ARCHITECTURES, find_family
from genomeformer_cli.core.plugins import ARCHITECTURE, ATTENTION
from tests.cli import RunCommand
from tests.plugins import install_package

COPY = (
    "from genomeformer_cli.core.attention.registry import ATTENTIONS\nENTRY = ATTENTIONS['softmax']"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def install(
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str = COPY,
    *,
    name: str = "other",
    package: str = "gf-other",
    group: str = ATTENTION,
) -> None:
    module = package.replace("-", "_")
    install_package(
        site,
        monkeypatch,
        name=package,
        points={group: {name: f"{module}:ENTRY"}},
        modules={module: code},
    )


def test_an_entry_of_another_package_is_used_by_name(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = list(ATTENTIONS)
    install(site, monkeypatch)
    assert list(ATTENTIONS) == [*own, "other"]
    assert "other" in ATTENTIONS
    assert len(ATTENTIONS) == len(own) + 1
    assert "gf_other" not in sys.modules
    assert attention_entry("other") is ATTENTIONS["softmax"]
    assert AttentionConfig(name="softmax+other").names == ("softmax", "other")
    monkeypatch.undo()
    assert list(ATTENTIONS) == own


def test_the_shell_completes_the_name(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch, "raise SystemExit", name="longest", package="gf-completed")
    assert _completion.complete_attentions("longe") == ["longest"]
    assert _completion.complete_attentions("softmax+long") == [
        "softmax+longformer",
        "softmax+longest",
    ]


def test_the_package_may_be_imported_first(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch, package="gf-first")
    import gf_first  # type: ignore[import-not-found]

    assert ATTENTIONS["other"] is gf_first.ENTRY


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_module_that_is_missing", "ModuleNotFoundError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("WRONG_NAME = 1", "AttributeError"),
        ("ENTRY = 3", "is not an `AttentionEntry`"),
        ("def", "SyntaxError"),
    ],
)
def test_a_broken_package_is_named_where_its_entry_is_used(
    code: str, reason: str, site: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCommand
) -> None:
    install(site, monkeypatch, code, package="gf-broken")
    assert attention_entry("softmax").exact
    with pytest.raises(ConfigError, match=f"(?s)package `gf-broken` 0.1.*{reason}"):
        attention_entry("other")
    done = run_cli("doctor", "--json")
    assert done.exit_code == 1
    check = next(one for one in json.loads(done.out)["checks"] if one["name"] == "plugin")
    assert check["state"] == "unusable"
    assert "`other` of the package `gf-broken` 0.1" in check["text"]
    assert check["advice"] == "update or uninstall `gf-broken`"


@pytest.mark.parametrize("name", ["softmax", "twice"])
def test_a_name_of_two_entries_names_both_packages(
    name: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, monkeypatch, name=name, package="gf-one")
    first = "genomeformer itself"
    if name == "twice":
        install(site, monkeypatch, name=name, package="gf-two")
        first = "the package `gf-one`"
    second = "gf-two" if name == "twice" else "gf-one"
    with pytest.raises(ConfigError, match=f"package `{second}` 0.1 has the name .* {first}"):
        attention_entry("softmax")


def test_names_can_be_typed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch, name="linear+other", package="gf-joined")
    with pytest.raises(ConfigError, match=r"invalid name of the attention `linear.other`"):
        list(ATTENTIONS)


def test_doctor_lists_every_entry(
    site: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCommand
) -> None:
    install(site, monkeypatch, package="gf-listed")
    done = run_cli("doctor")
    assert done.exit_code == 0
    assert "ok        plugin: the attention `other` of the package `gf-listed` 0.1" in done.out


def test_a_model_of_a_missing_package_is_refused_by_name(tmp_path: Path) -> None:
    described = {"model_type": "their-stack", "genomeformer_version": "1", "model": {}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="`their-stack`, which is not installed"):
        read_model_config(tmp_path)


def test_a_broken_family_is_named_for_models_that_nobody_else_knows(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, monkeypatch, "raise ValueError('no')", package="gf-family", group=ARCHITECTURE)
    assert "other" in ARCHITECTURES
    assert find_family({"model_type": "mamba"}).name == "mamba"
    with pytest.raises(ConfigError, match="architecture `other` of the package `gf-family`"):
        find_family({"model_type": "unknown"})
