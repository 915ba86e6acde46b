"""Tables drawn and mutated at random: every command reads the same rows, or says why not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import FormatError, GenomeformerError
from genomeformer_cli.core.evaluation.labels import Missing
from genomeformer_cli.core.evaluation.tasks import class_task, read_folder
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.labelled import LabelColumns, read_labelled
from genomeformer_cli.core.sequence import decode_bases
from genomeformer_cli.core.workflows.evaluate import EvaluateRequest, read_tasks
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.labelled_tables import finetuned, quantities, table
from tests.strategies import repeatable

ROWS = 24
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@st.composite
def written_tables(draw: st.DrawFn) -> tuple[str, bytes, list[tuple[str, str, str, str]]]:
    """A file name, its bytes, and its rows: id, sequence, label, split."""
    separator = draw(st.sampled_from("\t,;"))
    names = draw(st.permutations(["id", "sequence", "label", "split", "note", ""]))
    case = draw(st.sampled_from([str.lower, str.upper, str.title]))
    pad = draw(st.sampled_from(["", " ", "  "]))
    quoted = separator != "\t" and draw(st.booleans())
    note = draw(st.sampled_from(["", "5 prime", "\xe9", "a|b", "#"]))
    seed = draw(st.integers(0, 1_000))
    rows = [
        (f"r{row}", random_dna(5 + row, seed), ("pos", "neg")[row % 2], ("train", "test")[row > 15])
        for row in range(ROWS)
    ]
    lines = []
    for number, one in enumerate([("id", "sequence", "label", "split"), *rows]):
        known = dict(zip(("id", "sequence", "label", "split"), one, strict=True))
        known |= {"note": note if number else "note", "": str(number) if number else ""}
        cells = [known[name] for name in names]
        cells = [case(cell) for cell in cells] if not number else cells
        cells = [f'"{cell}"' if quoted else cell for cell in cells]
        lines.append(separator.join(f"{pad}{cell}{pad}" for cell in cells))
    ends = draw(st.sampled_from(["\n", "\r\n"]))
    last = draw(st.sampled_from(["", ends, ends * 3]))
    text = ends.join(lines) + last
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]))
    packing = draw(st.sampled_from(sorted(PACKINGS)))
    name = f"t.{'tsv' if separator == chr(9) else 'csv'}{packing}"
    return name, PACKINGS[packing](text.encode(encoding)), rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labelled")


@repeatable
@given(drawn=written_tables())
def test_every_command_reads_the_same_rows_of_a_table(
    drawn: tuple[str, bytes, list[tuple[str, str, str, str]]], folder: Path
) -> None:
    name, content, rows = drawn
    path = folder / name
    path.write_bytes(content)
    tuned, _ = finetuned(path)
    (task,) = read_tasks(EvaluateRequest(model="m", tasks=(path,)))
    for examples, count in ((tuned.examples, tuned.count), (task.examples, task.count)):
        assert [(one.id, one.sequence, one.label, one.split) for one in examples] == rows
        assert (count.read, count.used) == (ROWS, ROWS)
    queries = list(read_any_sequences(path))
    assert [(one.id, decode_bases(one.codes)) for one in queries] == [one[:2] for one in rows]


def test_every_row_of_a_table_has_a_prediction_score_and_vector(
    tmp_path: Path, run_cli: RunCommand
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ID,Sequence,other\na,ACGTACGT,1\nb,nan,2\nc,NNNN,3\n")
    vectors = tmp_path / "v.tsv"
    done = run_cli("embed", str(path), "-o", str(vectors), "--workers", "1")
    assert done.exit_code == 0, done.err
    lines = [line.split("\t") for line in vectors.read_text().splitlines()]
    assert [line[0] for line in lines if line[0] != "id"] == ["a", "b", "c"]
    assert "record `b` is empty" in done.err
    other = tmp_path / "t.tsv"
    other.write_text("label\tnote\nx\ty\n")
    assert_failure(run_cli("embed", str(other)), "not FASTA", hint="column `sequence`")


def test_layouts_of_folders_give_the_rows_of_the_table(tmp_path: Path) -> None:
    parts = {"train": range(20), "dev": range(20, 25), "test": range(25, 30)}
    split_of = {"train": "train", "dev": "val", "test": "test"}
    for part, numbers in parts.items():
        lines = [f"{random_dna(20, row)},{row % 2}\r" for row in numbers]
        path = tmp_path / "gue" / f"{part}.csv.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(["\ufeffSequence,Label\r", *lines, ""]).encode()))
        fasta = tmp_path / "nt" / f"{part}.fna"
        fasta.parent.mkdir(exist_ok=True)
        fasta.write_text("".join(f">s{row}|{row % 2}\n{random_dna(20, row)}\n" for row in numbers))
        for row in numbers:
            letters = tmp_path / "gb" / part / str(row % 2) / f"{row:02d}.txt"
            letters.parent.mkdir(parents=True, exist_ok=True)
            letters.write_text(f"{random_dna(20, row)[:10]}\r\n{random_dna(20, row)[10:]}\n")
    (tmp_path / "gb" / "train" / "0" / "README.md").write_text("not a sequence")
    rows = sorted(
        (random_dna(20, row), str(row % 2), split_of[part])
        for part, numbers in parts.items()
        for row in numbers
    )
    for name in ("gue", "nt", "gb"):
        (named,) = read_folder(tmp_path / name)
        task = class_task(named, Missing.REFUSE)
        found = sorted((one.sequence, one.label, one.split) for one in task.examples)
        assert found == rows, name
        tuned, _ = finetuned(tmp_path / name)
        assert sorted((one.sequence, one.label, one.split) for one in tuned.examples) == rows
        assert tuned.count.used == 30
        assert tuned.count.read == (31 if name == "gb" else 30)


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "dev", "test"):
        (tmp_path / f"{name}.csv").write_text("sequence,label\nACGT,a\nAC,b\n")
    with pytest.raises(FormatError, match=r"several files of the split `val`: val.csv, dev.csv"):
        list(read_folder(tmp_path))


def test_an_index_is_a_table_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "INDEX.tsv").write_bytes('\ufeffTask\tRows\r\nfirst\t"4\r\nsecond\t4\r\n'.encode())
    for name in ("first.csv", "second.tsv"):
        separator = "," if name.endswith("csv") else "\t"
        table(tmp_path, ["a", "b"] * 5, name=name, separator=separator)
    assert [named.name for named in read_folder(tmp_path)] == ["first", "second"]


def test_a_table_from_standard_input(tmp_path: Path, run_cli: RunCommand) -> None:
    content = table(tmp_path, quantities({7: "NA"})).read_bytes()
    done = run_cli("finetune", "-", "--kind", "regression", stdin=gzip.compress(content))
    assert_failure(done, "`stdin`: 1 of 40 rows are without a label: row 8", hint="--missing drop")


SOURCES = (
    "id\tsequence\tlabel\tsplit\n"
    + "".join(
        f"r{row}\t{random_dna(12, row)}\t{'ab'[row % 2]}\t{('train', 'test')[row % 3 == 0]}\n"
        for row in range(12)
    ),
    "sequence,label\r\n" + "".join(f'"{random_dna(9, row)}","{row / 8}"\r\n' for row in range(12)),
    "x;Sequence;LABEL\n" + "".join(f"{row};{random_dna(9, row)};{row % 2}\n" for row in range(12)),
    "sequence\ta\tb\n" + "".join(f"{random_dna(9, row)}\t{row % 2}\t1\n" for row in range(12)),
    "".join(f">s{row} label={'xy'[row % 2]}\n{random_dna(9, row)}\n" for row in range(12)),
)
BITS = [
    b"\t",
    b",",
    b";",
    b'"',
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b">",
    b"nan",
]
BITS += [
    b"NA",
    b"inf",
    b"1e999",
    b"0,5",
    b" ",
    b"\xc2\xa0",
    b"label",
    b"sequence",
    b"sep=;\n",
    b"@",
]


def mutated(text: bytes, generator: random.Random) -> bytes:
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(text) + 1)
        length = generator.choice([0, 0, 1, 2, 8, 40])
        bit = generator.choice([*BITS, b"", text[place : place + 15]])
        text = text[:place] + bit + text[place + length :]
    return text


def rows_in(content: bytes) -> int:
    """Rows of a file, counted by its lines alone."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\n\ufeff", "\n")
    lines = text.removeprefix("\ufeff").split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    if lines and lines[0].lstrip()[:1] == ">":
        return sum(line.startswith(">") for line in lines)
    if lines and lines[0].strip(" ").lower() == "sep=;":
        return rows_in("\n".join(lines[1:]).encode())
    return sum(bool(line.strip(" ")) for line in lines[1:])


def check_mutation(content: bytes, path: Path, generator: random.Random) -> bool:
    """Check that every row is used or counted; return whether the file could be read at all."""
    path.write_bytes(content)
    columns = LabelColumns(labels=generator.choice([("label",), ("a", "b")]))
    try:
        file = read_labelled(path, columns)
    except GenomeformerError as failure:
        check_sentence(failure)
        return False
    assert file.count.read == rows_in(content), content
    missing = generator.choice(list(Missing))
    for read in (
        lambda: list(read_any_sequences(path)),
        lambda: list(read_tasks(EvaluateRequest(model="m", tasks=(path,), missing=missing))),
    ):
        try:
            read()
        except GenomeformerError as failure:
            check_sentence(failure)
    try:
        rows, listening = finetuned(path, targets=columns.labels, missing=missing)
    except GenomeformerError as failure:
        check_sentence(failure)
        return True
    count = rows.count
    assert count.used == len(rows.examples) == len(rows.codes) == len(rows.targets)
    assert count.read == rows_in(content) == count.used + sum(count.left_out.values())
    told = [*listening.warnings, *rows.notes]
    assert any(f"{count.read:,} rows read" in one for one in told)
    return True


def check_sentence(failure: GenomeformerError) -> None:
    assert failure.message
    assert failure.hint
    assert "\n" not in failure.message


def check_mutations(folder: Path, seeds: range) -> None:
    num_read = 0
    for seed in seeds:
        generator = random.Random(seed)
        content = mutated(generator.choice(SOURCES).encode(), generator)
        num_read += check_mutation(content, folder / "m.tsv", generator)
    assert num_read > len(seeds) // 10, "mutations are mild enough to be read now and then"


def test_mutated_tables_end_in_a_sentence_or_in_counted_rows(folder: Path) -> None:
    check_mutations(folder, range(400))


@pytest.mark.slow
def test_ten_thousand_mutated_tables(folder: Path) -> None:
    check_mutations(folder, range(400, 10_400))
