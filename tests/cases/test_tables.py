"""Tables that people have: rebuilt from reports, then drawn and mutated at random.

No test trains: `finetune` and `evaluate` read their rows first, and that is what is looked at.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import FormatError, GenomeformerError, InputError
from genomeformer_cli.core.evaluation.labels import Missing
from genomeformer_cli.core.evaluation.tasks import class_task, read_folder
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.labelled import LabelColumns, read_labelled
from genomeformer_cli.core.sequence import decode_bases
from genomeformer_cli.core.workflows.evaluate import EvaluateRequest, read_tasks
from genomeformer_cli.core.workflows.finetune import FinetuneRequest, read_rows
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.reporters import Listening
from tests.strategies import repeatable

KIND = TaskKind.REGRESSION


def table(
    folder: Path, labels: Sequence[str], *, name: str = "t.tsv", separator: str = "\t"
) -> Path:
    path = folder / name
    lines = [f"sequence{separator}label"]
    lines += [f"{random_dna(60, row)}{separator}{label}" for row, label in enumerate(labels)]
    path.write_text("\n".join(lines) + "\n")
    return path


def finetuned(path: Path, **options: object) -> tuple[LabelledRows, Listening]:
    listening = Listening()
    request = FinetuneRequest(data=path, **options)  # type: ignore[arg-type]
    return read_rows(request, reporter=listening), listening


def quantities(holes: dict[int, str]) -> list[str]:
    return [holes.get(row, f"{row / 7 - 2:.3f}") for row in range(40)]


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
