"""Settings as text: `section.key=value` assignments are read, documented TOML is written."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from genomeformer_cli.core import documents
from genomeformer_cli.core.configuration import (
    describe_type,
    merge_values,
    overlay,
    setting_paths,
    takes_only_text,
    takes_table,
    to_plain,
    unflatten,
)
from genomeformer_cli.core.documents import DocumentError
from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.proposals import closest, propose

Config = TypeVar("Config")

_WIDTH = 96
_KINDS = (bool, int, float, str, list, dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a configuration."""

    key: str  # Dotted place, such as `training.ema`.
    value: Any  # Current value, or default; None if it is unset.
    type: str  # Description of the accepted values.
    meaning: str  # Sentence of the docstring.


def parse_settings(
    texts: Sequence[str],
    kind: type,
    *,
    words: Mapping[str, str] | None = None,
    source: str = "--set",
) -> dict[str, Any]:
    """Parse assignments such as `training.ema=0.999` as nested settings of a configuration.

    Values are TOML; a word that is not TOML is text, and so is a number for a setting of text.

    Args:
        texts: Assignments.
        kind: Configuration class that has the settings.
        words: Other names of settings, and the settings that they mean.
        source: Option that holds the assignments, named in errors.

    Raises:
        UsageError: A malformed assignment, an unknown setting, a setting that is given twice.
    """
    paths = setting_paths(kind)
    values: dict[str, Any] = {}
    tables = [path for path in paths if takes_table(kind, path)]
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        table = next((path for path in tables if key.startswith(f"{path}.")), None)
        if table is not None and equals:
            name = key.removeprefix(f"{table}.").strip("\"'")
            if name in values.setdefault(table, {}):
                raise UsageError(f"`{key}` is set twice", hint="give each setting once")
            values[table][name] = parse_value(value)
            continue
        if not key or not equals:
            raise UsageError(
                f"`{source} {text}` is not an assignment",
                hint=f"write `SECTION.KEY=VALUE`, such as `{source} {paths[0]}=...`",
            )
        place = (words or {}).get(key, key)
        if place not in paths:
            raise _unknown_setting(place, kind, source)
        if place in values:
            raise UsageError(f"`{place}` is set twice", hint="give each setting once")
        parsed = parse_value(value)
        is_number = isinstance(parsed, int | float)
        values[place] = value if is_number and takes_only_text(kind, place) else parsed
    return unflatten(values)


def parse_value(text: str) -> Any:
    """Parse a value as TOML; text that is not a TOML value is returned as it is."""
    try:
        parsed = documents.parse_toml(f"value = {text}", source="--set")
    except DocumentError:
        return text
    # A line break would begin another key; TOML dates are not valid settings.
    valid = [*parsed] == ["value"] and isinstance(parsed["value"], _KINDS)
    return parsed["value"] if valid else text


def _unknown_setting(key: str, kind: type, source: str) -> UsageError:
    paths = setting_paths(kind)
    inside = [place for place in paths if place.startswith(f"{key}.")]
    if inside:
        return UsageError(
            f"`{source} {key}`: this is a section, not a setting",
            hint="settings of it: " + ", ".join(f"`{place}`" for place in inside),
        )
    last = key.rpartition(".")[2]
    same_name = [place for place in paths if place.rpartition(".")[2] == last]
    by_last = {place.rpartition(".")[2]: place for place in paths}
    similar = closest(key, paths) or [by_last[name] for name in closest(last, by_last)]
    hint = propose(same_name[0], same_name, otherwise="") if same_name else ""
    if not hint and similar:
        hint = f"did you mean {' or '.join(f'`{place}`' for place in similar)}?"
    listing = "`--show-config` lists every setting"
    return UsageError(f"`{source}`: unknown setting `{key}`", hint=f"{hint} {listing}".strip())


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings of a TOML file as nested values.

    Raises:
        ConfigError: The file is missing or malformed.
    """
    try:
        return documents.read_toml(path)
    except DocumentError as failure:
        raise ConfigError(
            failure.message.replace("cannot be read:", "cannot be read as TOML:"),
            hint="`--show-config` prints a file of all settings",
        ) from failure


def combine_settings(
    kind: type, settings: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Combine `--set` assignments with the options of a command.

    Args:
        kind: Configuration class.
        settings: Assignments.
        options: Nested settings from the options that were given.

    Raises:
        UsageError: An invalid assignment, or a setting given both ways.
    """
    assigned = parse_settings(settings, kind)
    repeated = sorted({*_flat_keys(assigned)} & {*_flat_keys(options)})
    if repeated:
        raise UsageError(
            f"`{repeated[0]}` is given by an option and by `--set`", hint="give each setting once"
        )
    return merge_values(assigned, options)


def resolve(config: Config, config_file: Path | None, overrides: Mapping[str, Any]) -> Config:
    """Return a configuration with the settings of a TOML file, then others, in place of its own.

    Raises:
        ConfigError: An unreadable file, an unknown setting, an invalid value.
    """
    if config_file is not None:
        config = overlay(config, read_config(config_file), where=str(config_file))
    return overlay(config, overrides, where="command line")


def _flat_keys(plain: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def documented(kind: type[Any]) -> tuple[str, dict[str, str]]:
    """Return the docstring of a dataclass and the comment on each field.

    Inherited fields keep the comments of the base class.
    """
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            meanings |= field_comments(textwrap.dedent(inspect.getsource(base)))
    return inspect.cleandoc(kind.__doc__ or ""), meanings


def field_comments(source: str) -> dict[str, str]:
    """Read the comments behind or directly above the fields of a class."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: (token.string.removeprefix("#").strip(), token.line.lstrip()[0] == "#")
        for token in tokens
        if token.type == tokenize.COMMENT
    }
    meanings = {}
    [definition] = ast.parse(source).body
    for node in ast.iter_child_nodes(definition):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = last = node.lineno - 1
            while comments.get(first, ("", False))[1]:
                first -= 1
            above = [comments[line][0] for line in range(first + 1, last + 1)]
            behind, _ = comments.get(node.end_lineno or node.lineno, ("", False))
            meanings[node.target.id] = " ".join([*above, behind]).strip()
    return meanings


def describe_config(config: Any, prefix: str = "") -> list[Setting]:
    """List all settings of a configuration, or of a class with its defaults, section by section."""
    kind = config if isinstance(config, type) else type(config)
    hints, (_, meanings) = typing.get_type_hints(kind), documented(kind)
    rows: list[Setting] = []
    sections: list[Setting] = []
    for field in dataclasses.fields(kind):
        value = default_of(field) if config is kind else getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            sections += describe_config(value, f"{prefix}{field.name}.")
            continue
        rows.append(
            Setting(
                key=f"{prefix}{field.name}",
                value=list(value) if isinstance(value, tuple) else value,
                type=describe_type(hints[field.name]),
                meaning=meanings.get(field.name, ""),
            )
        )
    return rows + sections


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a field; `MISSING` if the field is required."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def render_toml(config: Any) -> str:
    """Write a configuration as TOML, the meaning of each setting above it.

    Unset values are comments, so that the text can be read again with `--config`.
    """
    return "\n".join(_toml_lines(config, "")).strip() + "\n"


def _toml_lines(config: Any, section: str) -> Iterator[str]:
    summary, meanings = documented(type(config))
    plain = to_plain(config)
    yield from _comment(summary.partition("\n")[0])
    if section:
        yield f"[{section}]"
    sections = []
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            sections.append((field.name, value))
            continue
        yield from _comment(f"{meanings.get(field.name, '')} ({describe_type(hints[field.name])})")
        if isinstance(value, Mapping):
            rows = [tomli_w.dumps({key: inner}).strip() for key, inner in value.items()]
            yield f"{field.name} = {{ {', '.join(rows)} }}"
        elif field.name in plain:
            yield tomli_w.dumps({field.name: plain[field.name]}).strip()
        else:
            yield f"# {field.name} is unset"
    for name, inner in sections:
        yield ""
        yield from _toml_lines(inner, f"{section}.{name}" if section else name)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
