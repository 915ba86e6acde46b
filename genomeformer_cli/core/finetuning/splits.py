"""Training, validation and test rows.

A split of the file is kept. Otherwise rows are drawn stratified by class, or in whole groups, so
that no group occurs in two splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.finetuning.config import SplitRule
from genomeformer_cli.core.formats.labelled import Example
from genomeformer_cli.core.proposals import count_noun

TRAIN, VALIDATION, TEST = "train", "val", "test"
RowIndices = npt.NDArray[np.int64]
_MAX_NAMED = 5


def split_rows(
    examples: Sequence[Example], strata: Sequence[str], config: SplitRule
) -> Mapping[str, RowIndices]:
    """Return the rows of each split.

    Args:
        examples: All rows.
        strata: Strata with equal fractions in every split: classes, or empty.
        config: Fractions and seed for a file without a split.

    Raises:
        InputError: A split would have no rows.
    """
    file_splits = np.array([example.split for example in examples])
    groups = _groups(examples)
    generator = np.random.default_rng([config.seed, 11])
    all_rows = np.arange(len(examples))
    if not file_splits.astype(np.bool_).any():
        test, remaining = _draw(all_rows, groups, strata, config.test, generator)
        validation, train = _draw(
            remaining, groups, strata, config.validation / (1 - config.test), generator
        )
    elif (file_splits == "").any():
        unassigned = [
            example.row or row for row, example in enumerate(examples, 1) if not example.split
        ]
        listing = ", ".join(map(str, unassigned[:_MAX_NAMED])) + (
            ", ..." if len(unassigned) > _MAX_NAMED else ""
        )
        raise InputError(
            f"{len(unassigned):,} of {len(examples):,} rows have no `split`, the others do: "
            f"row {listing}",
            hint="give every row `train`, `val` or `test`, or none",
        )
    else:
        train, validation, test = (
            np.flatnonzero(file_splits == split) for split in (TRAIN, VALIDATION, TEST)
        )
        if train.size and not test.size:
            test, train = _draw(train, groups, strata, config.test, generator)
        if train.size and not validation.size:
            validation, train = _draw(train, groups, strata, config.validation, generator)
    splits = {TRAIN: train, VALIDATION: validation, TEST: test}
    for name, rows in splits.items():
        if not rows.size:
            raise InputError(
                f"{count_noun(len(examples), 'row')} cannot fill the split `{name}`",
                hint="give more rows, or smaller groups",
            )
    return {name: np.sort(rows) for name, rows in splits.items()}


def _groups(examples: Sequence[Example]) -> npt.NDArray[np.str_]:
    """Return the group of every row, unique if none is given; empty if no row has one."""
    if not any(example.group for example in examples):
        return np.array([], dtype=np.str_)
    return np.array([example.group or f"\0{row}" for row, example in enumerate(examples)])


def _draw(
    rows: RowIndices,
    groups: npt.NDArray[np.str_],
    strata: Sequence[str],
    fraction: float,
    generator: np.random.Generator,
) -> tuple[RowIndices, RowIndices]:
    """Draw about a fraction of the rows; return the drawn rows and the remaining rows."""
    if groups.size:
        selected = _draw_groups(groups[rows], fraction, generator)
    else:
        selected = np.zeros(rows.size, dtype=np.bool_)
        names = np.array([strata[row] for row in rows])
        for name in np.unique(names):
            members = generator.permutation(np.flatnonzero(names == name))
            expected = members.size * fraction
            # A class of few rows gives one more now and then, by chance.
            num_drawn = int(expected) + int(generator.random() < expected - int(expected))
            selected[members[:num_drawn]] = True
    return rows[selected], rows[~selected]


def _draw_groups(
    groups_N: npt.NDArray[np.str_], fraction: float, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    names, member_N, sizes = np.unique(groups_N, return_inverse=True, return_counts=True)
    target_size, num_taken = fraction * groups_N.size, 0
    selected = np.zeros(names.size, dtype=np.bool_)
    for group in generator.permutation(names.size):
        # A group that would lead further from the share than to it stays.
        if abs(num_taken + sizes[group] - target_size) < abs(num_taken - target_size):
            selected[group] = True
            num_taken += int(sizes[group])
    if selected.all() or not selected.any():
        raise InputError(
            f"{names.size} groups cannot be divided into {fraction:.0%} and the rest",
            hint="choose another `--group`, or other shares",
        )
    return np.asarray(selected[member_N], dtype=np.bool_)
