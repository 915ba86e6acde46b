"""Labelled sequences of one file, and the count of their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats.labelled import (
    LabelColumns,
    RowCount,
    read_labelled,
    task_name,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_counts_add_up_and_state_why() -> None:
    count = RowCount(read=5, used=5).without("empty", 2).without("odd", 1).without("empty", 0)
    assert (count.used, dict(count.left_out)) == (2, {"empty": 2, "odd": 1})
    assert count.sentence() == "5 rows read, 2 used, 3 left out (2 empty; 1 odd)"
    both = count.plus(RowCount(read=3, used=2, left_out={"odd": 1}))
    assert both == RowCount(read=8, used=4, left_out={"empty": 2, "odd": 2})
    with pytest.raises(AssertionError, match="not accounted"):
        RowCount(read=3, used=2)


def test_ids_splits_and_groups_are_optional(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "Label,SEQUENCE,Split,Group\na,ACGT,Dev,g\nb,AC,,\n")
    found = read_labelled(path).examples
    assert [(one.id, one.split, one.group, one.row) for one in found] == [
        ("1", "val", "g", 1),
        ("2", "", "", 2),
    ]
    assert read_labelled(path, split="train").examples[1].split == "train"


def test_rows_without_a_group_are_reported(tmp_path: Path) -> None:
    header = "label,sequence,group\n"
    some = write(tmp_path / "some.csv", header + "a,ACGT,g\nb,AC,\nb,AG,\n")
    assert "2 rows have no group" in read_labelled(some).notes[0]
    for text in ("a,ACGT,g\nb,AC,h\n", "a,ACGT,\nb,AC,\n"):
        assert not read_labelled(write(tmp_path / "all.csv", header + text)).notes


def test_a_column_of_sequences_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "dna\tlabel\nACGT\ta\n")
    columns = LabelColumns(sequence="DNA")
    assert read_labelled(path, columns).examples[0].sequence == "ACGT"
    with pytest.raises(FormatError, match="no column `sequence`") as caught:
        read_labelled(path)
    assert "--sequence-column" in str(caught.value.hint)
    with pytest.raises(FormatError, match="no column `rna`"):
        read_labelled(path, LabelColumns(sequence="rna"))


@pytest.mark.parametrize(
    "columns",
    [
        LabelColumns(labels=("x", "X")),
        LabelColumns(labels=("sequence",)),
        LabelColumns(labels=("x",), sequence="X"),
    ],
)
def test_a_column_is_read_once(tmp_path: Path, columns: LabelColumns) -> None:
    path = write(tmp_path / "t.tsv", "sequence\tx\nACGT\t1\n")
    with pytest.raises(FormatError, match="named twice"):
        read_labelled(path, columns)


def test_a_tab_in_a_quoted_label_is_not_another_column(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'sequence,label,more\nACGT,"a\tb",1\n')
    assert read_labelled(path).examples[0].label == "a b"
    both = read_labelled(path, LabelColumns(labels=("label", "more")))
    assert both.examples[0].label == "a b\t1"


def test_a_fasta_file_beside_the_table(tmp_path: Path) -> None:
    write(tmp_path / "w.fa", ">one\nACGT\n>two\nTT\n>three\nA\n")
    path = write(tmp_path / "w.tsv", "ID\tlabel\ntwo\tb\none\ta\n")
    found = read_labelled(path)
    assert [one.sequence for one in found.examples] == ["TT", "ACGT"]
    assert any("sequences are from" in note for note in found.notes)
    assert any("1 records" in note for note in found.notes)
    write(path, "id\tlabel\ntwo\tb\nfour\ta\n")
    with pytest.raises(FormatError, match=r"row 2 \(line 3\).*no record `four`"):
        read_labelled(path)
    write(tmp_path / "w.fa", ">one\nACGT\n>one\nTT\n")
    with pytest.raises(FormatError, match="two records `one`"):
        read_labelled(path)


def test_a_fasta_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.txt", ">a label=x\nACGT\n>b|y\nAC\n>c\nA\n")
    found = read_labelled(path)
    assert [(one.id, one.label, one.row) for one in found.examples] == [
        ("a", "x", 1),
        ("b|y", "y", 2),
        ("c", "", 3),
    ]
    table = write(tmp_path / "table.fa", "sequence\tlabel\nACGT\ta\n")
    assert read_labelled(table).examples[0].label == "a"


def test_names_of_tasks() -> None:
    assert task_name(Path("x/promoters.tsv.gz")) == "promoters"
    assert task_name(Path("-")) == "stdin"
    assert task_name(Path(".hidden")) == ".hidden"
