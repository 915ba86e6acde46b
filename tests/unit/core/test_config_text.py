"""Settings as text: assignments, files, rendered values."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.config_text import (
    combine_settings,
    describe_config,
    parse_settings,
    parse_value,
    render_toml,
    resolve,
)
from genomeformer_cli.core.configuration import overlay, to_plain
from genomeformer_cli.core.errors import ConfigError, UsageError


@dataclass(frozen=True, kw_only=True)
class Training:
    """Steps."""

    ema: float = 0.0  # Decay of the moving average.
    # Rows that
    # are shared.
    pack: Literal["on", "off"] = "on"
    limit: int | None = None  # Largest number.
    tags: tuple[str, ...] = ("#",)  # Words.


@dataclass(frozen=True, kw_only=True)
class Base:
    """A run."""

    name: str = "r"  # Name of the run.
    training: Training = field(default_factory=Training)  # Steps.


@dataclass(frozen=True, kw_only=True)
class Whole(Base):
    """A run and its processes."""

    processes: int = 1  # Number of processes.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.999", 0.999),
        ("1e-3", 1e-3),
        ("5", 5),
        ("true", True),
        ("on", "on"),
        ('"5"', "5"),
        ("[1, 2]", [1, 2]),
        ("linear+local", "linear+local"),
        ("", ""),
        ("a = b", "a = b"),
        ("1\nother = 2", "1\nother = 2"),
        ("2026-01-01", "2026-01-01"),
        ("'", "'"),
    ],
)
def test_values_are_toml_or_text(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert (parsed, type(parsed)) == (value, type(value))


def test_assignments_become_nested_settings() -> None:
    texts = ["training.ema=0.9", "training.pack = off", 'name="a=b"']
    assert parse_settings(texts, Whole) == {
        "training": {"ema": 0.9, "pack": "off"},
        "name": "a=b",
    }
    words = {"average": "training.ema"}
    assert parse_settings(["average=0.5"], Whole, words=words) == {"training": {"ema": 0.5}}


@pytest.mark.parametrize(
    ("texts", "message", "hint"),
    [
        (["training.ema"], "not an assignment", "SECTION.KEY=VALUE"),
        (["=3"], "not an assignment", "SECTION.KEY=VALUE"),
        (["ema=0.9"], "unknown setting `ema`", "did you mean `training.ema`?"),
        (["training.emma=0.9"], "unknown setting `training.emma`", "did you mean `training.ema`"),
        (["trainnig.pack=on"], "unknown setting `trainnig.pack`", "did you mean `training.pack`"),
        (["prcesses=2"], "unknown setting `prcesses`", "did you mean `processes`"),
        (["xyzzy=2"], "unknown setting `xyzzy`", "`--show-config`"),
        (["training=2"], "a section, not a setting", "`training.ema`, `training.pack`"),
        (["training.ema=1", "training.ema=0"], "`training.ema` is set twice", "once"),
    ],
)
def test_invalid_assignments_are_one_sentence(texts: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(texts, Whole)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_setting_and_its_option_cannot_be_combined() -> None:
    assert combine_settings(Whole, ["training.ema=1"], {"processes": 2}) == {
        "training": {"ema": 1},
        "processes": 2,
    }
    with pytest.raises(UsageError, match=r"`training.ema` is given by an option and by `--set`"):
        combine_settings(Whole, ["training.ema=1"], {"training": {"ema": 0.5}})


def test_a_file_is_overridden_by_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("processes = 3\n[training]\nema = 0.5\n")
    config = resolve(Whole(), tmp_path / "a.toml", {"training": {"ema": 0.9}})
    assert (config.processes, config.training.ema) == (3, 0.9)
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        resolve(Whole(), tmp_path / "b.toml", {})


def test_every_setting_is_described() -> None:
    rows = {row.key: row for row in describe_config(Whole(processes=4))}
    assert [*rows] == [
        "name",
        "processes",
        "training.ema",
        "training.pack",
        "training.limit",
        "training.tags",
    ]
    assert rows["processes"].value == 4
    assert rows["name"].meaning == "Name of the run."
    assert rows["training.pack"].meaning == "Rows that are shared."
    assert rows["training.pack"].type == "`on`, `off`"
    assert rows["training.limit"].value is None
    assert [row.key for row in describe_config(Whole)] == [*rows]


@given(
    ema=st.floats(0, 1, exclude_max=True),
    limit=st.none() | st.integers(0, 10**9),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    tags=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=3),
)
def test_rendered_settings_are_read_again(
    ema: float, limit: int | None, name: str, tags: list[str]
) -> None:
    config = Whole(name=name, training=Training(ema=ema, limit=limit, tags=tuple(tags)))
    text = render_toml(config)
    assert tomllib.loads(text) == to_plain(config)
    assert overlay(Whole(), tomllib.loads(text), where="text") == config
    assert "# Decay of the moving average. (a number)" in text
