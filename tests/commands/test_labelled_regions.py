"""Labelled regions of a genome, as `finetune` and `evaluate --task` read them."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import FormatError, InputError
from genomeformer_cli.core.evaluation.tasks import read_task
from genomeformer_cli.core.finetuning.reading import read_task_table
from genomeformer_cli.core.formats.labelled import LabelColumns
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.genomes.labelled_regions import read_labelled_regions
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED

COMPLEMENT = str.maketrans("ACGT", "TGCA")
COLUMNS = LabelColumns()


@pytest.fixture
def genome(tmp_path: Path) -> NamedFile:
    draw = random.Random(1)
    path = tmp_path / "genome.fa"
    records = {name: "".join(draw.choices("ACGT", k=400)) for name in ("one", "two")}
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in records.items()), "utf-8")
    return NamedFile(path, "genome.fa")


def bases_of(genome: NamedFile, record: str, start: int, end: int, strand: str) -> str:
    lines = genome.path.read_text(encoding="utf-8").split()
    bases = lines[lines.index(f">{record}") + 1][start:end]
    return bases.translate(COMPLEMENT)[::-1] if strand == "-" else bases


def rows(number: int) -> list[tuple[str, int, int, str, str]]:
    draw = random.Random(2)
    found = []
    for _ in range(number):
        start = draw.randrange(300)
        place = (draw.choice(["one", "two"]), start, start + draw.randrange(20, 90))
        found.append((*place, draw.choice("+-"), draw.choice(["cold", "warm"])))
    return found


def table_text(table: list[tuple[str, int, int, str, str]]) -> str:
    lines = [f"{chrom}\t{start}\t{end}\t{s}\t{label}\n" for chrom, start, end, s, label in table]
    return "chrom\tstart\tend\tstrand\tlabel\n" + "".join(lines)


def bed_text(table: list[tuple[str, int, int, str, str]]) -> str:
    return "".join(f"{c}\t{start}\t{end}\t{label}\t0\t{s}\n" for c, start, end, s, label in table)


@pytest.mark.parametrize("text_of", [table_text, bed_text])
def test_each_row_has_the_bases_of_its_place(
    genome: NamedFile, tmp_path: Path, text_of: object
) -> None:
    table = rows(60)
    path = tmp_path / "regions.gz"
    path.write_bytes(gzip.compress(text_of(table).encode()))  # type: ignore[operator]
    file = read_labelled_regions(path, COLUMNS, genome)
    assert file.count.read == file.count.used == len(table)
    for example, (chrom, start, end, strand, label) in zip(file.examples, table, strict=True):
        assert example.id == f"{chrom}:{start}-{end}"
        assert example.label == label
        assert example.sequence == bases_of(genome, chrom, start, end, strand)


def test_rows_beyond_the_genome_have_no_sequence_and_are_counted(
    genome: NamedFile, tmp_path: Path
) -> None:
    table = [*rows(10), ("one", 390, 600, "+", "warm"), ("other", 1, 9, "+", "cold")]
    path = tmp_path / "regions.tsv"
    path.write_text(table_text(table), encoding="utf-8")
    file = read_labelled_regions(path, COLUMNS, genome)
    assert file.count.read == 12
    assert [bool(example.sequence) for example in file.examples] == [True] * 10 + [False] * 2
    (note,) = file.notes
    assert "2 rows without bases in the genome" in note


def test_both_commands_read_the_same_rows(genome: NamedFile, tmp_path: Path) -> None:
    path = tmp_path / "regions.bed"
    path.write_text(bed_text(rows(20)), encoding="utf-8")
    tuned = read_task_table(path, COLUMNS, genome=genome).examples
    assert tuned == read_task(path, genome=genome).examples


def test_a_table_with_sequences_says_so(genome: NamedFile, tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_text("sequence\tlabel\nACGT\ta\nGGCC\tb\n", encoding="utf-8")
    file = read_labelled_regions(path, COLUMNS, genome)
    assert [example.sequence for example in file.examples] == ["ACGT", "GGCC"]
    assert "has sequences" in file.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chrom\tstart\tlabel\none\t1\ta\n", "no column `end`"),
        ("chrom\tstart\tend\tlabel\none\tx\t9\ta\n", "are not positions"),
        ("chrom\tstart\tend\none\t1\t9\n", "no column `label`"),
    ],
)
def test_wrong_tables_are_refused(
    genome: NamedFile, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "regions.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_labelled_regions(path, COLUMNS, genome)


def test_records_of_another_genome_are_refused(genome: NamedFile, tmp_path: Path) -> None:
    path = tmp_path / "regions.tsv"
    path.write_text(table_text([("chr1", 1, 9, "+", "a")]), encoding="utf-8")
    with pytest.raises(InputError, match="chr1"):
        read_labelled_regions(path, COLUMNS, genome)


@pytest.mark.usefixtures("trained", "short_networks")
def test_commands_take_regions(genome: NamedFile, tmp_path: Path, run_cli: RunCommand) -> None:
    path = tmp_path / "regions.bed"
    path.write_text(bed_text(rows(60)), encoding="utf-8")
    place = ("--genome", str(genome.path), "--model", RELEASED)
    line = ("finetune", str(path), *place, "--epochs", "1", "--name", "regions", "--threads", "1")
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    assert "classification (cold, warm)" in done.out + done.err
    assert_failure(run_cli("finetune", str(tmp_path), *place), "option of one table")


@pytest.mark.parametrize(
    "before",
    [
        "",
        "track name=labels\n",
        "browser position one\ntrack name=x y\n",
        "# labels, of two kinds\n",
        "#\n\n",
        "#chrom\tstart\tend\tname\tscore\tstrand\n",
        "one\t0\t9\twarm\n",
    ],
)
def test_bed_is_recognised_whatever_is_before_its_rows(
    genome: NamedFile, tmp_path: Path, before: str
) -> None:
    table = rows(20)
    path = tmp_path / "regions.bed"
    path.write_text(before + bed_text(table), encoding="utf-8")
    examples = read_labelled_regions(path, COLUMNS, genome).examples[-len(table) :]
    assert [(example.sequence, example.label) for example in examples] == [
        (bases_of(genome, chrom, start, end, strand), label)
        for chrom, start, end, strand, label in table
    ]


def test_a_header_may_begin_with_a_number_sign(genome: NamedFile, tmp_path: Path) -> None:
    table = rows(20)
    path = tmp_path / "regions.tsv"
    path.write_text("#" + table_text(table), encoding="utf-8")
    examples = read_labelled_regions(path, COLUMNS, genome).examples
    assert [(example.sequence, example.label) for example in examples] == [
        (bases_of(genome, chrom, start, end, strand), label)
        for chrom, start, end, strand, label in table
    ]


@pytest.mark.parametrize(
    ("cell", "strand"),
    [
        *((cell, "+") for cell in ("+", "1", ".", "", "NA")),
        *((cell, "-") for cell in ("-", "-1", "-1.0", "\N{MINUS SIGN}")),
        *((cell, None) for cell in ("minus", "R", "2")),
    ],
)
def test_a_strand_is_read_or_refused(
    genome: NamedFile, tmp_path: Path, cell: str, strand: str | None
) -> None:
    path = tmp_path / "regions.tsv"
    path.write_text(table_text([("two", 5, 60, cell, "warm")]), encoding="utf-8")
    if strand is None:
        with pytest.raises(FormatError, match=rf"row 1 .line 2.: `{cell}` is not a strand"):
            read_labelled_regions(path, COLUMNS, genome)
        return
    (example,) = read_labelled_regions(path, COLUMNS, genome).examples
    assert example.sequence == bases_of(genome, "two", 5, 60, strand)


def test_odd_bed_rows_are_noted_and_bed_without_labels_is_refused(
    genome: NamedFile, tmp_path: Path
) -> None:
    path = tmp_path / "regions.bed"
    path.write_text("one\t0\t9\twarm\t0\t-1\none\t9\t20\tcold\t-\n", encoding="utf-8")
    notes = read_labelled_regions(path, COLUMNS, genome).notes
    assert any("column 6 is neither" in note for note in notes)
    assert any("strand taken from column 5" in note for note in notes)
    path.write_text("one\t0\t9\none\t9\t20\n", encoding="utf-8")
    with pytest.raises(FormatError, match="BED without labels"):
        read_labelled_regions(path, COLUMNS, genome)


def test_a_refused_row_is_named_with_its_reason(genome: NamedFile, tmp_path: Path) -> None:
    path = tmp_path / "regions.tsv"
    path.write_text(table_text([*rows(9), ("one", 390, 600, "+", "warm")]), encoding="utf-8")
    with pytest.raises(InputError, match=r"row 10 .`one:390-600`: beyond the record"):
        read_task(path, columns=COLUMNS, genome=genome)


def test_bed_without_a_genome_names_the_option(run_cli: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "regions.bed"
    path.write_text(bed_text(rows(9)), encoding="utf-8")
    assert_failure(run_cli("finetune", str(path)), "is BED, and has no sequences")


@pytest.mark.parametrize("name", ["x.vcf", "x.txt"])
def test_variants_are_named_as_such(run_cli: RunCommand, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nc\t3\t.\tA\tC\n")
    done = run_cli("finetune", str(path))
    assert_failure(done, "is VCF, and has no labelled sequences", hint="evaluate --variants")
