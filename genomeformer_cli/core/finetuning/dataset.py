"""Labelled rows, ready to be learned from: base codes, labels as numbers, the part of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.duplicates import Duplicates, find_duplicates
from genomeformer_cli.core.evaluation.labels import Missing, without_missing
from genomeformer_cli.core.finetuning.config import SplitRule
from genomeformer_cli.core.finetuning.kinds import (
    check_inferred,
    check_quantities,
    infer_kind,
    missing_test,
    spelling_warning,
)
from genomeformer_cli.core.finetuning.labels import (
    LabelSpace,
    TaskKind,
    Truth,
    as_numbers,
    find_label_space,
)
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION, Rows, split_rows
from genomeformer_cli.core.formats.labelled import (
    Example,
    LabelledFile,
    RowCount,
    is_missing_sequence,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases

ONLY_N = "with a sequence of N alone"
_NUM_PARTS = 3
_MAX_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Rows to learn from, choose on and test on.

    Attributes:
        name: Name of the task.
        examples: Rows as they stand in the file.
        codes: Base codes of each row.
        truth: Label of each row as numbers: one class; flags; quantities; a class per base.
        parts: Rows to train on, to choose on, to test on.
        groups: Group of each row; a row without one is a group of its own.
        targets: Classes or quantities.
        official_split: True where the file says which row is in which part.
        count: Rows of the file.
        duplicates: Test rows whose sequence also stands in another part.
        notes: Rows read, and everything that was inferred.
    """

    name: str
    examples: Sequence[Example]
    codes: Sequence[Codes]
    truth: Sequence[Truth]
    groups: Sequence[str]
    parts: Mapping[str, Rows]
    targets: LabelSpace
    official_split: bool
    count: RowCount
    duplicates: Duplicates
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Labelled sequences of a task as they were read.

    Attributes:
        name: Name of the task.
        examples: Rows.
        columns: Columns of the labels.
        count: Rows of the file; None: the examples are all of them.
        notes: Readings that a person may want to check.
    """

    name: str
    examples: Sequence[Example]
    columns: Sequence[str]
    count: RowCount | None = None
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> LabelledFile:
        """Rows and their count."""
        number = len(self.examples)
        count = self.count or RowCount(read=number, used=number)
        return LabelledFile(examples=tuple(self.examples), count=count, notes=self.notes)


def label_rows(
    table: Table,
    *,
    kind: TaskKind | None,
    rule: SplitRule,
    reporter: Reporter,
    missing: Missing = Missing.REFUSE,
) -> LabelledRows:
    """Make rows of a table.

    Args:
        table: Labelled sequences.
        kind: Kind of the task; None: inferred from the labels.
        rule: Split of rows where the file does not say.
        reporter: Receives warnings.
        missing: Treatment of rows without a label or a sequence.

    Raises:
        InputError: The labels are not of that kind, or a part has no rows.
        AlphabetError: A sequence holds a letter that is not a nucleotide code.
    """
    name = table.name
    if not table.examples:
        raise InputError(f"`{name}` holds no labelled sequence", hint="check the table")
    inferred = kind is None
    kind = kind or _inferred(table)
    lacks_label, hint = missing_test(kind, len(table.columns), inferred=inferred)
    file = without_missing(table.file, name, missing, lacks_label, hint)
    codes = [encode_bases(one.sequence, where=f"`{name}`: `{one.id}`") for one in file.examples]
    file, codes = _without_only_n(file, codes, name)
    examples = file.examples
    labels = [one.label for one in examples]
    if inferred:
        check_inferred(kind, labels, name)
    elif warning := spelling_warning(kind, labels, name):
        reporter.warn(warning)
    if kind is TaskKind.REGRESSION:
        check_quantities(examples, name)
    drawn_alike = kind is TaskKind.CLASSIFICATION
    parts = split_rows(examples, labels if drawn_alike else [""] * len(labels), rule)
    targets = find_label_space(kind, labels, [labels[row] for row in parts[TRAIN]], table.columns)
    truth = [
        as_numbers(targets, one.label, f"`{name}`: row {one.row} (`{one.id}`)", row.size)
        for one, row in zip(examples, codes, strict=True)
    ]
    known = np.concatenate([parts[TRAIN], parts[VALIDATION]]).tolist()
    rows = LabelledRows(
        name=name,
        examples=examples,
        codes=codes,
        truth=truth,
        groups=[one.group or f"row {row}" for row, one in enumerate(examples)],
        parts=parts,
        targets=targets,
        official_split=any(one.split == TEST for one in examples),
        count=file.count,
        duplicates=find_duplicates(codes, [(known, parts[TEST].tolist())]),
        notes=(
            *_notes(table, file.count, targets, inferred=inferred),
            *_drawn_parts(name, examples, parts),
        ),
    )
    if file.count.left_out:
        reporter.warn(f"`{name}`: {file.count.sentence()}")
    if rows.duplicates.exist:
        reporter.warn(rows.duplicates.warning(name))
    if drawn_alike:
        _check_classes_of_parts(rows, labels, reporter)
    return rows


def _inferred(table: Table) -> TaskKind:
    lengths = [
        0 if is_missing_sequence(one.sequence) else len(one.sequence) for one in table.examples
    ]
    labels, rows = ([one.label for one in table.examples], [one.row for one in table.examples])
    return infer_kind(labels, lengths, table.name, rows if all(rows) else None)


def _without_only_n(
    file: LabelledFile, codes: list[Codes], name: str
) -> tuple[LabelledFile, list[Codes]]:
    real = [bool((row < NUM_REAL_BASES).any()) for row in codes]
    if all(real):
        return file, codes
    if not any(real):
        raise InputError(f"`{name}`: every sequence is N alone", hint="check the sequences")
    examples = tuple(one for one, kept in zip(file.examples, real, strict=True) if kept)
    count = file.count.without(ONLY_N, real.count(False))
    kept_codes = [row for row, kept in zip(codes, real, strict=True) if kept]
    return replace(file, examples=examples, count=count), kept_codes


def _drawn_parts(
    name: str, examples: Sequence[Example], parts: Mapping[str, Rows]
) -> Iterator[str]:
    """Yield a note for every part that a file with a split does not name."""
    named = {one.split for one in examples}
    for part in (VALIDATION, TEST):
        if TRAIN in named and part not in named:
            yield f"`{name}`: no row is named `{part}`: {parts[part].size:,} are drawn from `train`"


def _notes(table: Table, count: RowCount, targets: LabelSpace, *, inferred: bool) -> Iterator[str]:
    yield from table.notes
    if not count.left_out:
        yield f"`{table.name}`: {count.sentence()}"
    if inferred:
        names = targets.names
        shown = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
        yield (
            f"`{table.name}`: labels read as {targets.kind.value} ({len(names)}: {shown}); "
            "`--kind` overrides"
        )


def _check_classes_of_parts(rows: LabelledRows, labels: Sequence[str], reporter: Reporter) -> None:
    """Warn of classes that are too rare to be in every part.

    Raises:
        InputError: The training rows are of a single class.
    """
    sizes = Counter(labels)
    rare = [label for label in rows.targets.names if sizes[label] < _NUM_PARTS]
    trained = {labels[row] for row in rows.parts[TRAIN]}
    if rare:
        reporter.warn(
            f"`{rows.name}`: classes of one or two rows cannot be in train, validation and test: "
            + _listed(rare, sizes)
        )
    unlearned = [label for label in rows.targets.names if label not in trained]
    if len(trained) < 2:
        raise InputError(
            f"`{rows.name}`: all training rows are of the class `{next(iter(trained))}`",
            hint="give more rows of the other classes, or a column `split`",
        )
    if unlearned:
        reporter.warn(
            f"`{rows.name}`: classes without a training row, which cannot be learned: "
            + _listed(unlearned, sizes)
        )


def _listed(labels: Sequence[str], sizes: Mapping[str, int]) -> str:
    named = ", ".join(f"`{label}` ({sizes[label]})" for label in labels[:_MAX_NAMED])
    return named + (f" and {len(labels) - _MAX_NAMED} more" if len(labels) > _MAX_NAMED else "")


def class_weights(rows: LabelledRows, *, balanced: bool) -> list[float]:
    """Return the weight of every class in the loss (of several labels: of a label that holds).

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
