"""Labelled rows for training: base codes, numeric labels, and the split of each row."""

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
    TargetArray,
    TaskKind,
    encode_label,
    find_label_space,
)
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION, RowIndices, split_rows
from genomeformer_cli.core.formats.labelled import (
    Example,
    LabelledFile,
    RowCount,
    is_missing_sequence,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, has_real_token

ONLY_N = "with a sequence of N alone"
_NUM_PARTS = 3
_MAX_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Training, validation and test rows."""

    name: str  # Name of the task.
    examples: Sequence[Example]  # Rows of the file.
    codes: Sequence[Codes]  # Base codes of each row.
    # Numeric label of each row: one class; flags; quantities; a class per base.
    targets: Sequence[TargetArray]
    groups: Sequence[str]  # Group of each row; a row without one is a group of its own.
    splits: Mapping[str, RowIndices]  # Training, validation and test rows.
    label_space: LabelSpace  # Classes or quantities.
    official_split: bool  # True if the file defines the split.
    count: RowCount  # Rows of the file.
    duplicates: Duplicates  # Test rows whose sequence also occurs in training or validation rows.
    notes: tuple[str, ...]  # Number of rows read, and every inferred setting.


@dataclass(frozen=True, kw_only=True)
class LabelledTable:
    """Labelled sequences of a task as read."""

    name: str  # Name of the task.
    examples: Sequence[Example]  # Rows.
    columns: Sequence[str]  # Columns of the labels.
    count: RowCount | None = None  # Rows of the file; None: the examples are all of them.
    notes: tuple[str, ...] = ()  # Interpretations that a user may want to check.

    @property
    def file(self) -> LabelledFile:
        """Rows and their count."""
        number = len(self.examples)
        count = self.count or RowCount(read=number, used=number)
        return LabelledFile(examples=tuple(self.examples), count=count, notes=self.notes)


def label_rows(
    table: LabelledTable,
    *,
    kind: TaskKind | None,
    split: SplitRule,
    reporter: Reporter,
    missing: Missing = Missing.REFUSE,
) -> LabelledRows:
    """Build the labelled rows of a table.

    Args:
        table: Labelled sequences.
        kind: Kind of the task; None: inferred from the labels.
        split: Split of rows for a file without a split.
        reporter: Receives warnings.
        missing: Treatment of rows without a label or a sequence.

    Raises:
        InputError: The labels do not fit the kind, or a split has no rows.
        AlphabetError: A sequence holds a letter that is not a nucleotide code.
    """
    name = table.name
    if not table.examples:
        raise InputError(f"`{name}` holds no labelled sequence", hint="check the table")
    inferred = kind is None
    kind = kind or _infer_kind(table)
    lacks_label, hint = missing_test(kind, len(table.columns), inferred=inferred)
    file = without_missing(table.file, name, missing, lacks_label, hint)
    codes = [
        encode_bases(example.sequence, where=f"`{name}`: `{example.id}`")
        for example in file.examples
    ]
    file, codes = _without_only_n(file, codes, name)
    examples = file.examples
    labels = [example.label for example in examples]
    if inferred:
        check_inferred(kind, labels, name)
    elif warning := spelling_warning(kind, labels, name):
        reporter.warn(warning)
    if kind is TaskKind.REGRESSION:
        check_quantities(examples, name)
    is_stratified = kind is TaskKind.CLASSIFICATION
    splits = split_rows(examples, labels if is_stratified else [""] * len(labels), split)
    label_space = find_label_space(
        kind, labels, [labels[row] for row in splits[TRAIN]], table.columns
    )
    targets = [
        encode_label(
            label_space, example.label, f"`{name}`: row {example.row} (`{example.id}`)", row.size
        )
        for example, row in zip(examples, codes, strict=True)
    ]
    seen_rows = np.concatenate([splits[TRAIN], splits[VALIDATION]]).tolist()
    rows = LabelledRows(
        name=name,
        examples=examples,
        codes=codes,
        targets=targets,
        groups=[example.group or f"row {row}" for row, example in enumerate(examples)],
        splits=splits,
        label_space=label_space,
        official_split=any(example.split == TEST for example in examples),
        count=file.count,
        duplicates=find_duplicates(codes, [(seen_rows, splits[TEST].tolist())]),
        notes=(
            *_notes(table, file.count, label_space, inferred=inferred),
            *_drawn_splits(name, examples, splits),
        ),
    )
    if file.count.left_out:
        reporter.warn(f"`{name}`: {file.count.sentence()}")
    if rows.duplicates.exist:
        reporter.warn(rows.duplicates.warning(name))
    if is_stratified:
        _check_class_counts(rows, labels, reporter)
    return rows


def _infer_kind(table: LabelledTable) -> TaskKind:
    lengths = [
        0 if is_missing_sequence(example.sequence) else len(example.sequence)
        for example in table.examples
    ]
    labels, rows = (
        [example.label for example in table.examples],
        [example.row for example in table.examples],
    )
    return infer_kind(labels, lengths, table.name, rows if all(rows) else None)


def _without_only_n(
    file: LabelledFile, codes: list[Codes], name: str
) -> tuple[LabelledFile, list[Codes]]:
    real = [bool((row < NUM_REAL_BASES).any()) for row in codes]
    if all(real):
        return file, codes
    if not any(real):
        raise InputError(f"`{name}`: every sequence is N alone", hint="check the sequences")
    examples = tuple(
        example for example, is_real in zip(file.examples, real, strict=True) if is_real
    )
    count = file.count.without(ONLY_N, real.count(False))
    real_codes = [row for row, is_real in zip(codes, real, strict=True) if is_real]
    return replace(file, examples=examples, count=count), real_codes


def _drawn_splits(
    name: str, examples: Sequence[Example], splits: Mapping[str, RowIndices]
) -> Iterator[str]:
    """Yield a note for every split that a file with a column `split` does not name."""
    file_splits = {example.split for example in examples}
    for split in (VALIDATION, TEST):
        if TRAIN in file_splits and split not in file_splits:
            size = splits[split].size
            yield f"`{name}`: no row is named `{split}`: {size:,} are drawn from `train`"


def _notes(
    table: LabelledTable, count: RowCount, label_space: LabelSpace, *, inferred: bool
) -> Iterator[str]:
    yield from table.notes
    if not count.left_out:
        yield f"`{table.name}`: {count.sentence()}"
    if inferred:
        names = label_space.names
        listing = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
        yield (
            f"`{table.name}`: labels read as {label_space.kind.value} ({len(names)}: {listing}); "
            "`--kind` overrides"
        )


def _check_class_counts(rows: LabelledRows, labels: Sequence[str], reporter: Reporter) -> None:
    """Warn about classes that are too rare for every split.

    Raises:
        InputError: All training rows have the same class.
    """
    sizes = Counter(labels)
    rare = [label for label in rows.label_space.names if sizes[label] < _NUM_PARTS]
    train_labels = {labels[row] for row in rows.splits[TRAIN]}
    if rare:
        reporter.warn(
            f"`{rows.name}`: classes of one or two rows cannot be in train, validation and test: "
            + _list_labels(rare, sizes)
        )
    untrained = [label for label in rows.label_space.names if label not in train_labels]
    if len(train_labels) < 2:
        raise InputError(
            f"`{rows.name}`: all training rows are of the class `{next(iter(train_labels))}`",
            hint="give more rows of the other classes, or a column `split`",
        )
    if untrained:
        reporter.warn(
            f"`{rows.name}`: classes without a training row, which cannot be learned: "
            + _list_labels(untrained, sizes)
        )


def _list_labels(labels: Sequence[str], sizes: Mapping[str, int]) -> str:
    listing = ", ".join(f"`{label}` ({sizes[label]})" for label in labels[:_MAX_NAMED])
    return listing + (f" and {len(labels) - _MAX_NAMED} more" if len(labels) > _MAX_NAMED else "")


def class_weights(rows: LabelledRows, *, balanced: bool) -> list[float]:
    """Return the loss weight of every class (with several labels: of a positive label).

    Classes: rows over classes times rows of the class. Labels: negative rows over positive rows.
    """
    label_space = rows.label_space
    if not balanced or label_space.kind is TaskKind.REGRESSION:
        return [1.0] * len(label_space.names)
    train_targets = [rows.targets[row] for row in rows.splits[TRAIN]]
    if label_space.kind is TaskKind.MULTI_LABEL:
        num_positive_C = np.stack(train_targets).sum(axis=0)
        return [
            float((len(train_targets) - num_positive) / max(num_positive, 1))
            for num_positive in num_positive_C
        ]
    targets_N = np.concatenate(train_targets)
    counts = np.bincount(
        targets_N[targets_N >= 0].astype(np.int64), minlength=len(label_space.names)
    )
    return [
        float(counts.sum() / (len(label_space.names) * max(class_size, 1))) for class_size in counts
    ]


def check_tokens(rows: LabelledRows, tokenizer: Tokenizer) -> None:
    """Check that every sequence has a token of A C G T only.

    Raises:
        InputError: Some are shorter than a token.
    """
    shorter = [
        example.id
        for example, codes in zip(rows.examples, rows.codes, strict=True)
        if not has_real_token(tokenizer, codes)
    ]
    if shorter:
        raise InputError(
            f"`{rows.name}`: {len(shorter):,} of {len(rows.codes):,} sequences hold no whole token "
            f"of A C G T, the first is `{shorter[0]}`",
            hint="leave them out, or choose a model whose tokens are single bases",
        )
