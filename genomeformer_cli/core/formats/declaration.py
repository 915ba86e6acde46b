"""Declarations of the input formats, from which `reference/inputs.md` is generated.

Every reader module of a format defines

    INPUT = InputFormat(
        name="BED",
        contents="intervals of a genome",
        commands=("embed --bed", "score --bed"),
        coordinates="0-based, end excluded",
        accepted=("3 to 12 columns, separated by tabs or blanks", ...),
        changed=("strand `-`: the reverse complement is taken", ...),
        refused=("an end before its start: the row is reported, not used", ...),
    )

`docs/generate_reference.py` writes one section per `INPUT`. The conventions of the text layer
(compression, byte order marks, line ends) are described once, at the top of the page. A test checks
that the commands exist.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """Declaration of an input format."""

    name: str  # Name of the format.
    contents: str  # Content of a file, as "sequences".
    # Commands that read it, with their option or argument, as `score --vcf` or `embed FILE`.
    commands: tuple[str, ...]
    accepted: tuple[str, ...]  # Accepted variants.
    refused: tuple[str, ...]  # Errors, and rows that are reported and not used.
    changed: tuple[str, ...] = ()  # Changes made while reading, and their reports.
    # Coordinate system, as "1-based, end included"; empty without coordinates.
    coordinates: str = ""


def input_formats() -> Iterator[InputFormat]:
    """Yield the declarations of all readers, by module name."""
    package = importlib.import_module(__package__ or "")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        declaration = getattr(
            importlib.import_module(f"{package.__name__}.{module.name}"), "INPUT", None
        )
        if isinstance(declaration, InputFormat):
            yield declaration
