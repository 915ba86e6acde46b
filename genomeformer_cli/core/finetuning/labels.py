"""Label space of a task: its kind, its classes or quantities, and labels as numbers.

| kind             | label                                    | prediction                      |
|------------------|------------------------------------------|---------------------------------|
| `classification` | one of several classes                   | probability of each class       |
| `multi-label`    | any number of several, or columns of 0/1 | probability of each label       |
| `regression`     | a number, or several columns of them     | a number for each column        |
| `per-base`       | a letter for every base, `?` if unknown  | probabilities for every base    |

Shape letters: N rows, C classes, labels or quantities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.labels import number_of
from genomeformer_cli.core.formats.labelled import COLUMN

UNKNOWN = "?"
UNKNOWN_CLASS = -1
SEPARATORS = (";", "|", ",")
_MAX_CLASSES = 1_000

TargetArray = npt.NDArray[np.int64] | npt.NDArray[np.float32]


class TaskKind(StrEnum):
    """Kind of a task."""

    CLASSIFICATION = "classification"
    MULTI_LABEL = "multi-label"
    REGRESSION = "regression"
    PER_BASE = "per-base"


@dataclass(frozen=True, kw_only=True)
class LabelSpace:
    """Outputs of a head; saved with it."""

    kind: TaskKind  # Kind of the task.
    names: tuple[str, ...]  # Classes, labels or quantities, in the order of the outputs.
    separator: str = ""  # Separator of the labels of a cell; empty: every label has a column.
    means: tuple[float, ...] = ()  # Means of the quantities in the training rows.
    spreads: tuple[float, ...] = ()  # Standard deviations of the quantities in the training rows.

    @property
    def is_per_base(self) -> bool:
        """True if every base has a label."""
        return self.kind is TaskKind.PER_BASE

    @property
    def is_exclusive(self) -> bool:
        """True if exactly one class is true."""
        return self.kind in (TaskKind.CLASSIFICATION, TaskKind.PER_BASE)


def find_separator(labels: Sequence[str]) -> str:
    """Return the separator of labels in a cell: the first of `;`, `|` and `,` that occurs."""
    return next(
        (separator for separator in SEPARATORS if any(separator in label for label in labels)), ";"
    )


def find_label_space(
    kind: TaskKind, labels: Sequence[str], train_labels: Sequence[str], columns: Sequence[str]
) -> LabelSpace:
    """Collect the classes or the quantities of a task.

    Args:
        kind: Kind of the task.
        labels: Labels of all rows.
        train_labels: Labels of the training rows.
        columns: Names of the label columns.

    Raises:
        InputError: The labels do not fit the kind.
    """
    if kind is TaskKind.REGRESSION:
        values_NC = np.array([_parse_numbers(label, len(columns)) for label in train_labels])
        spreads = values_NC.std(axis=0)
        return LabelSpace(
            kind=kind,
            names=tuple(columns),
            means=tuple(map(float, values_NC.mean(axis=0))),
            spreads=tuple(float(spread) if spread > 0 else 1.0 for spread in spreads),
        )
    separator = ""
    if kind is TaskKind.MULTI_LABEL and len(columns) == 1:
        separator = find_separator(labels)
        names = sorted({part for label in labels for part in _split_label(label, separator)})
    elif kind is TaskKind.MULTI_LABEL:
        names = list(columns)
    elif kind is TaskKind.PER_BASE:
        names = sorted({letter for label in labels for letter in label} - {UNKNOWN})
    else:
        names = sorted(set(labels), key=_natural_order)
    _check_names(kind, names)
    return LabelSpace(kind=kind, names=tuple(names), separator=separator)


def _check_names(kind: TaskKind, names: Sequence[str]) -> None:
    if len(names) < (1 if kind is TaskKind.MULTI_LABEL else 2):
        raise InputError(
            f"a task of {len(names)} classes cannot be learned",
            hint="at least two labels are needed; name their column with `--target`",
        )
    if len(names) > _MAX_CLASSES:
        raise InputError(
            f"{len(names):,} classes are too many to learn",
            hint="are these names or numbers? `--kind regression` learns numbers",
        )


def _natural_order(label: str) -> tuple[float, str]:
    number = number_of(label)
    return (math.inf if number is None else number, label)


def _split_label(label: str, separator: str) -> list[str]:
    return [part.strip() for part in label.split(separator) if part.strip()]


def _parse_numbers(label: str, number: int) -> list[float]:
    values = [number_of(cell) for cell in label.split(COLUMN)]
    if None in values or len(values) != number:
        raise InputError(
            f"`{label.replace(COLUMN, ' ')}` is not a finite number",
            hint="leave the row out, or choose another `--kind`",
        )
    return [value for value in values if value is not None]


def encode_label(label_space: LabelSpace, label: str, where: str, length: int) -> TargetArray:
    """Encode a label for the loss: class numbers, flags of labels, or standardised quantities.

    Args:
        label_space: Classes or quantities.
        label: Label of the file.
        where: Name of the row in an error.
        length: Bases of the row.

    Raises:
        InputError: The label is invalid for the task.
    """
    index = {name: number for number, name in enumerate(label_space.names)}
    if label_space.kind is TaskKind.CLASSIFICATION:
        return np.array([_class_number(index, label, where)], dtype=np.int64)
    if label_space.kind is TaskKind.PER_BASE:
        if len(label) != length:
            raise InputError(
                f"{where} has {length} bases and {len(label)} labels",
                hint="a label of a base is one letter; `?` where it is not known",
            )
        index[UNKNOWN] = UNKNOWN_CLASS
        return np.array([_class_number(index, letter, where) for letter in label], dtype=np.int64)
    if label_space.kind is TaskKind.REGRESSION:
        values = np.array(_parse_numbers(label, len(label_space.names)))
        return ((values - label_space.means) / label_space.spreads).astype(np.float32)
    if not label_space.separator:
        cells = label.split(COLUMN)
        if not set(cells) <= {"0", "1"}:
            raise InputError(
                f"{where}: `{label}` is not 0 or 1", hint="give one column per label, with 0 or 1"
            )
        return np.array(cells, dtype=np.float32)
    flags = np.zeros(len(label_space.names), dtype=np.float32)
    flags[
        [_class_number(index, part, where) for part in _split_label(label, label_space.separator)]
    ] = 1
    return flags


def _class_number(index: dict[str, int], label: str, where: str) -> int:
    if label not in index:
        raise InputError(f"{where} has an unknown label `{label}`", hint="check the table's labels")
    return index[label]
