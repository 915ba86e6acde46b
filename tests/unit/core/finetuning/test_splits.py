"""Rows are divided into training, validation and test rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.finetuning.config import SplitRule
from genomeformer_cli.core.finetuning.splits import split_rows
from genomeformer_cli.core.formats.labelled import Example

PARTS = ("train", "val", "test")


def rows(number: int, *, groups: int = 0, split: str = "") -> list[Example]:
    return [
        Example(str(n), "ACGT", "ab"[n % 10 == 0], split, f"g{n % groups}" if groups else "")
        for n in range(number)
    ]


def labels(examples: list[Example]) -> list[str]:
    return [one.label for one in examples]


def test_classes_are_as_frequent_in_every_part() -> None:
    examples = rows(1_000)
    parts = split_rows(examples, labels(examples), SplitRule())
    assert {name: part.size for name, part in parts.items()} == {
        "train": 700,
        "val": 100,
        "test": 200,
    }
    assert sorted(np.concatenate([parts[name] for name in PARTS])) == list(range(1_000))
    for name in PARTS:
        rare = sum(examples[row].label == "b" for row in parts[name])
        assert rare == pytest.approx(parts[name].size / 10, abs=1)


def test_the_draw_is_that_of_its_seed() -> None:
    examples = rows(300)
    one, again = (split_rows(examples, labels(examples), SplitRule(seed=3)) for _ in range(2))
    other = split_rows(examples, labels(examples), SplitRule(seed=4))
    assert all(np.array_equal(one[name], again[name]) for name in PARTS)
    assert not np.array_equal(one["test"], other["test"])


def test_no_group_is_on_both_sides() -> None:
    examples = rows(400, groups=23)
    parts = split_rows(examples, labels(examples), SplitRule())
    found = [{examples[row].group for row in parts[name]} for name in PARTS]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    assert 0.1 < parts["test"].size / 400 < 0.3
    assert sum(part.size for part in parts.values()) == 400


def test_the_content_of_the_file_is_kept() -> None:
    examples = [*rows(40, split="train"), *rows(10, split="test")]
    parts = split_rows(examples, labels(examples), SplitRule())
    assert parts["test"].tolist() == list(range(40, 50))
    assert parts["val"].size == pytest.approx(4, abs=1)
    whole = [*examples, *rows(5, split="val")]
    assert split_rows(whole, labels(whole), SplitRule())["val"].tolist() == list(range(50, 55))
    untested = [*rows(100, split="train"), *rows(5, split="val")]
    assert split_rows(untested, labels(untested), SplitRule())["test"].size == 20


def test_what_cannot_be_parted() -> None:
    some = [*rows(4, split="train"), *rows(4)]
    with pytest.raises(InputError, match=r"rows have no `split`, the others do: row \d"):
        split_rows(some, labels(some), SplitRule())
    alone = rows(20, groups=1)
    with pytest.raises(InputError, match="groups"):
        split_rows(alone, labels(alone), SplitRule())
    only = rows(8, split="test")
    with pytest.raises(InputError, match="`train`"):
        split_rows(only, labels(only), SplitRule())
    with pytest.raises(ConfigError, match="invalid fractions"):
        SplitRule(validation=0.5, test=0.5)


def test_a_rare_class_is_not_lost_to_one_part_only() -> None:
    examples = [Example(str(n), "ACGT", f"c{n // 4}") for n in range(400)]
    parts = split_rows(examples, labels(examples), SplitRule())
    counts = Counter(examples[row].label for row in parts["train"])
    assert len(counts) == 100
