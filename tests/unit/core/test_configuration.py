"""Configurations from plain values, and back."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pytest
import tomli_w

from genomeformer_cli.core.configuration import (
    check_range,
    differences,
    from_plain,
    overlay,
    to_plain,
)
from genomeformer_cli.core.errors import ConfigError, GenomeformerError, RefusedError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    count: int = 3


@dataclass(frozen=True, kw_only=True)
class Optional:
    inner: Inner | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow"] = "fast"
    tags: tuple[str, ...] = ()
    limit: int | None = None
    flag: bool = False
    table: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "refused":
            raise ConfigError("`refused` is refused", hint="choose another")


CONFIG = Outer(
    name="one",
    inner=Inner(rate=0.1, count=7),
    colour=Colour.BLUE,
    mode="slow",
    tags=("a", "b"),
    limit=5,
    flag=True,
    table={"k": "v"},
)


@pytest.mark.parametrize("config", [CONFIG, Outer(name="defaults")])
def test_a_configuration_survives_toml(config: Outer) -> None:
    plain = tomllib.loads(tomli_w.dumps(to_plain(config)))
    assert from_plain(Outer, plain, where="x.toml") == config


def test_a_table_may_be_missing_or_there() -> None:
    for value in (Optional(), Optional(inner=Inner(count=4))):
        assert from_plain(Optional, to_plain(value), where="here") == value
    with pytest.raises(ConfigError, match=r"`inner.count` cannot be `many`"):
        from_plain(Optional, {"inner": {"count": "many"}}, where="here")


def test_presets_survive_toml() -> None:
    from genomeformer_cli.core.training.presets import PRESETS, PretrainConfig

    for build in PRESETS.values():
        plain = tomllib.loads(tomli_w.dumps(to_plain(build())))
        assert from_plain(PretrainConfig, plain, where="x.toml") == build()


def test_an_overlay_replaces_given_values_only() -> None:
    changed = overlay(CONFIG, {"inner": {"count": 9}, "colour": "red"}, where="x.toml")
    assert changed.inner == Inner(rate=0.1, count=9)
    assert changed.colour is Colour.RED
    assert (changed.name, changed.tags, changed.limit) == ("one", ("a", "b"), 5)
    assert CONFIG.inner.count == 7


def test_a_whole_number_is_accepted_as_a_number() -> None:
    rate = overlay(CONFIG, {"inner": {"rate": 1}}, where="x.toml").inner.rate
    assert rate == 1.0
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("plain", "key", "hint"),
    [
        ({"nmae": "x"}, "nmae", "`name`"),
        ({"inner": {"rat": 1.0}}, "inner.rat", "`rate`"),
        ({"inner": {"count": 1.5}}, "inner.count", "a whole number"),
        ({"inner": {"count": True}}, "inner.count", "a whole number"),
        ({"inner": {"rate": "fast"}}, "inner.rate", "a number"),
        ({"inner": {"rate": True}}, "inner.rate", "a number"),
        ({"inner": 3}, "inner", "a table"),
        ({"name": 3}, "name", "text"),
        ({"flag": 1}, "flag", "true or false"),
        ({"limit": "five"}, "limit", "a whole number"),
        ({"colour": "green"}, "colour", "`red`, `blue`"),
        ({"mode": "medium"}, "mode", "`fast`, `slow`"),
        ({"tags": "a"}, "tags", "a list"),
    ],
)
def test_an_error_names_the_key_its_source_and_what_it_takes(
    plain: dict[str, Any], key: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        overlay(CONFIG, plain, where="x.toml")
    assert f"`{key}`" in caught.value.message
    assert "`x.toml`" in caught.value.message
    assert hint in str(caught.value.hint)


def test_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError, match="`name`"):
        from_plain(Outer, {}, where="x.toml")


def test_the_configuration_itself_may_refuse() -> None:
    with pytest.raises(ConfigError, match="refused"):
        overlay(CONFIG, {"name": "refused"}, where="x.toml")


def test_differences_are_listed_by_dotted_key() -> None:
    other = overlay(CONFIG, {"inner": {"count": 9}, "name": "two"}, where="x.toml")
    assert differences(to_plain(CONFIG), to_plain(other)) == [
        "inner.count: 7 -> 9",
        "name: one -> two",
    ]
    assert differences(to_plain(CONFIG), to_plain(CONFIG)) == []
    assert differences({}, {"new": 1}) == ["new: unset -> 1"]


@pytest.mark.parametrize("value", [None, 1, 1.5, 64])
def test_a_number_within_its_bounds_passes(value: float | None) -> None:
    check_range("passes", value, 1, 64)
    check_range("passes", value, 1)


@pytest.mark.parametrize("value", [0, -1, 0.999, 64.5, float("nan"), float("inf")])
def test_a_number_out_of_its_bounds_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="`passes` cannot be") as caught:
        check_range("passes", value, 1, 64)
    assert caught.value.hint == "give 1 to 64"


def test_every_error_has_a_sentence_a_hint_and_a_code() -> None:
    def below(kind: type[GenomeformerError]) -> list[type[GenomeformerError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    for kind in below(GenomeformerError):
        known: dict[str, Any] = {"status": 404} if kind is RefusedError else {}
        error = kind("it is broken", hint="mend it", **known)
        assert (str(error), error.message, error.hint) == ("it is broken",) * 2 + ("mend it",)
        assert error.exit_code in (1, 2, 3, 75)
