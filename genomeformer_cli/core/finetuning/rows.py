"""Labelled rows, ready to be learned from: base codes, labels as numbers, which part each is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import Example
from genomeformer_cli.core.finetuning.config import SplitRule
from genomeformer_cli.core.finetuning.splits import TRAIN, Rows, split_rows
from genomeformer_cli.core.finetuning.targets import (
    Targets,
    TaskKind,
    Truth,
    as_numbers,
    find_targets,
    infer_kind,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """What is learned from.

    Attributes:
        name: Of the task.
        codes: Base codes of each row.
        truth: Its label as numbers: one class; a flag a label; a quantity each; a class a base.
        parts: Rows to train on, to choose on, to test on.
        groups: What each is a relative of; of none, itself.
        targets: What is asked.
        official_split: Whether the file says which row is in which part.
    """

    name: str
    codes: Sequence[Codes]
    truth: Sequence[Truth]
    groups: Sequence[str]
    parts: Mapping[str, Rows]
    targets: Targets
    official_split: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a file says.

    Attributes:
        name: Of the task.
        examples: Its rows.
        columns: Where the labels stood.
    """

    name: str
    examples: Sequence[Example]
    columns: Sequence[str]


def label_rows(
    table: Table, *, kind: TaskKind | None, rule: SplitRule, reporter: Reporter
) -> LabelledRows:
    """Make rows of what a file says.

    Args:
        table: What it says.
        kind: Of the task; None: what the labels look like.
        rule: How rows are parted where the file does not say.
        reporter: Is told what was taken for granted.

    Raises:
        InputError: The labels are not of that kind, or a part has no rows.
        AlphabetError: A sequence holds a letter that is no nucleotide.
    """
    name, examples = table.name, table.examples
    codes = [encode_bases(one.sequence, where=f"`{name}`: `{one.id}`") for one in examples]
    real = [bool((row < NUM_REAL_BASES).any()) for row in codes]
    if not all(real):
        reporter.warn(
            f"`{name}`: {real.count(False)} sequences hold no base but N; they are left out"
        )
        examples = [one for one, kept in zip(examples, real, strict=True) if kept]
        codes = [row for row, kept in zip(codes, real, strict=True) if kept]
    if not examples:
        raise InputError(f"`{name}` holds no labelled sequence", hint="check the table")
    labels = [one.label for one in examples]
    if kind is None:
        kind = infer_kind(labels, [row.size for row in codes])
    drawn_alike = kind is TaskKind.CLASSIFICATION
    parts = split_rows(examples, labels if drawn_alike else [""] * len(labels), rule)
    targets = find_targets(kind, labels, [labels[row] for row in parts[TRAIN]], table.columns)
    truth = [
        as_numbers(targets, one.label, f"`{name}`: `{one.id}`", row.size)
        for one, row in zip(examples, codes, strict=True)
    ]
    return LabelledRows(
        name=name,
        codes=codes,
        truth=truth,
        groups=[one.group or f"row {row}" for row, one in enumerate(examples)],
        parts=parts,
        targets=targets,
        official_split=bool(examples[0].split),
    )


def class_weights(rows: LabelledRows, *, balanced: bool) -> list[float]:
    """What a true class (of several labels: a label that holds) counts in the loss.

    Classes: rows over classes times rows of the class. Labels: rows without over rows with it.
    """
    targets = rows.targets
    if not balanced or targets.kind is TaskKind.REGRESSION:
        return [1.0] * len(targets.names)
    truth = [rows.truth[row] for row in rows.parts[TRAIN]]
    if targets.kind is TaskKind.MULTI_LABEL:
        held = np.stack(truth).sum(axis=0)
        return [float((len(truth) - one) / max(one, 1)) for one in held]
    flat = np.concatenate(truth)
    counts = np.bincount(flat[flat >= 0].astype(np.int64), minlength=len(targets.names))
    return [float(counts.sum() / (len(targets.names) * max(one, 1))) for one in counts]
