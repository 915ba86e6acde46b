"""What is asked: the kind of a task, its classes or quantities, and labels as numbers.

| kind             | a label                                  | an answer                       |
|------------------|------------------------------------------|---------------------------------|
| `classification` | one of several classes                   | a probability of each           |
| `multi-label`    | any number of several, or columns of 0/1 | a probability of each           |
| `regression`     | a number, or several columns of them     | a number of each                |
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
_MOST_CLASSES = 1_000

Truth = npt.NDArray[np.int64] | npt.NDArray[np.float32]


class TaskKind(StrEnum):
    """What is asked."""

    CLASSIFICATION = "classification"
    MULTI_LABEL = "multi-label"
    REGRESSION = "regression"
    PER_BASE = "per-base"


@dataclass(frozen=True, kw_only=True)
class LabelSpace:
    """What a head answers; saved with it.

    Attributes:
        kind: Of the task.
        names: Classes, labels or quantities, in the order of the outputs.
        separator: Between the labels of a cell; empty: every label has a column.
        means: Of the quantities in the training rows.
        spreads: Their standard deviations.
    """

    kind: TaskKind
    names: tuple[str, ...]
    separator: str = ""
    means: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()

    @property
    def is_per_base(self) -> bool:
        """Whether every base has an answer."""
        return self.kind is TaskKind.PER_BASE

    @property
    def is_exclusive(self) -> bool:
        """Whether exactly one class is true."""
        return self.kind in (TaskKind.CLASSIFICATION, TaskKind.PER_BASE)


def find_separator(labels: Sequence[str]) -> str:
    """What stands between the labels of a cell: the first of `;`, `|` and `,` that occurs."""
    return next((one for one in SEPARATORS if any(one in label for label in labels)), ";")


def find_label_space(
    kind: TaskKind, labels: Sequence[str], trained: Sequence[str], columns: Sequence[str]
) -> LabelSpace:
    """Classes or quantities.

    Args:
        kind: Of the task.
        labels: Of all rows.
        trained: Of the rows that are learned from.
        columns: Names of the columns that the labels stood in.

    Raises:
        InputError: The labels are not of that kind.
    """
    if kind is TaskKind.REGRESSION:
        values_NC = np.array([_numbers(label, len(columns)) for label in trained])
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
        names = sorted({part for label in labels for part in _parts(label, separator)})
    elif kind is TaskKind.MULTI_LABEL:
        names = list(columns)
    elif kind is TaskKind.PER_BASE:
        names = sorted({letter for label in labels for letter in label} - {UNKNOWN})
    else:
        names = sorted(set(labels), key=_as_a_person_would)
    _check_names(kind, names)
    return LabelSpace(kind=kind, names=tuple(names), separator=separator)


def _check_names(kind: TaskKind, names: Sequence[str]) -> None:
    if len(names) < (1 if kind is TaskKind.MULTI_LABEL else 2):
        raise InputError(
            f"a task of {len(names)} classes: there is nothing to tell apart",
            hint="at least two labels are needed; name their column with `--target`",
        )
    if len(names) > _MOST_CLASSES:
        raise InputError(
            f"{len(names):,} classes are too many to learn",
            hint="are these names or numbers? `--kind regression` learns numbers",
        )


def _as_a_person_would(label: str) -> tuple[float, str]:
    number = number_of(label)
    return (math.inf if number is None else number, label)


def _parts(label: str, separator: str) -> list[str]:
    return [part.strip() for part in label.split(separator) if part.strip()]


def _numbers(label: str, number: int) -> list[float]:
    values = [number_of(cell) for cell in label.split(COLUMN)]
    if None in values or len(values) != number:
        raise InputError(
            f"`{label.replace(COLUMN, ' ')}` is not a finite number",
            hint="leave the row out, or choose another `--kind`",
        )
    return [value for value in values if value is not None]


def as_numbers(targets: LabelSpace, label: str, where: str, length: int) -> Truth:
    """A label as the loss takes it: class numbers, flags of labels, or standardised quantities.

    Args:
        targets: What is asked.
        label: As it stands in the file.
        where: Names the row in an error.
        length: Bases of the row.

    Raises:
        InputError: The label is none of this task.
    """
    index = {name: number for number, name in enumerate(targets.names)}
    if targets.kind is TaskKind.CLASSIFICATION:
        return np.array([_class(index, label, where)], dtype=np.int64)
    if targets.kind is TaskKind.PER_BASE:
        if len(label) != length:
            raise InputError(
                f"{where} has {length} bases and {len(label)} labels",
                hint="a label of a base is one letter; `?` where it is not known",
            )
        index[UNKNOWN] = UNKNOWN_CLASS
        return np.array([_class(index, letter, where) for letter in label], dtype=np.int64)
    if targets.kind is TaskKind.REGRESSION:
        values = np.array(_numbers(label, len(targets.names)))
        return ((values - targets.means) / targets.spreads).astype(np.float32)
    if not targets.separator:
        cells = label.split(COLUMN)
        if not set(cells) <= {"0", "1"}:
            raise InputError(f"{where}: `{label}` is not 0 or 1", hint="a column a label, 0 or 1")
        return np.array(cells, dtype=np.float32)
    flags = np.zeros(len(targets.names), dtype=np.float32)
    flags[[_class(index, part, where) for part in _parts(label, targets.separator)]] = 1
    return flags


def _class(index: dict[str, int], label: str, where: str) -> int:
    if label not in index:
        raise InputError(
            f"{where} has a label `{label}` that is not known", hint="check the table's labels"
        )
    return index[label]
