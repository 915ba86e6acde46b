"""Frozen configurations to plain values and back; an error names the key and its source."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from genomeformer_cli.core.errors import ConfigError

Config = TypeVar("Config")


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain values, without those that are None."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            plain[field.name] = to_plain(value)
        elif isinstance(value, tuple):
            plain[field.name] = list(value)
        elif value is not None:
            plain[field.name] = value.value if isinstance(value, Enum) else value
    return plain


def from_plain(kind: type[Config], plain: Mapping[str, Any], *, where: str) -> Config:
    """Build a configuration from plain values; what is not given keeps its default.

    Raises:
        ConfigError: An unknown key, a wrong type, or a value the configuration refuses.
    """
    return _build(kind, {}, plain, where, "")


def overlay(config: Config, plain: Mapping[str, Any], *, where: str) -> Config:
    """The configuration with some values replaced.

    Args:
        config: Where the values that are not given come from.
        plain: Nested dictionaries of the values to replace.
        where: The source of the values, named in errors, e.g. `run.toml`.

    Raises:
        ConfigError: An unknown key, a wrong type, or a value the configuration refuses.
    """
    return _build(type(config), vars(config), plain, where, "")


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key: one -> other` for every value that is not the same in two plain configurations."""
    found: list[str] = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}: {left} -> {right}")
    return found


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Nested plain values of two, those of the other where both have one."""
    both = dict(one)
    for key, value in other.items():
        inner = both.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = merged(inner, value)
        both[key] = value
    return both


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by place, such as `model.width`, as nested dictionaries."""
    found: dict[str, Any] = {}
    for place, value in values.items():
        *parents, key = place.split(".")
        inner = found
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[key] = value
    return found


def places(kind: type, prefix: str = "") -> list[str]:
    """The places of all values of a configuration, such as `model.width`."""
    found: list[str] = []
    for name, hint in typing.get_type_hints(kind).items():
        inner = dataclasses.is_dataclass(hint) and isinstance(hint, type)
        found += places(hint, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found


def _build(
    kind: type[Config], base: Mapping[str, Any], plain: Mapping[str, Any], where: str, prefix: str
) -> Config:
    hints = typing.get_type_hints(kind)
    values = dict(base)
    for key, value in plain.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise ConfigError(
                f"`{where}`: unknown setting `{name}`",
                hint="known here: " + ", ".join(f"`{k}`" for k in hints),
            )
        inner = hints[key]
        if dataclasses.is_dataclass(inner) and isinstance(value, Mapping):
            current = vars(base[key]) if key in base else {}
            values[key] = _build(typing.cast("type[Any]", inner), current, value, where, f"{name}.")
        else:
            values[key] = _convert(inner, value, where, name)
    try:
        return kind(**values)
    except TypeError as failure:
        raise ConfigError(
            f"`{where}`: {failure}", hint="the configuration is incomplete"
        ) from failure


def _convert(hint: Any, value: Any, where: str, name: str) -> Any:
    options = (
        typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType)
        else (hint,)
    )
    for option in options:
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if option in (str, int, float, bool) and type(value) is option:
            return value
        if (
            isinstance(option, type)
            and issubclass(option, Enum)
            and value in [member.value for member in option]
        ):
            return option(value)
        if typing.get_origin(option) is dict and isinstance(value, dict):
            return dict(value)
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(value)
        if typing.get_origin(option) is typing.Literal and value in typing.get_args(option):
            return value
        if option is type(None) and value is None:
            return None
        if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
            return _build(typing.cast("type[Any]", option), {}, value, where, f"{name}.")
    wanted = _describe(options)
    raise ConfigError(f"`{where}`: `{name}` cannot be `{value}`", hint=f"it takes {wanted}")


def _describe(options: tuple[Any, ...]) -> str:
    words: list[str] = []
    for option in options:
        if isinstance(option, type) and issubclass(option, Enum):
            words += [f"`{member.value}`" for member in option]
        elif typing.get_origin(option) is typing.Literal:
            words += [f"`{value}`" for value in typing.get_args(option)]
        elif typing.get_origin(option) is dict or dataclasses.is_dataclass(option):
            words.append("a table of settings")
        elif option is not type(None):
            names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
            words.append(names.get(option, "a list"))
    return ", ".join(words)
