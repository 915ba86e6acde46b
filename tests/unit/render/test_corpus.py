"""A corpus in tables and in a picture, also where there is much of it or little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.corpus.statistics import (
    CorpusStatistics,
    GenomeStatistics,
    composition_of,
)
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.fasta import Record
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.workflows.tokenize import DescribeResult, describe_corpus
from genomeformer_cli.render.corpus import (
    MAX_GENOMES,
    largest_genomes,
    picture_path,
    plot_statistics,
    render_statistics,
)
from tests.corpora import CorpusWriter, genome, random_dna
from tests.unit.render.test_tables import rendered


def described(sequence: str) -> DescribeResult:
    store = Store()
    with store.create(Kind.CORPORA, "c") as folder:
        writer = CorpusWriter(folder, CharTokenizer())
        writer.add_genome(genome("one"), [Record("a", "", sequence)])
        writer.finish(name="c", split=SplitConfig(by=SplitBy.TAIL), inputs_sha256="0" * 64)
    return describe_corpus("c", reporter=SilentReporter())


def of_many(result: DescribeResult, number: int) -> DescribeResult:
    """Return a corpus with that many genomes, each longer than the one before."""
    genomes = tuple(
        GenomeStatistics(
            name=f"[bold]{i}",
            organism=None,
            num_records=1,
            composition=composition_of(np.array([10 + i, 10, 10, 10, 0])),
            soft_mask_fraction=None,
        )
        for i in range(number)
    )
    numbers: CorpusStatistics = replace(result.statistics, genomes=genomes)
    return replace(result, statistics=numbers)


def test_of_many_genomes_the_largest_are_shown() -> None:
    many = of_many(described(random_dna(500)), MAX_GENOMES + 3)
    names = [one.name for one in largest_genomes(many.statistics.genomes)]
    assert names == [f"[bold]{i}" for i in range(3, MAX_GENOMES + 3)]
    lines = rendered(render_statistics(many))
    assert sum(line.startswith("[bold]") for line in lines) == MAX_GENOMES
    assert f"the {MAX_GENOMES} largest genomes are shown; `--json` lists all" in lines


def test_existing_bases_are_never_shown_as_zero_percent() -> None:
    lines = rendered(render_statistics(described(random_dna(50_000) + "N")))
    assert "N" in [line.split()[0] for line in lines if line.endswith("< 0.01%")]
    (row,) = [line for line in lines if line.startswith("one ")]
    assert "< 0.1" in row


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_numbers_give_the_same_picture(suffix: str, tmp_path: Path) -> None:
    result = described(random_dna(500) + "NN")
    first, second = (plot_statistics(result, tmp_path / f"{n}.{suffix}").read_bytes() for n in "ab")
    assert first == second


@pytest.mark.parametrize("sequence", ["N" * 30, "ACGT" * 5, "A" * 40], ids=["n", "short", "a"])
def test_tiny_corpora_are_drawn_and_described(sequence: str, tmp_path: Path) -> None:
    result = described(sequence)
    assert rendered(render_statistics(result))
    picture = plot_statistics(result, tmp_path / "x.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_many_genomes_can_be_drawn(tmp_path: Path) -> None:
    many = of_many(described(random_dna(500)), 40)
    assert plot_statistics(many, tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


def test_a_picture_is_written_to_the_working_folder_by_default() -> None:
    assert picture_path("c", None) == Path("c-stats.png")
    assert picture_path("c", Path("x.PDF")) == Path("x.PDF")
    with pytest.raises(UsageError, match=r"x\.jpg"):
        picture_path("c", Path("x.jpg"))
