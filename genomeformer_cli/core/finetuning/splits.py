"""Rows to train on, to choose on and to test on.

The split of the file is kept. Else rows are drawn: each class alike, or whole groups, so that no
group stands on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.finetuning.config import SplitRule
from genomeformer_cli.core.formats.labelled import Example

TRAIN, VALIDATION, TEST = "train", "val", "test"
Rows = npt.NDArray[np.int64]
_MAX_NAMED = 5


def split_rows(
    examples: Sequence[Example], strata: Sequence[str], rule: SplitRule
) -> Mapping[str, Rows]:
    """Rows of each part.

    Args:
        examples: All rows.
        strata: What is to be as frequent in every part: classes, or empty.
        rule: For what the file does not say.

    Raises:
        InputError: A part would have no rows.
    """
    said = np.array([one.split for one in examples])
    groups = _groups(examples)
    generator = np.random.default_rng([rule.seed, 11])
    everyone = np.arange(len(examples))
    if not said.astype(np.bool_).any():
        test, rest = _drawn(everyone, groups, strata, rule.test, generator)
        validation, train = _drawn(
            rest, groups, strata, rule.validation / (1 - rule.test), generator
        )
    elif (said == "").any():
        lacking = [one.row or place for place, one in enumerate(examples, 1) if not one.split]
        named = ", ".join(map(str, lacking[:_MAX_NAMED])) + (
            ", ..." if len(lacking) > _MAX_NAMED else ""
        )
        raise InputError(
            f"{len(lacking):,} of {len(examples):,} rows have no `split`, the others do: "
            f"row {named}",
            hint="give every row `train`, `val` or `test`, or none",
        )
    else:
        train, validation, test = (
            np.flatnonzero(said == part) for part in (TRAIN, VALIDATION, TEST)
        )
        if train.size and not test.size:
            test, train = _drawn(train, groups, strata, rule.test, generator)
        if train.size and not validation.size:
            validation, train = _drawn(train, groups, strata, rule.validation, generator)
    parts = {TRAIN: train, VALIDATION: validation, TEST: test}
    for name, rows in parts.items():
        if not rows.size:
            raise InputError(
                f"of {len(examples)} rows none are left for the part `{name}`",
                hint="give more rows, or groups that can be parted",
            )
    return {name: np.sort(rows) for name, rows in parts.items()}


def _groups(examples: Sequence[Example]) -> npt.NDArray[np.str_]:
    """The group of every row; one of its own where none is given; empty if no row has one."""
    if not any(one.group for one in examples):
        return np.array([], dtype=np.str_)
    return np.array([one.group or f"\0{number}" for number, one in enumerate(examples)])


def _drawn(
    rows: Rows,
    groups: npt.NDArray[np.str_],
    strata: Sequence[str],
    share: float,
    generator: np.random.Generator,
) -> tuple[Rows, Rows]:
    """About that share of the rows, and the rest."""
    if groups.size:
        chosen = _whole_groups(groups[rows], share, generator)
    else:
        chosen = np.zeros(rows.size, dtype=np.bool_)
        names = np.array([strata[row] for row in rows])
        for name in np.unique(names):
            of_it = generator.permutation(np.flatnonzero(names == name))
            number = of_it.size * share
            # A class of few rows gives one more now and then, by chance.
            some = int(number) + int(generator.random() < number - int(number))
            chosen[of_it[:some]] = True
    return rows[chosen], rows[~chosen]


def _whole_groups(
    groups_N: npt.NDArray[np.str_], share: float, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    names, member_N, sizes = np.unique(groups_N, return_inverse=True, return_counts=True)
    wanted, taken = share * groups_N.size, 0
    chosen = np.zeros(names.size, dtype=np.bool_)
    for group in generator.permutation(names.size):
        # A group that would lead further from the share than to it stays.
        if abs(taken + sizes[group] - wanted) < abs(taken - wanted):
            chosen[group] = True
            taken += int(sizes[group])
    if chosen.all() or not chosen.any():
        raise InputError(
            f"{names.size} groups cannot be parted into {share:.0%} and the rest",
            hint="choose another `--group`, or other shares",
        )
    return np.asarray(chosen[member_N], dtype=np.bool_)
