"""Checks of the outputs that the command line names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genomeformer_cli.core.errors import UsageError


def standard_output(value: Path | list[Path] | None) -> Path | list[Path] | None:
    """Return None for the output `-`, as for no output: the result goes to standard output.

    Raises:
        UsageError: `-` is one of several outputs.
    """
    paths = value if isinstance(value, list) else [value]
    if Path("-") not in paths:
        return value
    if len(paths) > 1:
        raise UsageError("`-o -` beside other outputs", hint="leave it out, or give only `-o -`")
    return None


def check_suffix(path: Path | None, suffixes: Iterable[str]) -> None:
    """Refuse an output whose suffix names a format that is not written.

    Args:
        path: Output; None: standard output.
        suffixes: Accepted endings of the name; a name without a suffix is accepted too.

    Raises:
        UsageError: The name ends otherwise.
    """
    if path is not None and path.suffix and not path.name.lower().endswith(tuple(suffixes)):
        raise UsageError(
            f"unknown format of `{path}`",
            hint="end it with " + ", ".join(f"`{suffix}`" for suffix in suffixes),
        )


def named_output(value: Path | None) -> Path | None:
    """Return the path of a folder or of several files.

    Raises:
        UsageError: The path is `-`.
    """
    if value == Path("-"):
        raise UsageError(
            "`-o -`: the result does not fit on standard output",
            hint="give a path, such as `-o result`",
        )
    return value
