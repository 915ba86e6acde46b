"""Every command and flag there is, frozen: scripts of users depend on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import PurePath
from typing import Any

import typer.main


def plain(value: Any) -> str:
    """A default as a user would type it."""
    if value is None:
        return "optional"
    if isinstance(value, Enum):
        return str(value.value)
    return value.as_posix() if isinstance(value, PurePath) else str(value)


def flags(command: Any, name: str) -> Iterator[str]:
    """A line for the command, then one for each parameter: its spellings and its default."""
    yield name
    for parameter in command.params:
        spellings = " ".join([*parameter.opts, *parameter.secondary_opts])
        default = "required" if parameter.required else plain(parameter.default)
        yield f"  {spellings}  [{default}]"
    for child, subcommand in sorted(getattr(command, "commands", {}).items()):
        yield from flags(subcommand, f"{name} {child}")


def test_flags_are_frozen(golden: Callable[[str, str], None]) -> None:
    from genomeformer_cli.app import app

    golden("flags.txt", "\n".join(flags(typer.main.get_command(app), "genomeformer")) + "\n")
