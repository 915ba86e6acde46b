"""VCF, BED and accession lists: what is written is read, and damage is never a crash or a loss."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.formats.accessions import read_accession, read_accession_list
from genomeformer_cli.core.formats.bed import BedRow, Interval, read_bed
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.vcf import Variant, read_variants
from genomeformer_cli.core.genomes.regions import bed_regions, region_queries, vcf_regions
from genomeformer_cli.core.sequence import decode_bases
from tests.corpora import random_dna
from tests.row_files import damaged, dressed, lines_of
from tests.strategies import repeatable

GENOME = {"chr1": random_dna(80, 1), "track1": random_dna(40, 2), "c": random_dna(9, 3)}
FEW, MANY = range(250), range(250, 10_250)

# Files of earlier examples are overwritten.
fixtures_stay = HealthCheck.function_scoped_fixture


def drawn(test: Callable[..., None]) -> Callable[..., None]:
    """Give a test random draws that are the same on every run, and shrink where it fails."""
    given_draws = given(draw=st.randoms(use_true_random=False))(test)
    return settings(repeatable, max_examples=150, suppress_health_check=[fixtures_stay])(
        given_draws
    )


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "g.fa"
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in GENOME.items()))
    return path


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "rows"
    path.write_bytes(content)
    return path


def turned(letters: str) -> str:
    return letters.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def divided(cells: list[str], draw: random.Random) -> str:
    """Return a row by tabs, or by blanks where no cell holds one or is empty."""
    plain = all(cell and " " not in cell for cell in cells)
    return (" " * draw.choice((1, 3)) if plain and draw.random() < 0.2 else "\t").join(cells)


def place(draw: random.Random) -> tuple[str, int, int]:
    """Return a record, and the first base and end of some of its bases."""
    record = draw.choice(list(GENOME))
    start = draw.randrange(len(GENOME[record]))
    return record, start, draw.randrange(start + 1, len(GENOME[record]) + 1)


def bed_row(draw: random.Random) -> tuple[str, str, str]:
    """Return a line, the id of its row and its bases."""
    record, start, stop = place(draw)
    letters = GENOME[record][start:stop]
    cells = [record, str(start), str(stop)]
    name = draw.choice(("", ".", "x", "my gene", "-1", "track"))
    strand = draw.choice(("+", "-", "."))
    if draw.random() < 0.7:
        cells += [name, draw.choice(("0", "960", ".", "")), strand]
        cells += draw.choice(([], ["0", "9", "255,0,0"]))
    is_named = len(cells) > 3 and name not in ("", ".")
    is_turned = len(cells) > 3 and strand == "-"
    found = name if is_named else f"{record}:{start}-{stop}"
    return divided(cells, draw), found, turned(letters) if is_turned else letters


@drawn
def test_bed_rows_are_read_as_written(draw: random.Random, tmp_path: Path, genome: Path) -> None:
    rows = [bed_row(draw) for _ in range(draw.randrange(6))]
    lines = [line for line, _, _ in rows]
    if draw.random() < 0.3:
        lines.insert(0, draw.choice(("track name=x", "browser position c:1-9", "track")))
    path = saved(tmp_path, dressed(lines, draw))
    found = region_queries(bed_regions(read_bed(path)), genome, source="rows")
    wanted = [(name, letters, "") for _, name, letters in rows]
    assert [(one.id, decode_bases(one.codes), one.problem) for one in found] == wanted


def vcf_row(draw: random.Random) -> tuple[str, list[tuple[str, str, str]]]:
    """Return a line, and of each alternative allele its id, letters and category of problem."""
    record, start, stop = place(draw)
    ref = GENOME[record][start : min(stop, start + 4)]
    alts = {
        draw.choice("ACGT") * draw.randrange(1, 4): "",
        "<DUP:TANDEM>": "symbolic allele",
        "*": "spanning deletion",
        "]c:4]A": "breakend",
        ".": "no alternative allele",
    }
    chosen = draw.sample(list(alts), draw.randrange(1, 4))
    case = draw.choice((str.upper, str.lower))
    shown = [case(alt) if not alts[alt] else alt for alt in chosen]
    cells = [record, str(start + 1), draw.choice((".", "rs1", "a;b")), case(ref), ",".join(shown)]
    cells += draw.choice(([], [".", "PASS", "AC=1;AF=0.5"]))
    name = f"{record}:{start + 1}:{case(ref)}"
    return divided(cells, draw), [
        (f"{name}>{one}", alt.upper(), alts[alt]) for one, alt in zip(shown, chosen, strict=True)
    ]


@drawn
def test_vcf_rows_are_read_as_written(draw: random.Random, tmp_path: Path, genome: Path) -> None:
    rows = [vcf_row(draw) for _ in range(draw.randrange(6))]
    header = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT"]
    content = dressed([*header, *(line for line, _ in rows)], draw)
    variants = list(read_variants(saved(tmp_path, content)))
    found = region_queries(vcf_regions(variants, 0), genome, source="rows")
    wanted = [allele for _, alleles in rows for allele in alleles]
    assert [one.id for one in found[::2]] == [f"{name}:ref" for name, _, _ in wanted]
    for query, (name, letters, category) in zip(found[1::2], wanted, strict=True):
        assert query.id == f"{name}:alt"
        assert query.problem.partition(":")[0] == category
        assert decode_bases(query.codes) == ("" if category else letters)


@drawn
def test_accessions_are_read_as_written(draw: random.Random, tmp_path: Path) -> None:
    accessions = [
        f"GC{draw.choice('AF')}_{draw.randrange(10**9):09d}{draw.choice(('', '.1', '.12'))}"
        for _ in range(draw.randrange(1, 7))
    ]
    words = []
    for one in accessions:
        word = draw.choice((one, one.lower(), f"RS_{one}", f"GB_{one}", f'"{one}"'))
        words.append(f"{one}_ASM1v1" if "." in one and draw.random() < 0.2 else word)
    lines, rest = [], words
    while rest:
        number = draw.randrange(1, len(rest) + 1)
        lines.append(draw.choice((" ", "\t", ",", ", ", ";")).join(rest[:number]))
        rest = rest[number:]
    if draw.random() < 0.3:
        separator = draw.choice(("\t", ","))
        lines = [separator.join(("name", "Assembly Accession"))]
        lines += [separator.join(("some name", word)) for word in words]
    found = read_accession_list(saved(tmp_path, dressed(lines, draw)))
    assert list(found) == list(dict.fromkeys(accessions))


def check_bed(path: Path, genome: Path) -> None:
    """Read a damaged BED file: every data line is a row, and every row has a query."""
    rows: list[BedRow] = list(read_bed(path))
    lines = [line for line in lines_of(path.read_bytes()) if not is_header(line)]
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    assert len(rows) == len(lines)
    for row in rows:
        assert (row.interval is None) == bool(row.problem)
        assert row.interval is None or 0 <= row.interval.start < row.interval.stop
    check_queries(region_queries(bed_regions(rows), genome, source="rows"), len(rows))


def is_header(line: str) -> bool:
    words = line.split()
    numbers = [re.fullmatch("-?[0-9]{1,15}", word) for word in words[1:3]]
    return words[0] in ("track", "browser") and not (len(words) > 2 and all(numbers))


def check_vcf(path: Path, genome: Path) -> None:
    """Read a damaged VCF file: every data line has its alleles, and every allele two queries."""
    variants: list[Variant] = list(read_variants(path))
    assert len({variant.line for variant in variants}) == len(lines_of(path.read_bytes()))
    check_queries(
        region_queries(vcf_regions(variants, 3), genome, source="rows"), 2 * len(variants)
    )


def check_queries(queries: list[Query], number: int) -> None:
    assert len(queries) == number
    for query in queries:
        assert bool(query.codes.size) != bool(query.problem)


def check_accessions(path: Path, genome: Path) -> None:
    """Read a damaged list: every accession in its text is among those that are returned."""
    del genome
    found = read_accession_list(path)
    assert all(read_accession(one) == one for one in found)
    text = "\n".join(line.partition("#")[0] for line in lines_of(path.read_bytes())).upper()
    if "ACCESSION" not in text and "ASSEMBLY" not in text:
        assert set(re.findall(r"GC[AF]_[0-9]{9}(?:\.[0-9]+)?", text)) == set(found)


def bed_lines(draw: random.Random) -> list[str]:
    return [bed_row(draw)[0] for _ in range(draw.randrange(1, 5))]


def vcf_lines(draw: random.Random) -> list[str]:
    return ["##fileformat=VCFv4.2", *(vcf_row(draw)[0] for _ in range(draw.randrange(1, 5)))]


def accession_lines(draw: random.Random) -> list[str]:
    lines = [f"GCF_{draw.randrange(10**9):09d}.{draw.randrange(9)}" for _ in range(3)]
    return [*draw.choice(([], ["accession"])), *lines]


Check = Callable[[Path, Path], None]
FORMATS = pytest.mark.parametrize(
    ("lines", "check"),
    [(bed_lines, check_bed), (vcf_lines, check_vcf), (accession_lines, check_accessions)],
    ids=["bed", "vcf", "accessions"],
)


def survive(
    seeds: range, lines: Callable[[random.Random], list[str]], check: Check, genome: Path
) -> tuple[int, int]:
    """Return how many damaged files were read, and how many were refused by an error of ours."""
    good = refused = 0
    for seed in seeds:
        draw = random.Random(seed)
        text = "\n".join(lines(draw)).encode() + b"\n"
        path = saved(genome.parent, damaged(text, draw))
        try:
            check(path, genome)
            good += 1
        except GenomeformerError as failure:
            refused += bool(failure.message and failure.hint)
        except Exception as failure:
            raise AssertionError(f"seed {seed}: {path.read_bytes()!r}") from failure
    return good, refused


@FORMATS
def test_damaged_files_lose_nothing_and_never_crash(
    lines: Callable[[random.Random], list[str]], check: Check, genome: Path
) -> None:
    good, refused = survive(FEW, lines, check, genome)
    assert good > len(FEW) // 40
    assert good + refused == len(FEW)


@pytest.mark.slow
@FORMATS
def test_ten_thousand_damaged_files(
    lines: Callable[[random.Random], list[str]], check: Check, genome: Path
) -> None:
    good, refused = survive(MANY, lines, check, genome)
    assert good + refused == len(MANY)


@pytest.mark.parametrize(("start", "stop"), [(3, 3), (4, 3), (-1, 3)])
def test_an_interval_without_bases_cannot_be_made(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="invalid interval"):
        Interval(record="c", start=start, stop=stop)
