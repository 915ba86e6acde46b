"""Kinds of tasks: stated where the labels are plain, refused by name where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.labels import Missing, same_but_for_spelling, without_missing
from genomeformer_cli.core.finetuning.kinds import (
    check_inferred,
    check_quantities,
    infer_kind,
    missing_test,
)
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.formats.labelled import Example, LabelledFile, RowCount
from tests.strategies import repeatable

CLASSES, MULTI = TaskKind.CLASSIFICATION, TaskKind.MULTI_LABEL
NUMBERS, PER_BASE = TaskKind.REGRESSION, TaskKind.PER_BASE


def kind_of(labels: list[str], length: int = 9) -> TaskKind:
    kind = infer_kind(labels, [length] * len(labels), "t")
    check_inferred(kind, [label for label in labels if label], "t")
    return kind


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["pos", "neg", "pos", "neg"], CLASSES),
        (["HA", "NA", "PB1"] * 4, CLASSES),
        (["none", "some"] * 4, CLASSES),
        (["0", "1", ""] * 4, CLASSES),
        (["1", "2", "X", "Y", "MT", "KI", "GL"] * 4, CLASSES),
        ([str(number % 20) for number in range(60)], CLASSES),
        ([f"{number / 7:.3f}" for number in range(40)], NUMBERS),
        (["-1e-3", "", "2.5", "3"], NUMBERS),
        (["a;b", "a", "b"] * 2, MULTI),
        (["1\t0", "0\t0"], MULTI),
        (["1.5\t0", "0\tNA"], NUMBERS),
    ],
)
def test_plain_labels(labels: list[str], kind: TaskKind) -> None:
    assert kind_of(labels) is kind


@pytest.mark.parametrize("hole", ["NA", "inf", "-inf", "0,53", "n/a", "None", "x", "1_000", "٣"])
@pytest.mark.parametrize("whole", [True, False])
def test_numbers_with_one_cell_that_is_none_name_kind_and_row(hole: str, whole: bool) -> None:
    labels = [str(number % 2) if whole else f"{number / 7:.3f}" for number in range(40)]
    labels[5] = hole
    with pytest.raises(InputError, match=r"39 of 40 labels are numbers.*row 6") as caught:
        kind_of(labels)
    assert "--kind" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([f"c{number}" for number in range(30)], "30 different labels in 30 rows"),
        ([str(number % 21) for number in range(105)], "21 different whole numbers"),
        (["pos", "Pos", "neg"] * 5, "`pos`, `Pos`"),
        (["0", "0.0", "1", "1e0"] * 5, "`0`, `0.0`; `1`, `1e0`"),
        (["a  b", "a b", "c"] * 5, "`a  b`, `a b`"),
        (["a;b", "A;b", "b"] * 5, "`A`, `a`|`a`, `A`"),
        (["a;b", "a|b", "b"] * 5, "labels hold `;` and `|`"),
        (["AaB?bbBbA", "bbbbbbbbb"] * 2, "differ only in case"),
        (["pos", '"pos"', "neg"] * 5, '`pos`, `"pos"`'),
        (["0,0", "1,0"] * 5, "10 of 10 labels have a decimal comma"),
        (["0,5", "1,5", "2.5"] * 5, "10 of 15 labels have a decimal comma"),
        ([*["EIEIEIEIE"] * 4, "EIEI"], r"4 of 5 labels have one letter per base.*row 5"),
        ([*["EIEIEIEIE", "IEIEIEIEI"] * 4, "EIEIEIEIEE"], r"8 of 9 labels .*row 9"),
    ],
)
def test_doubtful_labels_name_kind(labels: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        kind_of(labels)
    assert "--kind" in str(caught.value.hint)


def test_columns_that_are_neither_flags_nor_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"neither 0 or 1 nor numbers.*`x` \(row 2\)"):
        kind_of(["0\t1", "1\tx"])


def test_no_labels_at_all() -> None:
    with pytest.raises(InputError, match="no labels"):
        kind_of(["", "nan"])


@repeatable
@given(st.lists(st.floats(-1e6, 1e6).map(repr), min_size=2, max_size=30))
def test_numbers_are_never_other_classes_silently(labels: list[str]) -> None:
    whole = all(float(label).is_integer() for label in labels)
    try:
        found = kind_of(labels).value
    except InputError as failure:
        found = str(failure.hint)
    assert found == (CLASSES if whole else NUMBERS).value or "--kind" in found


def test_a_number_as_long_as_its_sequence_is_a_number() -> None:
    assert kind_of(["0.1234567", "-0.123456"] * 3) is NUMBERS
    assert kind_of(["010101010", "111000111"]) is PER_BASE


@pytest.mark.parametrize(
    ("kind", "columns", "inferred", "cells", "expected"),
    [
        (CLASSES, 1, True, ["", "nan", "NaN", "#N/A", "NA", "none", "x"], [1, 1, 1, 1, 0, 0, 0]),
        (NUMBERS, 1, False, ["", "NaN", "NA", "none", "-", ".", "0"], [1, 1, 1, 1, 1, 1, 0]),
        (MULTI, 1, False, ["", "nan", "a"], [0, 1, 0]),
        (MULTI, 1, True, ["", "nan", "a"], [1, 1, 0]),
        (MULTI, 2, False, ["", "NA", "0"], [1, 1, 0]),
        (PER_BASE, 1, False, ["", "??"], [1, 0]),
    ],
)
def test_cells_without_a_label(
    kind: TaskKind, columns: int, inferred: bool, cells: list[str], expected: list[int]
) -> None:
    lacks_label, hint = missing_test(kind, columns, inferred=inferred)
    assert [int(lacks_label(cell)) for cell in cells] == expected
    assert "--missing drop" in hint


def test_missing_rows_are_refused_by_name_or_dropped_with_a_count() -> None:
    cells = [("ACGT", "a"), ("nan", "a"), ("AC", ""), ("NA", "b"), ("AC", "b\tnan")]
    examples = tuple(
        Example(f"r{row}", letters, label, row=row)
        for row, (letters, label) in enumerate(cells, start=1)
    )
    file = LabelledFile(examples=examples, count=RowCount(read=5, used=5))
    lacks_label, _ = missing_test(CLASSES, 1, inferred=True)
    with pytest.raises(InputError, match=r"2 of 5 rows are without a sequence: row 2 \(`r2`"):
        without_missing(file, "t", Missing.REFUSE, lacks_label)
    kept = without_missing(file, "t", Missing.DROP, lacks_label)
    assert [one.id for one in kept.examples] == ["r1"]
    assert kept.count == RowCount(
        read=5, used=1, left_out={"without a sequence": 2, "without a label": 2}
    )
    nothing = LabelledFile(examples=examples[1:4], count=RowCount(read=3, used=3))
    with pytest.raises(InputError, match="no labelled sequence: 3 rows read, 0 used"):
        without_missing(nothing, "t", Missing.DROP, lacks_label)


def test_a_class_name_as_long_as_a_few_sequences_is_a_class() -> None:
    assert kind_of(["nine_long", "other", "another"] * 5) is CLASSES
    assert kind_of(["0.1234567", "0.5", "1234567.8"] * 5) is NUMBERS


def test_spellings() -> None:
    assert same_but_for_spelling(["a", "b", "0", "0.0", "-0", "x y", "X  Y", "a"]) == [
        ("0", "0.0", "-0"),
        ("x y", "X  Y"),
    ]


@pytest.mark.parametrize("cell", ["1e31", "-1e300"])
def test_quantities_beyond_single_precision_are_refused_by_row(cell: str) -> None:
    examples = [Example("a", "ACGT", "1e30\t0", row=1), Example("b", "ACGT", f"1\t{cell}", row=2)]
    with pytest.raises(InputError, match=r"row 2 \(`b`\).*single precision"):
        check_quantities(examples, "t")
    check_quantities(examples[:1], "t")
