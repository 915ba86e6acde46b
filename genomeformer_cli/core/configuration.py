"""Conversion between frozen configurations and plain values; errors name the key and its source."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal, TypeVar

import msgspec

from genomeformer_cli.core.documents import DocumentError, convert, unknown_keys
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.proposals import propose

# Arrays of longer rows cannot be indexed by 32-bit kernels; NumPy refuses much longer ones.
MAX_WINDOW = 2**31 - 1
Config = TypeVar("Config")


def to_plain(config: Any) -> dict[str, Any]:
    """Convert a configuration to nested dictionaries of plain values, without None."""
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
    """Build a configuration from plain values; missing values keep their defaults.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or is refused.
    """
    for name, valid_keys in unknown_keys(kind, plain):
        raise ConfigError(
            f"`{where}`: unknown setting `{name}`",
            hint=propose(
                name.rpartition(".")[2],
                valid_keys,
                otherwise="settings: " + ", ".join(f"`{key}`" for key in valid_keys),
            ),
        )
    try:
        config: Config = convert(plain, kind, source=where)
    except DocumentError as failure:
        if not failure.place:
            raise ConfigError(failure.message, hint="the configuration is incomplete") from failure
        # A value of a table is named by its table.
        place = failure.place.removesuffix("[...]")
        value = _value_at(plain, place)
        if value is None and place not in setting_paths(kind):
            raise ConfigError(failure.message, hint=failure.hint) from failure
        raise ConfigError(
            f"`{where}`: `{place}` cannot be `{value}`",
            hint=f"it takes {_describe(_hint_at(kind, place))}",
        ) from failure
    return config


def overlay(config: Config, plain: Mapping[str, Any], *, where: str) -> Config:
    """Return a configuration with some values replaced.

    Args:
        config: Configuration with the other values.
        plain: Nested dictionaries of the values to replace.
        where: Source of the values, named in errors, e.g. `run.toml`.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or is refused.
    """
    for path, value in _numbers(plain):
        if not math.isfinite(value):
            raise ConfigError(f"`{where}`: `{path}` cannot be `{value}`", hint="it takes a number")
    return from_plain(type(config), _replace(config, plain), where=where)


def _numbers(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and the value of every float."""
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            yield f"{prefix}{key}", value


def _replace(config: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of a configuration, with those of `plain` replaced."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for key, value in plain.items():
        inner = values.get(key)
        is_table = dataclasses.is_dataclass(inner) and isinstance(value, Mapping)
        values[key] = _replace(inner, value) if is_table else value
    plain_values: dict[str, Any] = msgspec.to_builtins(values)
    return plain_values


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return `key: old -> new` for every value that differs between two plain configurations."""
    changes: list[str] = []
    for key in sorted({*old, *new}):
        old_value, new_value = old.get(key), new.get(key)
        if isinstance(old_value, Mapping) and isinstance(new_value, Mapping):
            changes += differences(old_value, new_value, f"{prefix}{key}.")
        elif old_value != new_value:
            before, after = (
                "unset" if value is None else value for value in (old_value, new_value)
            )
            changes.append(f"{prefix}{key}: {before} -> {after}")
    return changes


def merge_values(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested plain values; those of `new` take precedence."""
    combined = dict(old)
    for key, value in new.items():
        inner = combined.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = merge_values(inner, value)
        combined[key] = value
    return combined


def unflatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values by dotted path, such as `model.width`, to nested dictionaries."""
    values_by_key: dict[str, Any] = {}
    for path, value in values.items():
        *parents, key = path.split(".")
        inner = values_by_key
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[key] = value
    return values_by_key


def setting_paths(kind: type, prefix: str = "") -> list[str]:
    """Return the dotted paths of all values of a configuration, such as `model.width`."""
    paths: list[str] = []
    for name, hint in typing.get_type_hints(kind).items():
        inner = dataclasses.is_dataclass(hint) and isinstance(hint, type)
        paths += setting_paths(hint, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return paths


def takes_only_text(kind: type, path: str) -> bool:
    """Return True for a setting whose value is text, or unset."""
    name, _, rest = path.partition(".")
    hint = typing.get_type_hints(kind)[name]
    if rest:
        return takes_only_text(hint, rest)
    return set(typing.get_args(hint) or (hint,)) - {type(None)} == {str}


def takes_table(kind: type, path: str) -> bool:
    """Return True for a setting whose value is a table of names and values."""
    name, _, rest = path.partition(".")
    hint = typing.get_type_hints(kind)[name]
    return takes_table(hint, rest) if rest else typing.get_origin(hint) is dict


def check_whole(setting: str, value: object, lowest: int) -> None:
    """Check that a number of Python code is whole and not too small; None is unset and passes.

    Raises:
        ConfigError: The value is not a whole number, or less than `lowest`.
    """
    if value is None:
        return
    if not isinstance(value, Integral):
        raise ConfigError(f"`{setting}` cannot be `{value!r}`", hint="give a whole number")
    check_range(setting, int(value), lowest)


def check_range(
    setting: str,
    value: float | None,
    lowest: float,
    highest: float = math.inf,
    excluded: Literal["none", "lowest", "highest", "both"] = "none",
) -> None:
    """Check that a number is finite and within its bounds; None is unset and passes.

    Args:
        setting: Name of the setting.
        value: Value of the setting.
        lowest: Lower bound.
        highest: Upper bound.
        excluded: Bounds that are no values themselves.

    Raises:
        ConfigError: The value is not a number, out of range, infinite, or NaN.
    """
    if value is None:
        return
    if not isinstance(value, Real):
        raise ConfigError(f"`{setting}` cannot be `{value!r}`", hint="give a number")
    above = value > lowest if excluded in ("lowest", "both") else value >= lowest
    below = value < highest if excluded in ("highest", "both") else value <= highest
    if above and below and math.isfinite(value):
        return
    bounds = f"more than {lowest:g}" if excluded in ("lowest", "both") else f"{lowest:g} or more"
    if math.isfinite(highest):
        upper = "less than" if excluded in ("highest", "both") else "at most"
        bounds += f" and {upper} {highest:g}"
    if math.isfinite(highest) and excluded == "none":
        bounds = f"{lowest:g} to {highest:g}"
    raise ConfigError(f"`{setting}` cannot be {value:g}", hint=f"give {bounds}")


def _steps(place: str) -> list[str]:
    return [step for step in re.split(r"[.\[\]]+", place) if step]


def _value_at(plain: Any, place: str) -> Any:
    """Return the value at a dotted path; None if the path does not exist."""
    for step in _steps(place):
        try:
            plain = plain[int(step) if isinstance(plain, list | tuple) else step]
        except (LookupError, TypeError, ValueError):
            return None
    return plain


def _hint_at(kind: Any, place: str) -> tuple[Any, ...]:
    """Return the types of the value at a dotted path."""
    options = _options(kind)
    for step in _steps(place):
        inner: list[Any] = []
        for option in options:
            if dataclasses.is_dataclass(option):
                inner += _options(typing.get_type_hints(option).get(step, Any))
            elif typing.get_args(option) and typing.get_origin(option) in (tuple, list, dict):
                is_dict = typing.get_origin(option) is dict
                inner += _options(typing.get_args(option)[is_dict])
        options = tuple(inner)
    return options


def _options(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def describe_type(hint: Any) -> str:
    """Describe the values that a type accepts, such as "a whole number"."""
    return _describe(_options(hint))


def _describe(options: tuple[Any, ...]) -> str:
    words: list[str] = []
    for option in options:
        if isinstance(option, type) and issubclass(option, Enum):
            words += [f"`{member.value}`" for member in option]
        elif typing.get_origin(option) is typing.Literal:
            words += [f"`{value}`" for value in typing.get_args(option)]
        elif typing.get_origin(option) is dict:
            words.append(f"a table of names, each with {describe_type(typing.get_args(option)[1])}")
        elif dataclasses.is_dataclass(option):
            words.append("a table of settings")
        elif option is not type(None):
            names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
            words.append(names.get(option, "a list"))
    return ", ".join(words)
