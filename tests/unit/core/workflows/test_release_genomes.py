"""Organisms and accessions of a corpus, read off the genomes it was made of."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.genomes.fasta_headers import DescribedRecord, described_records
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.workflows.release_genomes import card_genomes
from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
from tests.corpora import random_dna

HEADERS = (
    "eco|NC_000913.3 Escherichia coli K-12 MG1655",
    "vch|AE003852.1 Vibrio cholerae O1 biovar El Tor N16961",
    "vch|AE003853.1 Vibrio cholerae O1 biovar El Tor N16961",
)


class Listening(SilentReporter):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def corpus(store: Store, tmp_path: Path) -> Corpus:
    many = "".join(
        f">{header}\n{random_dna(100 + n, n)}\n{random_dna(60, n)}\n"
        for n, header in enumerate(HEADERS)
    )
    (tmp_path / "many.fa").write_text(many, encoding="utf-8")
    single = f">NC_1.1 Salmonella enterica, complete genome\n{random_dna(90, 9)}\n"
    (tmp_path / "held.fa").write_text(single, encoding="utf-8")
    request = TokenizeRequest(
        name="mine",
        files=(tmp_path / "many.fa", tmp_path / "held.fa"),
        split=SplitConfig(by=SplitBy.GENOME, holdout=("held",)),
    )
    made = tokenize_genomes(request, reporter=SilentReporter(), store=store)
    return Corpus(made.folder)


def test_records_of_several_genomes_in_a_file_are_named(corpus: Corpus, store: Store) -> None:
    reporter = Listening()
    many, held = card_genomes(corpus, store=store, reporter=reporter)
    assert not reporter.warned
    coli, cholera = many.organisms
    assert (coli.name, coli.accessions) == ("Escherichia coli K-12 MG1655", ("NC_000913.3",))
    assert cholera.accessions == ("AE003852.1", "AE003853.1")
    assert (coli.num_bases, cholera.num_bases) == (160, 161 + 162)
    assert {coli.role, cholera.role, many.role} == {"trained on"}
    (salmonella,) = held.organisms
    assert (salmonella.name, salmonella.accessions) == ("Salmonella enterica", ("NC_1.1",))
    assert salmonella.role == held.role == "held out"
    assert many.records == tuple(header.split()[0] for header in HEADERS)
    assert many.descriptions == tuple(header.split(maxsplit=1)[1] for header in HEADERS)


def test_a_corpus_whose_genomes_are_gone_names_items_and_accessions(
    corpus: Corpus, store: Store
) -> None:
    store.remove(store.entry(Kind.GENOMES, "many"))
    (store.path(Kind.GENOMES, "held") / "held.fa.gz").write_bytes(b"no gzip")
    reporter = Listening()
    many, held = card_genomes(corpus, store=store, reporter=reporter)
    assert [one.accessions for one in many.organisms] == [
        ("NC_000913.3",),
        ("AE003852.1", "AE003853.1"),
    ]
    assert {(one.name, one.num_bases) for one in many.organisms} == {("", None)}
    assert (many.descriptions, held.organisms) == ((), ())
    gone, damaged = reporter.warned
    assert "`many`: it is no longer in the cache" in gone
    assert "`held`" in damaged


def test_descriptions_follow_their_records_across_chunks(tmp_path: Path) -> None:
    long = random_dna(1 << 20)
    text = f">a one two\r\nACGT\r\n>b\r\n>  odd\r\nAC\r\n>c last  \r\n{long}\r\nACG\r\n>d end"
    (tmp_path / "x.fa.gz").write_bytes(gzip.compress(text.encode()))
    assert list(described_records(tmp_path / "x.fa.gz", display_name="x")) == [
        DescribedRecord(id="a", description="one two", num_bases=4),
        DescribedRecord(id="b", description="", num_bases=0),
        DescribedRecord(id="odd", description="", num_bases=2),
        DescribedRecord(id="c", description="last", num_bases=(1 << 20) + 3),
        DescribedRecord(id="d", description="end", num_bases=0),
    ]
