"""Kinds of labels, and their targets."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.finetuning.kinds import infer_kind
from genomeformer_cli.core.finetuning.labels import (
    LabelSpace,
    TaskKind,
    encode_label,
    find_label_space,
)


@pytest.mark.parametrize(
    ("labels", "lengths", "kind"),
    [
        (["0", "1", "1"], [9, 9, 9], TaskKind.CLASSIFICATION),
        (["cds", "none", "cds, rev"], [9, 9, 9], TaskKind.CLASSIFICATION),
        (["0.5", "1", "2"], [9, 9, 9], TaskKind.REGRESSION),
        ([str(n / 2) for n in range(40)], [9] * 40, TaskKind.REGRESSION),
        (["a;b", "a", ""], [9, 9, 9], TaskKind.MULTI_LABEL),
        (["0\t1", "1\t1"], [9, 9], TaskKind.MULTI_LABEL),
        (["0\t1", "1\t2.5"], [9, 9], TaskKind.REGRESSION),
        (["CCNN", "NN?"], [4, 3], TaskKind.PER_BASE),
        (["0", "1"], [1, 1], TaskKind.CLASSIFICATION),
    ],
)
def test_kinds_are_what_labels_look_like(
    labels: list[str], lengths: list[int], kind: TaskKind
) -> None:
    assert infer_kind(labels, lengths) is kind


def test_classes_are_in_the_order_a_person_would_give_them() -> None:
    labels = ["10", "9", "b", "a", "9"]
    targets = find_label_space(TaskKind.CLASSIFICATION, labels, labels, ("label",))
    assert targets.names == ("9", "10", "a", "b")
    assert encode_label(targets, "a", "row", 5).tolist() == [2]
    with pytest.raises(InputError, match="unknown label"):
        encode_label(targets, "c", "row", 5)


def test_labels_of_a_cell_and_of_columns_are_flags() -> None:
    cells = ["b;a", "", "c ; a"]
    targets = find_label_space(TaskKind.MULTI_LABEL, cells, cells, ("tags",))
    assert (targets.names, targets.separator) == (("a", "b", "c"), ";")
    assert [encode_label(targets, one, "row", 5).tolist() for one in cells] == [
        [1, 1, 0],
        [0, 0, 0],
        [1, 0, 1],
    ]
    columns = find_label_space(TaskKind.MULTI_LABEL, ["0\t1"], ["0\t1"], ("x", "y"))
    assert encode_label(columns, "0\t1", "row", 5).tolist() == [0, 1]
    with pytest.raises(InputError, match="not 0 or 1"):
        encode_label(columns, "0\t2", "row", 5)


def test_quantities_are_standardised_by_the_rows_learned_from() -> None:
    trained = ["1\t7", "3\t7", "5\t7"]
    targets = find_label_space(TaskKind.REGRESSION, trained, trained, ("x", "y"))
    assert targets.means == (3.0, 7.0)
    values = [encode_label(targets, one, "row", 5) for one in trained]
    np.testing.assert_allclose(np.std(values, axis=0), [1, 0], atol=1e-6)
    with pytest.raises(InputError, match="not a finite number"):
        encode_label(targets, "1\tnan", "row", 5)


def test_a_base_has_a_letter_and_may_be_unknown() -> None:
    labels = ["ab?", "ba"]
    targets = find_label_space(TaskKind.PER_BASE, labels, labels, ("label",))
    assert encode_label(targets, "ab?", "row", 3).tolist() == [0, 1, -1]
    with pytest.raises(InputError, match="3 bases and 2 labels"):
        encode_label(targets, "ba", "row", 3)


def test_too_few_and_too_many_classes_are_refused() -> None:
    with pytest.raises(InputError, match="1 classes"):
        find_label_space(TaskKind.CLASSIFICATION, ["a"], ["a"], ("label",))
    many = [f"n{number}" for number in range(1_001)]
    with pytest.raises(InputError, match="too many"):
        find_label_space(TaskKind.CLASSIFICATION, many, many, ("label",))


def test_targets_come_back_from_plain_values() -> None:
    targets = LabelSpace(
        kind=TaskKind.REGRESSION, names=("x", "y"), means=(1.0, 2.0), spreads=(1.0, 0.5)
    )
    assert from_plain(LabelSpace, to_plain(targets), where="test") == targets
