"""Samples of windows are balanced, and their sequences are those at the coordinates."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from genomeformer_cli.core.annotation.config import Label, WindowRules, WrittenStrand
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.annotation.sampling import Distinct, Sample, Window, windows_of
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.feature import MINUS, PLUS, Kind
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import reverse_complement
from tests.annotations import (
    MYCOPLASMA_FASTA,
    MYCOPLASMA_GFF,
    PHIX,
    PHIX_FASTA,
    feature,
    record_of,
)
from tests.corpora import random_dna

_ORDER = "TCAG"
_AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"


def translate(sequence: str, *, tga: str = "*") -> str:
    """The standard code; `tga` is what TGA is for (tryptophan in Mycoplasma)."""
    table = {
        a + b + c: _AMINO_ACIDS[16 * i + 4 * j + k]
        for i, a in enumerate(_ORDER)
        for j, b in enumerate(_ORDER)
        for k, c in enumerate(_ORDER)
    }
    table["TGA"] = tga
    return "".join(table[sequence[n : n + 3]] for n in range(0, len(sequence) - 2, 3))


def mycoplasma(rules: WindowRules) -> list[Window]:
    (record,) = annotated_records(MYCOPLASMA_FASTA, MYCOPLASMA_GFF, reporter=SilentReporter())
    return windows_of(record, rules, "g")


def test_coding_windows_of_a_real_genome_have_no_stop_within() -> None:
    found = mycoplasma(WindowRules(labels=(Label.CODING,)))
    assert len(found) > 2000
    inner = Counter[int]()
    for window in found:
        assert window.candidate.phase is not None
        for shift in range(3):
            start = (window.candidate.phase + shift) % 3
            inner[shift] += "*" in translate(window.sequence[start:], tga="W")[:-1]
    assert inner[0] == 0
    # In a wrong phase most have one, so the check sees what it is to see.
    assert min(inner[1], inner[2]) > 0.5 * len(found)


def test_coding_windows_of_a_circle_are_in_its_proteins() -> None:
    """phiX174, with the proteins that its annotators translated, one across the origin."""
    text = gzip.decompress(PHIX.read_bytes()).decode()
    proteins = {
        name: "".join(protein.split())
        for name, protein in re.findall(
            r'/protein_id="([^"]+)".*?/translation="([^"]+)"', text, flags=re.DOTALL
        )
    }
    (record,) = annotated_records(None, PHIX, reporter=SilentReporter())
    rules = WindowRules(labels=(Label.CODING,), length=30)
    found = windows_of(record, rules, "phix")
    assert len(found) > 100
    # At the origin genes overlap in two frames: there only a gene alone is beyond doubt.
    alone = replace(record, features=record.features[:1])
    across = windows_of(alone, rules, "phix")
    assert any(window.candidate.end > 5386 for window in across)
    for window in [*found, *across]:
        assert window.candidate.feature is not None
        peptide = translate(window.sequence[window.candidate.phase :])
        assert peptide.removesuffix("*") in proteins[window.candidate.feature.id]


def test_sequences_are_those_at_the_coordinates() -> None:
    (whole,) = (record.sequence for record in read_records(MYCOPLASMA_FASTA))
    twice = whole + whole
    strands = Counter[tuple[int, int]]()
    for window in mycoplasma(WindowRules(length=60, margin=0)):
        plus = twice[window.candidate.start : window.candidate.end]
        assert window.sequence == (plus if window.strand == PLUS else reverse_complement(plus))
        strands[window.candidate.strand, window.strand] += 1
    # Those with a strand keep it; those without get either.
    assert set(strands) == {(PLUS, PLUS), (MINUS, MINUS), (0, PLUS), (0, MINUS)}


def test_all_windows_can_be_written_from_the_plus_strand() -> None:
    rules = WindowRules(strand=WrittenStrand.PLUS)
    found = mycoplasma(rules)
    assert {window.strand for window in found} == {PLUS}
    assert {window.candidate.strand for window in found} == {PLUS, MINUS, 0}


def test_n_is_bounded() -> None:
    sequence = "ACGTTGCA" * 5 + "N" * 10 + random_dna(50)
    record = record_of(sequence, feature(Kind.RRNA, 0, 100))
    for max_n in (0.0, 0.3, 1.0):
        rules = WindowRules(labels=(Label.RRNA,), length=20, max_n=max_n)
        found = windows_of(record, rules, "g")
        assert all(window.sequence.count("N") <= 20 * max_n for window in found)
        if max_n == 1.0:
            assert any("N" in window.sequence for window in found)


def test_copies_on_either_strand_are_written_once() -> None:
    unit = random_dna(40)
    sequence = unit + reverse_complement(unit) + unit
    genes = [feature(Kind.RRNA, start, start + 40) for start in (0, 40, 80)]
    rules = WindowRules(labels=(Label.RRNA,), length=40)
    record = record_of(sequence, *genes)
    assert len(windows_of(record, rules, "g")) == 1
    distinct = Distinct()
    taken = [list(distinct.take(windows_of(record, rules, name))) for name in "gh"]
    assert [len(one) for one in taken] == [1, 0]


def test_a_sequence_with_two_labels_is_left_out() -> None:
    unit = random_dna(40)
    record = record_of(unit + unit, feature(Kind.RRNA, 0, 40), feature(Kind.CDS, 40, 80))
    both = WindowRules(labels=(Label.CODING, Label.RRNA), length=40)
    assert windows_of(record, both, "g") == []
    assert len(windows_of(record, WindowRules(labels=(Label.RRNA,), length=40), "g")) == 1


def sampled(size: int, parts: list[list[Window]]) -> list[Window]:
    sample = Sample(size)

    def all_of_them() -> Iterator[Window]:
        for part in parts:
            yield from sample.take(part)
        yield from sample.finish()

    return list(all_of_them())


def test_a_sample_is_balanced_and_independent_of_the_order_of_genomes() -> None:
    (record,) = annotated_records(None, PHIX, reporter=SilentReporter())
    rules = WindowRules(length=50, labels=(Label.CODING, Label.PROMOTER))
    parts = [mycoplasma(rules), windows_of(record, rules, "phix")]
    found = sampled(40, parts)
    assert Counter(window.candidate.label for window in found) == {
        Label.CODING: 40,
        Label.PROMOTER: 40,
    }
    assert {window.key for window in sampled(40, parts[::-1])} == {w.key for w in found}
    assert {window.key for window in sampled(10, parts)} < {w.key for w in found}
    assert len({window.key for window in sampled(40, [*parts, *parts])}) == 80
    other = [mycoplasma(WindowRules(length=50, labels=rules.labels, seed=1))]
    assert {w.sequence for w in sampled(40, other)} != {w.sequence for w in found}


def test_a_sample_leaves_out_what_two_genomes_label_differently() -> None:
    unit, rest = random_dna(40), random_dna(40, seed=1)
    rules = WindowRules(labels=(Label.CODING, Label.RRNA), length=40)
    one = record_of(unit + rest, feature(Kind.RRNA, 0, 40), feature(Kind.RRNA, 40, 80))
    other = record_of(unit, feature(Kind.CDS, 0, 40))
    found = sampled(5, [windows_of(record, rules, "g") for record in (one, other)])
    assert [window.candidate.start for window in found] == [40]


def test_a_sample_of_more_than_there_is_holds_all() -> None:
    found = mycoplasma(WindowRules(labels=(Label.PROMOTER,)))
    assert sampled(10_000, [found]) == found


def test_the_sequence_in_genbank_is_that_of_the_sample_genome() -> None:
    (record,) = annotated_records(None, PHIX, reporter=SilentReporter())
    (fasta,) = read_records(PHIX_FASTA)
    assert "".join("ACGTN"[code] for code in record.codes) == fasta.sequence.upper()
