"""Held-out texts: regions against the codons themselves, windows against slices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from genomeformer_cli.core.evaluation.held_out_sequences import (
    INTERGENIC,
    OTHER,
    HeldOutSequence,
    annotated_sequences,
    cut_sequences,
    file_sequences,
    regions,
)
from genomeformer_cli.core.formats.feature import MINUS, PLUS, Feature, Kind, Part
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import decode_bases, encode_bases, reverse_complement
from genomeformer_cli.core.store.layout import Kind as Room
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import random_dna
from tests.reporters import Listening

ANNOTATION = Path(__file__).parents[3] / "data" / "annotation" / "NC_000908.2.gff.gz"


def coding(*parts: Part) -> Feature:
    return Feature(kind=Kind.CDS, parts=parts)


def test_codon_positions_of_both_strands_and_intergenic_bases() -> None:
    features = [
        coding(Part(2, 8, PLUS, 0)),
        coding(Part(10, 17, MINUS, 1)),
        Feature(kind=Kind.GENE, parts=(Part(19, 21, PLUS),)),
    ]
    found = regions(features, 24, circular=False)
    assert "".join(map(str, found)) == "441231234432132134400444"


def test_a_base_of_two_frames_is_other() -> None:
    found = regions([coding(Part(0, 9, PLUS, 0)), coding(Part(4, 13, PLUS, 0))], 13, circular=False)
    assert found[:4].tolist() == [1, 2, 3, 1]
    assert found[4:9].tolist() == [OTHER] * 5


def test_a_gene_across_the_origin() -> None:
    found = regions([coding(Part(8, 14, PLUS, 0))], 10, circular=True)
    assert found.tolist() == [3, 1, 2, 3, 4, 4, 4, 4, 1, 2]


def test_starts_of_real_genes_are_at_the_first_codon_position() -> None:
    genome = next(one for one in sample_genomes() if one.name == "NC_000908.2")
    install_sample(genome, store=Store())
    fasta = Store().entry(Room.GENOMES, genome.name).path / genome.fasta
    (text,) = annotated_sequences(fasta, ANNOTATION, GroupBy.RECORD, SilentReporter())
    assert text.group == text.record == "NC_000908.2"
    assert text.regions_L is not None
    shares = np.bincount(text.regions_L, minlength=5) / text.codes.size
    assert 0.8 < shares[1:4].sum() < 0.95
    assert shares[INTERGENIC] < 0.15
    # Reading three bases from every first position: a codon of this genome is no TAA or TAG.
    letters = decode_bases(text.codes)
    firsts = np.flatnonzero((text.regions_L[:-2] == 1) & (text.regions_L[2:] == 3))
    codons = Counter(letters[place : place + 3] for place in firsts)
    lasts = np.flatnonzero((text.regions_L[:-2] == 3) & (text.regions_L[2:] == 1))
    codons += Counter(reverse_complement(letters[place : place + 3]) for place in lasts)
    stops = codons["TAA"] + codons["TAG"]
    assert sum(codons.values()) > 150_000
    # TGA is tryptophan here; 521 genes end in a stop codon, many of them within the next gene.
    assert 200 < stops < 521 < codons["TGA"]


def test_windows_do_not_overlap_and_are_thinned_evenly() -> None:
    tokenizer = CharTokenizer()
    texts = [
        HeldOutSequence(group="a", record="one", codes=encode_bases(random_dna(1_000))),
        HeldOutSequence(group="b", record="two", codes=encode_bases(random_dna(70, 1))),
        HeldOutSequence(group="b", record="three", codes=encode_bases(random_dna(30, 2))),
    ]
    windows = cut_sequences(texts, tokenizer, length=50, max_windows=7)
    assert windows.groups == ("a", "b")
    assert windows.groups_W.tolist() == [0] * 7 + [1] * 2
    assert windows.regions_WT is None
    letters = [tokenizer.decode(row[row > 0].astype(np.uint8)) for row in windows.tokens_WT]
    assert letters[0] == decode_bases(texts[0].codes[:50])
    assert letters[6] == decode_bases(texts[0].codes[950:])
    assert letters[7:] == [decode_bases(texts[1].codes[:50]), decode_bases(texts[2].codes)]


def test_rows_of_files_by_record_and_by_prefix(tmp_path: Path) -> None:
    path = tmp_path / "mixed.fa"
    path.write_text(">a|1\nACGT\n>a|2\nGGCC\n>b\nTT\n")
    groups = {
        by: [text.group for text in file_sequences([path], by)]
        for by in (GroupBy.GENOME, GroupBy.RECORD, GroupBy.PREFIX)
    }
    assert groups[GroupBy.GENOME] == ["mixed.fa"] * 3
    assert groups[GroupBy.RECORD] == ["a|1", "a|2", "b"]
    assert groups[GroupBy.PREFIX] == ["a", "a", "b"]


def test_the_order_of_files_does_not_change_their_windows() -> None:
    texts = [
        HeldOutSequence(
            group=f"g{number % 3}", record=str(number), codes=encode_bases(random_dna(90, number))
        )
        for number in range(6)
    ]
    tokenizer = CharTokenizer()
    one = cut_sequences(texts, tokenizer, length=20, max_windows=5)
    turned = [text for group in ("g2", "g0", "g1") for text in texts if text.group == group]
    other = cut_sequences(turned, tokenizer, length=20, max_windows=5)
    np.testing.assert_array_equal(one.tokens_WT, other.tokens_WT)
    assert other.groups == ("g2", "g0", "g1"), "rows of a report keep the order that was given"
    assert [one.groups[index] for index in one.groups_W] == [
        other.groups[index] for index in other.groups_W
    ]


def test_what_reading_changed_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">\nACGU\n> b\nACRGTX\n", encoding="utf-8")
    reporter = Listening()
    found = file_sequences([path], GroupBy.RECORD, reporter)
    assert [text.record for text in found] == ["record_1", "b"]
    assert reporter.notes == [f"`{path}`: read 1 U as T, 1 IUPAC ambiguity codes as N, 1 X as N"]
    assert len(reporter.warnings) == 2
