"""Labels as text: missing ones, and classes that are written in several ways.

Nothing is decided in silence: rows without a label or a sequence are refused by name, or left out
and counted; classes that differ only in case, blanks or number format are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.formats.labelled import (
    COLUMN,
    Example,
    LabelledFile,
    is_missing_sequence,
)

NO_LABEL, NO_SEQUENCE = "without a label", "without a sequence"
# Spellings that no class has; `NA` and `none` are classes of influenza and of many tables.
_MISSING = frozenset({"", "nan", "<na>", "#n/a", "#na", "-nan"})
_MISSING_NUMBER = _MISSING | {
    "na",
    "n/a",
    "null",
    "none",
    "-",
    "--",
    ".",
    "?",
    "#value!",
    "#div/0!",
}
_MAX_NAMED = 5


class Missing(StrEnum):
    """Treatment of rows without a label or a sequence."""

    REFUSE = "refuse"
    DROP = "drop"


def missing_from_text(name: str) -> Missing:
    """Return the treatment of that name.

    Raises:
        ConfigError: No treatment is called that.
    """
    if name not in set(Missing):
        raise ConfigError(f"invalid `--missing {name}`", hint="`refuse` or `drop`")
    return Missing(name)


def is_missing(cell: str) -> bool:
    """True for a cell that holds no label of any kind."""
    return cell.lower() in _MISSING


def is_missing_number(cell: str) -> bool:
    """True for a cell that stands for a number that is not known."""
    return cell.lower() in _MISSING_NUMBER


def number_of(cell: str) -> float | None:
    """Return a finite number, or None; only what a person writes as one (not `1_000`)."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in cell and cell.isascii() else None


def without_missing(
    file: LabelledFile,
    name: str,
    missing: Missing,
    lacks_label: Callable[[str], bool],
    hint: str = "`--missing drop` leaves them out and counts them; or complete the table",
) -> LabelledFile:
    """Leave out, or refuse, the rows without a sequence or a label.

    Args:
        file: Rows as read.
        name: Name in messages.
        missing: Treatment.
        lacks_label: True for a cell that holds no label of the task's kind.
        hint: What to do about them.

    Raises:
        InputError: Such rows are there and are to be refused, or no row would be left.
    """
    reasons = [_reason(one, lacks_label) for one in file.examples]
    count = file.count
    for reason in (NO_SEQUENCE, NO_LABEL):
        rows = [one for one, found in zip(file.examples, reasons, strict=True) if found == reason]
        if rows and missing is Missing.REFUSE:
            raise InputError(
                f"`{name}`: {len(rows):,} of {count.read:,} rows are {reason}: "
                + _named(rows, reason),
                hint=hint,
            )
        count = count.without(reason, len(rows))
    kept = tuple(one for one, found in zip(file.examples, reasons, strict=True) if not found)
    if not kept:
        raise InputError(
            f"`{name}` holds no labelled sequence: {count.sentence()}", hint="check the table"
        )
    return LabelledFile(examples=kept, count=count, notes=file.notes)


def _reason(one: Example, lacks_label: Callable[[str], bool]) -> str:
    if is_missing_sequence(one.sequence):
        return NO_SEQUENCE
    return NO_LABEL if any(lacks_label(cell) for cell in one.label.split(COLUMN)) else ""


def _named(rows: Sequence[Example], reason: str) -> str:
    cells = [
        (one.row, one.id, one.sequence if reason == NO_SEQUENCE else one.label.replace(COLUMN, " "))
        for one in rows[:_MAX_NAMED]
    ]
    named = ", ".join(f"row {row} (`{identifier}`: `{cell}`)" for row, identifier, cell in cells)
    return named + (f" and {len(rows) - _MAX_NAMED:,} more" if len(rows) > _MAX_NAMED else "")


def same_but_for_spelling(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of labels that differ only in case, blanks or number format."""
    spellings: dict[str, dict[str, None]] = {}
    for label in labels:
        number = number_of(label)
        key = " ".join(label.casefold().split()) if number is None else repr(number + 0.0)
        spellings.setdefault(key, {})[label] = None
    return [tuple(found) for found in spellings.values() if len(found) > 1]


def check_spelling(labels: Iterable[str], name: str, hint: str) -> None:
    """Refuse classes that are written in several ways.

    Raises:
        InputError: Some are.
    """
    groups = same_but_for_spelling(labels)
    if groups:
        shown = "; ".join(
            ", ".join(f"`{one[:40]}`" for one in group[:_MAX_NAMED])
            for group in groups[:_MAX_NAMED]
        )
        raise InputError(
            f"`{name}`: labels differ only in case, blanks or number format: {shown}", hint=hint
        )


def check_classes(labels: Sequence[str], name: str, hint: str) -> None:
    """Refuse labels that are nearly as many as their rows: numbers, names, or damaged classes.

    Raises:
        InputError: They are.
    """
    num_classes = len(set(labels))
    if num_classes > 2 and 2 * num_classes > len(labels):
        raise InputError(
            f"`{name}`: {num_classes:,} different labels in {len(labels):,} rows are not classes "
            "that can be learned",
            hint=hint,
        )
