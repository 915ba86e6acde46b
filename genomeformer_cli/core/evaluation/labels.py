"""Labels as text: missing labels, and classes with several spellings.

Rows without a label or a sequence are refused by name, or left out and counted. Classes that differ
only in case, blanks, quotation marks or number format are refused.
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
_QUOTE = '"'
_MAX_NAMED = 5


class Missing(StrEnum):
    """Treatment of rows without a label or a sequence."""

    REFUSE = "refuse"
    DROP = "drop"


def missing_from_text(name: str) -> Missing:
    """Return the treatment of that name.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in set(Missing):
        raise ConfigError(f"invalid `--missing {name}`", hint="`refuse` or `drop`")
    return Missing(name)


def is_missing(cell: str) -> bool:
    """Return True for a cell without a label of any kind."""
    return cell.lower() in _MISSING


def is_missing_number(cell: str) -> bool:
    """Return True for a cell that marks a missing number."""
    return cell.lower() in _MISSING_NUMBER


def number_of(cell: str) -> float | None:
    """Parse a finite number in ordinary notation (not `1_000`); return None for other text."""
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
        file: Rows of the file.
        name: Name in messages.
        missing: Treatment.
        lacks_label: Returns True for a cell without a label of the task's kind.
        hint: Hint of the error.

    Raises:
        InputError: Rows are incomplete and `missing` refuses them, or no row is left.
    """
    reasons = [_reason(example, lacks_label) for example in file.examples]
    count = file.count
    for reason in (NO_SEQUENCE, NO_LABEL):
        rows = [
            example
            for example, row_reason in zip(file.examples, reasons, strict=True)
            if row_reason == reason
        ]
        if rows and missing is Missing.REFUSE:
            raise InputError(
                f"`{name}`: {len(rows):,} of {count.read:,} rows are {reason}: "
                + _list_rows(rows, reason),
                hint=hint,
            )
        count = count.without(reason, len(rows))
    complete = tuple(
        example
        for example, row_reason in zip(file.examples, reasons, strict=True)
        if not row_reason
    )
    if not complete:
        raise InputError(
            f"`{name}` holds no labelled sequence: {count.sentence()}", hint="check the table"
        )
    return LabelledFile(examples=complete, count=count, notes=file.notes)


def _reason(example: Example, lacks_label: Callable[[str], bool]) -> str:
    if is_missing_sequence(example.sequence):
        return NO_SEQUENCE
    return NO_LABEL if any(lacks_label(cell) for cell in example.label.split(COLUMN)) else ""


def _list_rows(rows: Sequence[Example], reason: str) -> str:
    listing = ", ".join(
        f"row {row.row} (`{row.id}`: {_missing_cell(row, reason)})" for row in rows[:_MAX_NAMED]
    )
    return listing + (f" and {len(rows) - _MAX_NAMED:,} more" if len(rows) > _MAX_NAMED else "")


def _missing_cell(row: Example, reason: str) -> str:
    """Return the reason for an absent sequence, or the cell as written."""
    if reason == NO_SEQUENCE:
        return row.problem or f"`{row.sequence}`"
    return f"`{row.label.replace(COLUMN, ' ')}`"


def same_but_for_spelling(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the labels that differ only in case, blanks, quotation marks or number format."""
    spellings: dict[str, dict[str, None]] = {}
    for label in labels:
        bare = label.strip(_QUOTE).strip()
        number = number_of(bare)
        key = " ".join(bare.casefold().split()) if number is None else repr(number + 0.0)
        spellings.setdefault(key, {})[label] = None
    return [tuple(variants) for variants in spellings.values() if len(variants) > 1]


def check_spelling(labels: Iterable[str], name: str, hint: str) -> None:
    """Refuse classes with several spellings.

    Raises:
        InputError: Labels differ only in case, blanks, quotation marks or number format.
    """
    groups = same_but_for_spelling(labels)
    if groups:
        groups_text = "; ".join(
            ", ".join(f"`{label[:40]}`" for label in variants[:_MAX_NAMED])
            for variants in groups[:_MAX_NAMED]
        )
        raise InputError(
            f"`{name}`: labels differ only in case, blanks, quotation marks or number format: "
            + groups_text,
            hint=hint,
        )


def check_classes(labels: Sequence[str], name: str, hint: str) -> None:
    """Refuse labels with nearly as many values as rows: numbers, names, or damaged classes.

    Raises:
        InputError: There are more than two labels, and more labels than half the rows.
    """
    num_classes = len(set(labels))
    if num_classes > 2 and 2 * num_classes > len(labels):
        raise InputError(
            f"`{name}`: {num_classes:,} different labels in {len(labels):,} rows are not classes "
            "that can be learned",
            hint=hint,
        )
