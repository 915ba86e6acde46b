"""Task kind from the labels: inferred if unambiguous, else refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.labels import (
    check_classes,
    check_spelling,
    is_missing,
    is_missing_number,
    number_of,
    same_but_for_spelling,
)
from genomeformer_cli.core.finetuning.labels import SEPARATORS, TaskKind
from genomeformer_cli.core.formats.labelled import COLUMN, Example

MAX_NUMBERED_CLASSES = 20
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_MAX_NAMED = 5
_MAX_QUANTITY = 1e30
_KIND_HINT = (
    "`--kind regression` learns numbers (`--missing drop` leaves out rows without one), "
    "`--kind classification` makes a class of every different label"
)


def infer_kind(
    labels: Sequence[str],
    lengths: Sequence[int],
    name: str = "table",
    rows: Sequence[int] | None = None,
) -> TaskKind:
    """Infer the kind of a task.

    Args:
        labels: One per row, empty if missing; several columns are separated by tabs.
        lengths: Bases of each row.
        name: Name of the table in messages.
        rows: Row numbers in the file; None: from 1.

    Raises:
        InputError: The labels fit no kind, or several.
    """
    rows = rows or range(1, len(labels) + 1)
    if COLUMN in labels[0]:
        return _kind_of_columns(labels, rows, name)
    labelled = [
        (row, label, length)
        for row, label, length in zip(rows, labels, lengths, strict=True)
        if not is_missing(label) and length
    ]
    if not labelled:
        raise InputError(f"`{name}` has no labels", hint="name their column with `--target`")
    if _are_letters_of_bases([(label, length) for _, label, length in labelled]):
        return TaskKind.PER_BASE
    _refuse_nearly_per_base(labelled, name)
    texts = [(row, label) for row, label, _ in labelled if number_of(label) is None]
    commas = [(row, label) for row, label in texts if _DECIMAL_COMMA.fullmatch(label)]
    if texts and len(commas) == len(texts) and 2 * len(texts) > len(labelled):
        raise _ambiguous(
            f"{len(commas):,} of {len(labelled):,} labels have a decimal comma: "
            f"{_list_cells(commas)}",
            name,
            "write a decimal point, not a comma",
        )
    if len(texts) == len(labelled):
        is_listed = any(SEPARATORS[0] in label for _, label in texts)
        return TaskKind.MULTI_LABEL if is_listed else TaskKind.CLASSIFICATION
    if texts:
        if 2 * len(texts) > len(labelled) and not any(is_missing_number(text) for _, text in texts):
            return TaskKind.CLASSIFICATION
        non_numbers = [
            (row, label)
            for row, label in zip(rows, labels, strict=True)
            if number_of(label) is None
        ]
        raise _ambiguous(
            f"{len(labels) - len(non_numbers):,} of {len(labels):,} labels are numbers, the others "
            f"are not: {_list_cells(non_numbers)}",
            name,
        )
    return _kind_of_numbers([float(label) for _, label, _ in labelled], name)


def _are_letters_of_bases(labels: Sequence[tuple[str, int]]) -> bool:
    """Return True if every label has the length of its sequence, unless labels are numbers.

    A string of digits may be labels of bases; `-0.1234567` for a sequence of ten bases may not.
    """
    if max(length for _, length in labels) < 2:
        return False
    if any(len(label) != length for label, length in labels):
        return False
    return any(number_of(label) is None for label, _ in labels) or all(
        label.isdigit() for label, _ in labels
    )


def _refuse_nearly_per_base(labelled: Sequence[tuple[int, str, int]], name: str) -> None:
    """Refuse labels of which most, but not all, have one letter per base.

    Raises:
        InputError: They may be per-base labels of which some are too short or too long.
    """
    mismatches = [(row, label) for row, label, length in labelled if len(label) != length]
    matches = [(label, length) for _, label, length in labelled if len(label) == length]
    if 0 < len(mismatches) < len(matches) and _are_letters_of_bases(matches):
        raise _ambiguous(
            f"{len(matches):,} of {len(labelled):,} labels have one letter per base, the others do "
            f"not: {_list_cells(mismatches)}",
            name,
            "`--kind per-base` learns a letter per base",
        )


def _kind_of_numbers(numbers: Sequence[float], name: str) -> TaskKind:
    if any(number != math.floor(number) for number in numbers):
        return TaskKind.REGRESSION
    num_values = len(set(numbers))
    if num_values > MAX_NUMBERED_CLASSES:
        raise _ambiguous(
            f"{num_values:,} different whole numbers in {len(numbers):,} rows may be classes or "
            "quantities",
            name,
        )
    return TaskKind.CLASSIFICATION


def _kind_of_columns(labels: Sequence[str], rows: Sequence[int], name: str) -> TaskKind:
    cells = [
        (row, cell)
        for row, label in zip(rows, labels, strict=True)
        for cell in label.split(COLUMN)
        if not is_missing_number(cell)
    ]
    if {cell for _, cell in cells} <= {"0", "1"}:
        return TaskKind.MULTI_LABEL
    texts = [(row, cell) for row, cell in cells if number_of(cell) is None]
    if texts:
        raise InputError(
            f"`{name}`: cells of several label columns are neither 0 or 1 nor numbers: "
            + _list_cells(texts),
            hint="give columns of 0 and 1 (`--kind multi-label`) or of finite numbers "
            "(`--kind regression`), or one column alone",
        )
    return TaskKind.REGRESSION


def _list_cells(cells: Sequence[tuple[int, str]]) -> str:
    listing = ", ".join(f"`{cell[:40]}` (row {row})" for row, cell in cells[:_MAX_NAMED])
    return listing + (f" and {len(cells) - _MAX_NAMED:,} more" if len(cells) > _MAX_NAMED else "")


def _ambiguous(problem: str, name: str, hint: str = "") -> InputError:
    return InputError(f"`{name}`: {problem}", hint=f"{hint}; {_KIND_HINT}" if hint else _KIND_HINT)


def check_inferred(kind: TaskKind, labels: Sequence[str], name: str) -> None:
    """Check labels of an inferred kind for spelling variants and implausible values.

    Raises:
        InputError: Labels differ only in spelling, use two separators, or are nearly all distinct.
    """
    hint = "write each class in one way; "
    if kind is TaskKind.CLASSIFICATION:
        check_spelling(labels, name, f"{hint}`--kind classification` takes labels as written")
        check_classes(labels, name, _KIND_HINT)
    elif kind is TaskKind.PER_BASE:
        letters = {letter for label in labels for letter in label}
        check_spelling(letters, name, f"{hint}`--kind per-base` takes letters as written")
    elif kind is TaskKind.MULTI_LABEL and COLUMN not in labels[0]:
        names = {
            label_part.strip() for label in labels for label_part in label.split(SEPARATORS[0])
        }
        check_spelling(names, name, f"{hint}`--kind multi-label` takes labels as written")
        separators = [
            mark for mark in SEPARATORS[1:] if any(mark in label_part for label_part in names)
        ]
        if separators:
            raise InputError(
                f"`{name}`: labels hold `{SEPARATORS[0]}` and `{separators[0]}`, and only one of "
                "them can separate",
                hint=f"separate labels by `{SEPARATORS[0]}` alone; `--kind multi-label` takes "
                f"`{separators[0]}` as part of a name",
            )


def spelling_warning(kind: TaskKind, labels: Sequence[str], name: str) -> str:
    """Return a warning if classes of a stated kind differ only in spelling; else empty."""
    if kind is not TaskKind.CLASSIFICATION:
        return ""
    groups = ["`, `".join(group) for group in same_but_for_spelling(labels)]
    shown_groups = "; ".join(f"`{group}`" for group in groups[:_MAX_NAMED])
    return f"`{name}`: taken as different classes, as written: {shown_groups}" if groups else ""


def missing_test(
    kind: TaskKind, num_columns: int, *, inferred: bool
) -> tuple[Callable[[str], bool], str]:
    """Return the predicate for a cell without a label of that kind, and the hint of its error.

    An empty list of labels is a label (all negative), but only if `--kind` states that cells are
    lists.
    """
    hint = "`--missing drop` leaves them out and counts them; or complete the table"
    if inferred and kind is TaskKind.REGRESSION:
        hint += "; the other labels were read as regression, `--kind` overrides"
    if kind is TaskKind.REGRESSION or (kind is TaskKind.MULTI_LABEL and num_columns > 1):
        return is_missing_number, hint
    if kind is TaskKind.MULTI_LABEL and not inferred:
        return _is_missing_list, hint
    if kind is TaskKind.MULTI_LABEL:
        hint += "; `--kind multi-label` reads an empty cell as none of the labels"
    elif inferred:
        hint += f"; the other labels were read as {kind.value}, `--kind` overrides"
    return is_missing, hint


def _is_missing_list(cell: str) -> bool:
    """Return True for a cell that is not a list; an empty list has no positive label."""
    return bool(cell) and is_missing(cell)


def check_quantities(examples: Sequence[Example], name: str) -> None:
    """Check that the cells of a regression are finite numbers.

    Raises:
        InputError: A cell is not a finite number; the message names the row.
    """
    for example in examples:
        where = f"`{name}`: row {example.row} (`{example.id}`)"
        for cell in example.label.split(COLUMN):
            number = number_of(cell)
            if number is not None and abs(number) <= _MAX_QUANTITY:
                continue
            if number is not None:
                raise InputError(
                    f"{where}: `{cell[:40]}` is beyond the range of single precision",
                    hint="rescale the column, such as to its logarithm",
                )
            comma = _DECIMAL_COMMA.fullmatch(cell) is not None
            raise InputError(
                f"{where}: `{cell[:40]}` is not a finite number",
                hint="write a decimal point, not a comma"
                if comma
                else "leave the row out, or choose another `--kind`",
            )
