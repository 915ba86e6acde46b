"""Tables that people have, rebuilt from reports.

No test trains: `finetune` and `evaluate` read their rows first, and that is what is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.labels import Missing
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.workflows.evaluate import EvaluateRequest, read_tasks
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.labelled_tables import finetuned, quantities, table

KIND = TaskKind.REGRESSION


def said(path: Path, **options: object) -> str:
    """The message and hint of a table that is refused."""
    with pytest.raises(InputError) as caught:
        finetuned(path, **options)
    return f"{caught.value.message}\n{caught.value.hint}"


@pytest.mark.parametrize(
    "holes",
    [
        pytest.param({3: "NA", 21: "NaN"}, id="case-60-na"),
        pytest.param({3: "inf"}, id="case-60-inf"),
        pytest.param({3: "0,53"}, id="case-60-decimal-comma"),
        pytest.param({3: "-inf", 5: "", 7: "nan"}, id="case-60-all"),
    ],
)
def test_numbers_with_holes_are_never_classes(tmp_path: Path, holes: dict[int, str]) -> None:
    words = said(table(tmp_path, quantities(holes)))
    assert "--kind regression" in words
    assert "row 4" in words


@pytest.mark.parametrize("hole", ["", "nan"])
def test_case_60_numbers_with_blank_rows_are_refused_by_row_or_dropped(
    tmp_path: Path, hole: str
) -> None:
    path = table(tmp_path, quantities({3: hole, 9: " "}))
    words = said(path)
    assert "2 of 40 rows are without a label: row 4" in words
    assert "--missing drop" in words
    assert "--kind" in words
    rows, listening = finetuned(path, missing=Missing.DROP)
    assert rows.label_space.kind is KIND
    assert (rows.count.read, rows.count.used) == (40, 38)
    assert any("2 without a label" in one for one in listening.warnings)
    assert any("read as regression" in note for note in rows.notes)


@pytest.mark.parametrize("hole", ["NaN", "NA", "", "null", "-"])
def test_case_67_a_missing_number_is_refused_by_row_or_dropped(tmp_path: Path, hole: str) -> None:
    path = table(tmp_path, quantities({5: hole}))
    assert "row 6" in said(path, kind=KIND)
    rows, _ = finetuned(path, kind=KIND, missing=Missing.DROP)
    assert len(rows.targets) == 39
    assert rows.count.left_out == {"without a label": 1}


@pytest.mark.parametrize(
    ("hole", "hint"), [("inf", "leave the row out"), ("0,5", "a decimal point, not a comma")]
)
def test_case_67_other_words_for_a_missing_number_are_refused(
    tmp_path: Path, hole: str, hint: str
) -> None:
    path = table(tmp_path, quantities({5: hole}))
    for missing in Missing:
        words = said(path, kind=KIND, missing=missing)
        assert f"row 6 (`6`): `{hole}` is not a finite number" in words
        assert hint in words


def classes(text: Callable[[str], str]) -> bytes:
    lines = ["sequence,label", *(f"{random_dna(30, row)},{row % 2}" for row in range(40))]
    return text("\n".join(lines) + "\n").encode()


def indexed(text: str) -> str:
    head, *lines = text.splitlines()
    return "\n".join([f",{head}", *(f"{row},{line}" for row, line in enumerate(lines))]) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(classes(lambda text: "\ufeff" + text), id="case-62-bom"),
        pytest.param(classes(lambda text: text.title().upper()), id="case-62-caps"),
        pytest.param(classes(lambda text: text.replace("\n", "\r\n")), id="case-62-crlf"),
        pytest.param(classes(indexed), id="case-62-index"),
        pytest.param(
            classes(
                lambda text: '"' + text.strip().replace(",", '","').replace("\n", '"\n"') + '"'
            ),
            id="case-62-quoted",
        ),
        pytest.param(classes(lambda text: text.replace(",", ", ")), id="case-62-space"),
        pytest.param(classes(lambda text: text.replace(",", ";")), id="case-62-semicolon"),
        pytest.param(
            classes(lambda text: "\ufeff" + text.replace("\n", "\r\n")), id="case-walk-01"
        ),
    ],
)
def test_tables_as_excel_and_pandas_write_them(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    rows, _ = finetuned(path)
    assert [one.label for one in rows.examples] == [str(row % 2) for row in range(40)]
    assert [one.sequence for one in rows.examples] == [random_dna(30, row) for row in range(40)]


def test_case_62_a_table_without_a_header_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(classes(lambda text: text.partition("\n")[2]))
    words = said(path)
    assert "has no header" in words
    assert "sequence,label" in words


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param(["0", "0.0", "1", "1.0"], "`0`, `0.0`; `1`, `1.0`", id="case-63-float"),
        pytest.param(["pos", "neg", "pos ", "Neg"], "`neg`, `Neg`", id="case-63-blank"),
        pytest.param(["pos", "neg", ""], "14 of 42 rows are without a label", id="case-63-empty"),
        pytest.param(["pos", "neg", "nan"], "14 of 42 rows are without a label", id="case-63-nan"),
    ],
)
def test_classes_written_in_several_ways(tmp_path: Path, labels: list[str], words: str) -> None:
    path = table(tmp_path, labels * (42 // len(labels)))
    found = said(path)
    assert words in found
    assert "--kind" in found or "--missing drop" in found
    with pytest.raises(InputError) as caught:
        list(read_tasks(EvaluateRequest(model="m", tasks=(path,))))
    assert words.split(" rows")[0] in caught.value.message, "evaluate refuses it too"


def test_case_63_a_stated_kind_takes_labels_as_written_with_a_warning(tmp_path: Path) -> None:
    path = table(tmp_path, ["0", "0.0", "1", "1.0"] * 10)
    rows, listening = finetuned(path, kind=TaskKind.CLASSIFICATION)
    assert len(rows.label_space.names) == 4
    assert any("taken as different classes" in one for one in listening.warnings)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param(["True", "False"], ("False", "True"), id="case-63-bool"),
        pytest.param(["HA", "NA", "PB1"], ("HA", "NA", "PB1"), id="case-63-na"),
        pytest.param(["pos", "neg", " pos ", "neg"], ("neg", "pos"), id="case-63-stripped"),
    ],
)
def test_classes_that_are_plain(tmp_path: Path, labels: list[str], names: tuple[str, ...]) -> None:
    rows, _ = finetuned(table(tmp_path, labels * 10))
    assert rows.label_space.names == names


@pytest.mark.parametrize("cell", ["nan", "NaN", "NA", "", "null"])
def test_case_63_a_missing_sequence_is_not_read_as_bases(tmp_path: Path, cell: str) -> None:
    path = table(tmp_path, ["a", "b"] * 20)
    path.write_text(path.read_text() + f"{cell}\ta\n")
    assert "1 of 41 rows are without a sequence: row 41" in said(path)
    rows, _ = finetuned(path, missing=Missing.DROP)
    assert (rows.count.used, rows.count.left_out) == (40, {"without a sequence": 1})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param(["1"] * 30, "1 classes", id="case-64-one"),
        pytest.param([f"c{row}" for row in range(30)], "30 different labels", id="case-64-many"),
        pytest.param(["0", "1"], "cannot fill the split", id="case-64-tiny"),
        pytest.param([], "no labelled sequence", id="case-64-empty"),
    ],
)
def test_classes_that_cannot_be_learned(tmp_path: Path, labels: list[str], words: str) -> None:
    assert words in said(table(tmp_path, labels))


@pytest.mark.parametrize("number", [1, 2])
def test_case_64_a_class_of_one_or_two_rows_is_warned_of(tmp_path: Path, number: int) -> None:
    _, listening = finetuned(table(tmp_path, [*["0"] * (30 - number), *["1"] * number]))
    assert f"cannot be in train, validation and test: `1` ({number})" in listening.warnings[0]


def test_case_64_a_class_that_is_never_learned_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    lines = [
        f"{random_dna(30, row)}\t{'abc'[row % 3]}\t{'test' if row % 3 == 2 else 'train'}"
        for row in range(60)
    ]
    path.write_text("\n".join(["sequence\tlabel\tsplit", *lines]))
    _, listening = finetuned(path)
    assert any("cannot be learned: `c` (20)" in one for one in listening.warnings)


def test_case_64_training_rows_of_one_class_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    lines = [
        f"{random_dna(30, row)}\t{'ab'[row % 2]}\t{('train', 'test')[row % 2]}" for row in range(60)
    ]
    path.write_text("\n".join(["sequence\tlabel\tsplit", *lines]))
    assert "all training rows are of the class `a`" in said(path)


@pytest.mark.parametrize("number", [21, 60])
def test_case_66_many_whole_numbers_may_be_classes_or_quantities(
    tmp_path: Path, number: int
) -> None:
    path = table(tmp_path, [str(row % number) for row in range(5 * number)])
    words = said(path)
    assert f"{number} different whole numbers" in words
    assert "--kind regression" in words
    assert "--kind classification" in words
    assert len(finetuned(path, kind=TaskKind.CLASSIFICATION)[0].label_space.names) == number
    assert finetuned(path, kind=KIND)[0].label_space.names == ("label",)


def test_case_66_twenty_whole_numbers_are_classes_with_a_note(tmp_path: Path) -> None:
    rows, _ = finetuned(table(tmp_path, [str(row % 20) for row in range(100)]))
    assert any("read as classification (20: 0, 1" in note for note in rows.notes)


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(("id", {5: '"gene5', 20: 'gene20" x"'}), id="case-68-ids"),
        pytest.param(("note", {5: '"5 prime end', 21: '"3 prime" of it'}), id="case-68-notes"),
        pytest.param(("note", {5: '"never closed'}), id="case-68-open"),
        pytest.param(("note", {5: '5" UTR'}), id="case-68-inner"),
    ],
)
def test_a_quote_mark_in_a_tab_separated_table_is_a_letter(
    tmp_path: Path, column: tuple[str, dict[int, str]]
) -> None:
    name, cells = column
    lines = [f"sequence\tlabel\t{name}"]
    lines += [
        f"{random_dna(60, row)}\t{('pos', 'neg')[row % 2]}\t{cells.get(row, f'g{row}')}"
        for row in range(40)
    ]
    path = tmp_path / "t.tsv"
    path.write_text("\n".join(lines) + "\n")
    rows, _ = finetuned(path)
    assert len(rows.examples) == rows.count.used == 40
    assert [one.sequence for one in rows.examples] == [random_dna(60, row) for row in range(40)]
    if name == "id":
        assert rows.examples[5].id == '"gene5'


def test_case_attack_07_lone_carriage_returns_are_an_error(
    tmp_path: Path, run_cli: RunCommand
) -> None:
    path = tmp_path / "mac.tsv"
    path.write_bytes(b"id\tsequence\tlabel\r1\tACGT\ta\r2\tACGA\tb\r")
    assert_failure(run_cli("finetune", str(path)), "lone carriage return", hint="tr")
    assert_failure(
        run_cli("evaluate", "default", "--no-likelihood", "--task", str(path)),
        "lone carriage return",
        hint="tr",
    )


def test_case_attack_14_two_rows_are_too_few_to_evaluate(
    tmp_path: Path, run_cli: RunCommand
) -> None:
    path = tmp_path / "two.tsv"
    path.write_text("sequence\tlabel\nACGTACGTAC\ta\nACGTTTGTAC\tb\n")
    done = run_cli(
        *("evaluate", "default", "--no-likelihood", "--task", str(path)),
        *("-o", str(tmp_path / "out"), "--workers", "1"),
    )
    lines = [line for line in done.err.splitlines() if line.startswith("error")]
    assert done.exit_code == 1
    assert "2 rows, too few" in lines[0]


def test_an_unknown_treatment_of_missing_rows_is_refused(
    tmp_path: Path, run_cli: RunCommand
) -> None:
    path = table(tmp_path, ["a", "b"] * 10)
    done = run_cli("finetune", str(path), "--missing", "guess")
    assert_failure(done, "invalid `--missing guess`", hint="drop", exit_code=2)


def test_test_rows_that_are_learned_from_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    letters = [random_dna(40, row) for row in range(30)]
    letters += [letters[0], letters[1], *(random_dna(40, row) for row in range(90, 98))]
    lines = [
        f"{one}\t{'ab'[row % 2]}\t{'train' if row < 30 else 'test'}"
        for row, one in enumerate(letters)
    ]
    path.write_text("\n".join(["sequence\tlabel\tsplit", *lines]))
    rows, listening = finetuned(path)
    assert (rows.duplicates.num_test, rows.duplicates.num_same) == (10, 2)
    assert any("of 10 test rows 2 have" in one for one in listening.warnings)


@pytest.mark.parametrize("absent", ["val", "test"])
def test_a_split_missing_from_the_file_is_drawn_with_a_message(tmp_path: Path, absent: str) -> None:
    path = tmp_path / "t.tsv"
    parts = ["train"] * 30 + ["test" if absent == "val" else "val"] * 10
    lines = [f"{random_dna(40, row)}\t{'ab'[row % 2]}\t{part}" for row, part in enumerate(parts)]
    path.write_text("\n".join(["sequence\tlabel\tsplit", *lines]))
    rows, _ = finetuned(path)
    number = len(rows.splits[absent])
    assert f"`t`: no row is named `{absent}`: {number} are drawn from `train`" in rows.notes
    assert rows.official_split == (absent == "val")


def test_a_quoted_tab_separated_header_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, ["a", "b"] * 10)
    path.write_text(path.read_text().replace("label", '"label"', 1))
    assert "no column `label`, but a quoted one" in said(path)
