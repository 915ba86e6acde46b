"""Labelled sequences in every layout that is known."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import read_folder, read_suite, read_task
from genomeformer_cli.core.formats.labelled import LabelColumns


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_a_table_with_ids_splits_and_groups(tmp_path: Path) -> None:
    text = "id\tsequence\tkind\tsplit\tgroup\n"
    text += "a\tACGT\tx\ttrain\tg1\nb\tGGGG\ty\tdev\tg1\nc\tCC\ty\ttest\tg2\n"
    task = read_task(write(tmp_path / "mine.tsv.gz", text), columns=LabelColumns(labels=("kind",)))
    assert task.name == "mine"
    assert task.classes == ("x", "y")
    assert task.has_split
    assert [one.split for one in task.examples] == ["train", "val", "test"]
    assert [one.group for one in task.examples] == ["g1", "g1", "g2"]


def test_a_table_beside_its_fasta(tmp_path: Path) -> None:
    write(tmp_path / "w.fa", ">one\nACGT\n>two\nTTTT\n")
    task = read_task(write(tmp_path / "w.tsv", "id\tlabel\ntwo\tb\none\ta\n"))
    assert [(one.sequence, one.label) for one in task.examples] == [("TTTT", "b"), ("ACGT", "a")]
    assert not task.has_split


@pytest.mark.parametrize("headers", [(">a label=x", ">b label=y"), (">a|x", ">b|y")])
def test_labels_in_fasta_headers(tmp_path: Path, headers: tuple[str, str]) -> None:
    path = write(tmp_path / "l.fa", f"{headers[0]}\nACGT\n{headers[1]}\nTTTT\n")
    assert [one.label for one in read_task(path).examples] == ["x", "y"]


def test_gue_genomic_benchmarks_and_nt(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        write(tmp_path / "GUE" / "tf" / "0" / f"{split}.csv", "sequence,label\nACG,0\nTTT,1\n")
    for split in ("train", "test"):
        for kind in ("positive", "negative"):
            write(tmp_path / "GB" / "enhancers" / split / kind / "7.txt", "ACGTAC\n")
        write(tmp_path / "NT" / "H3" / f"{split}.fna", ">s1|0\nACG\n>s2|1\nTTG\n")
    tasks = {task.name: task for task in read_suite(tmp_path)}
    assert sorted(tasks) == ["GB_enhancers", "GUE_tf_0", "NT_H3"]
    assert all(task.has_split for task in tasks.values())
    assert tasks["GUE_tf_0"].classes == tasks["NT_H3"].classes == ("0", "1")
    assert {one.split for one in tasks["GUE_tf_0"].examples} == {"train", "val", "test"}
    assert tasks["GB_enhancers"].classes == ("negative", "positive")
    assert [task.name for task in read_suite(tmp_path, ["GUE_tf"])] == ["GUE_tf_0"]


def test_an_index_names_its_tasks(tmp_path: Path) -> None:
    write(tmp_path / "INDEX.tsv", "task\trows\nfirst\t2\nsecond\t2\n")
    for name in ("first", "second"):
        write(tmp_path / f"{name}.tsv.gz", "id\tsequence\tlabel\n1\tAC\tx\n2\tGT\ty\n")
    assert [task.name for task in read_suite(tmp_path)] == ["first", "second"]
    with pytest.raises(InputError, match="no task of that name") as caught:
        list(read_suite(tmp_path, ["third"]))
    assert "`first`, `second`" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.tsv", "id\tsequence\n1\tAC\n", "no column `label`"),
        ("t.tsv", "id\tlabel\n1\tx\n", "no `t.fa` beside it"),
        ("t.tsv", "sequence\tlabel\nAC\tx\nAC\tx\n", "fewer than two classes"),
        ("t.tsv", "sequence\tlabel\nAC\tx\nGG\n", "row 2"),
        ("t.csv", "sequence,label,split\nAC,x,train\nGG,y,later\n", "split `later`"),
        ("t.fa", ">a\nACGT\n", "no header has a label"),
    ],
)
def test_invalid_tasks_are_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_task(write(tmp_path / name, text))


def test_a_folder_is_not_a_task(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder") as caught:
        read_task(tmp_path)
    assert f"--suite {tmp_path}" in str(caught.value.hint)


def test_an_empty_folder_is_not_a_suite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no task") as caught:
        list(read_suite(tmp_path))
    assert "`INDEX.tsv`" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["../other", "/etc/x", "a/b", ".hidden", "a" * 300, ""])
def test_a_list_of_tasks_names_files_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for path in (folder / "a.tsv", tmp_path / "other.tsv"):
        path.write_text("sequence\tlabel\nACGT\t0\nACGA\t1\n", encoding="utf-8")
    (folder / "INDEX.tsv").write_text(f"task\tsource\n{name}\tx\n", encoding="utf-8")
    with pytest.raises(InputError, match="does not name a table"):
        list(read_folder(folder))
