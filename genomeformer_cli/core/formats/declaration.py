"""Declarations of the file formats that are read: the source of the page `reference/inputs.md`.

Every reader module of this package that reads a format of its own has, beside its functions,

    INPUT = InputFormat(
        name="BED",
        contents="intervals of a genome",
        commands=("embed --bed", "score --bed"),
        coordinates="0-based, end excluded",
        accepted=("3 to 12 columns, separated by tabs or blanks", ...),
        changed=("strand `-`: the reverse complement is taken", ...),
        refused=("an end before its start: the row is reported, not used", ...),
    )

`docs/generate_reference.py` imports every module of the package and writes one section per
`INPUT`. What the text layer does with all formats (packings, byte order marks, line ends) is stated
once, on the head of the page; do not repeat it. A test checks that the commands exist.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """A file format as this package reads it.

    Attributes:
        name: Name of the format.
        contents: Content of a file, as "sequences".
        commands: Command lines that take it, each a command and perhaps the option or argument, as
            `score --vcf` or `embed FILE`.
        coordinates: Count of positions, as "1-based, end included"; empty: it has no positions.
        accepted: Variants that are read.
        changed: Changes made on reading, and their reports.
        refused: Errors, and rows that are reported and not used.
    """

    name: str
    contents: str
    commands: tuple[str, ...]
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    changed: tuple[str, ...] = ()
    coordinates: str = ""


def input_formats() -> Iterator[InputFormat]:
    """Yield the declaration of every reader of this package, by name of its module."""
    package = importlib.import_module(__package__ or "")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
        found = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "INPUT", None)
        if isinstance(found, InputFormat):
            yield found
