"""The page of input formats, from `docs/data/inputs.toml`, for `generate_reference.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.config_text import read_config
from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.formats import text

DECLARATIONS = Path(__file__).resolve().parent / "data" / "inputs.toml"


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """Input format, as declared in `docs/data/inputs.toml`."""

    name: str  # Name of the format.
    contents: str  # Content of a file, as "sequences".
    # Commands that read it, with their option or argument, as `score --vcf` or `embed FILE`.
    commands: tuple[str, ...]
    accepted: tuple[str, ...]  # Accepted variants.
    refused: tuple[str, ...]  # Errors, and rows that are reported and not used.
    changed: tuple[str, ...] = ()  # Changes made while reading, and their reports.
    # Coordinate system, as "1-based, end included"; empty without coordinates.
    coordinates: str = ""


@dataclass(frozen=True, kw_only=True)
class InputFormats:
    """All input formats."""

    formats: tuple[InputFormat, ...]


def input_formats() -> tuple[InputFormat, ...]:
    """Read the declarations of all input formats."""
    declared = read_config(DECLARATIONS)
    return from_plain(InputFormats, declared, where=DECLARATIONS.name).formats


def inputs_page() -> str:
    """Every file format that is read: accepted, changed, refused, and the commands that take it."""
    conventions = (text.__doc__ or "").partition("\n| ")[2].partition("\n\n")[0]
    formats = input_formats()
    taken: dict[str, list[str]] = {}
    for one in formats:
        for command in one.commands:
            taken.setdefault(command, []).append(one.name)
    parts = [
        "# Input files",
        "Each format has one reader, in `genomeformer_cli/core/formats`, and every command uses "
        "it: what one command accepts, all accept. Below each reader is one layer that opens text:",
        f"| {conventions}",
        "## Commands",
        "| command line | formats |\n|---|---|",
    ]
    parts[-1] += "".join(
        f"\n| `{command}` | {', '.join(names)} |" for command, names in sorted(taken.items())
    )
    for one in formats:
        parts += [f"## {one.name}", f"{one.contents[:1].upper()}{one.contents[1:]}."]
        parts.append("Taken by " + ", ".join(f"`{command}`" for command in one.commands) + ".")
        if one.coordinates:
            parts.append(f"Coordinates: {one.coordinates}.")
        for title, lines in (
            ("Accepted", one.accepted),
            ("Changed", one.changed),
            ("Refused", one.refused),
        ):
            if lines:
                parts.append(f"{title}:\n\n" + "\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts)
