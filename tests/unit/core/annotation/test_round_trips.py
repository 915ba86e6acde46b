"""Random annotation, written as GenBank and GFF3, against a painter of single bases."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from Bio import SeqIO
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.annotation.config import DEFAULT_LABELS, Label, WindowRules
from genomeformer_cli.core.annotation.intake import Intake
from genomeformer_cli.core.annotation.reading import AnnotatedRecord, annotated_records
from genomeformer_cli.core.annotation.windows import candidates
from genomeformer_cli.core.errors import AnnotationError
from genomeformer_cli.core.formats.feature import PLUS
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import decode_bases, reverse_complement
from tests.annotation_files import (
    BLANK,
    Placed,
    Truth,
    draw_truth,
    genbank_text,
    gff_text,
    packed,
    read_bases,
)
from tests.strategies import repeatable

MARGIN = 4
RULES = WindowRules(
    labels=DEFAULT_LABELS, length=9, promoter=(6, 3), terminator=(3, 6), margin=MARGIN
)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round-trips")


def read(
    folder: Path, annotation: bytes, truth: Truth | None
) -> tuple[list[AnnotatedRecord], Intake]:
    (folder / "annotation").write_bytes(annotation)
    fasta = None
    if truth is not None:
        fasta = folder / "c.fa"
        fasta.write_text(f">c\n{truth.dna}\n", encoding="utf-8")
    intake = Intake()
    found = list(
        annotated_records(fasta, folder / "annotation", reporter=SilentReporter(), intake=intake)
    )
    return found, intake


def codon_positions(truth: Truth) -> list[set[tuple[bool, int]]]:
    """Strand and codon position that each coding sequence gives to each base."""
    found: list[set[tuple[bool, int]]] = [set() for _ in truth.dna]
    for one in truth.features:
        if one.type == "CDS" and not one.unclear:
            for place, base in enumerate(one.bases(truth.length)):
                found[base].add((one.minus, (place - one.phase) % 3))
    return found


def genes(truth: Truth) -> list[Placed]:
    found = [one for one in truth.features if one.type == "gene"]
    stand_in = [one for one in truth.features if one.type in ("CDS", "rRNA", "tRNA")]
    return [one for one in found or stand_in if not one.unclear]


def check_labels(record: AnnotatedRecord, truth: Truth) -> None:
    """Compare every window with the truth, base by base."""
    size = truth.length
    taken = {
        base for one in truth.features for base in one.near(size, MARGIN, circular=truth.circular)
    }
    positions = codon_positions(truth)
    starts = {(gene.bases(size)[0], gene.minus) for gene in genes(truth)}
    ends = {(gene.bases(size)[-1], gene.minus) for gene in genes(truth)}
    for window in candidates(record, RULES, "g"):
        bases = [at % size for at in range(window.start, window.end)]
        own = bases if window.strand == PLUS else bases[::-1]
        minus = window.strand != PLUS
        if window.label is Label.INTERGENIC:
            assert not taken & set(bases)
        elif window.label is Label.CODING:
            assert window.phase is not None
            expected = [{(minus, (n - window.phase) % 3)} for n in range(len(own))]
            assert [positions[base] for base in own] == expected
        elif window.label is Label.PROMOTER:
            assert (own[6], minus) in starts
        else:
            assert (own[2], minus) in ends


def check_counts(intake: Intake) -> None:
    for tally in (intake.features, intake.records):
        assert tally.read == tally.used + tally.left_out.total()


GENIC = {"gene", "CDS", "tRNA", "rRNA", "exon"}


def is_annotated(truth: Truth) -> bool:
    return any(one.type in GENIC for one in truth.features)


def check_genbank(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    truth = draw_truth(draw)
    text = genbank_text(truth, draw)
    found, intake = read(folder, packed(text, draw), None)
    check_counts(intake)
    assert intake.features.read == len(truth.features) + 1
    if not is_annotated(truth):
        assert not found
        return
    (record,) = found
    assert decode_bases(record.codes) == truth.dna
    assert record.circular == truth.circular
    assert [(one.locus_tag, read_bases(one, record)) for one in record.features] == [
        (one.name, one.bases(truth.length)) for one in truth.features
    ]
    check_labels(record, truth)


def check_unclear_genbank(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    truth = draw_truth(draw, unclear=0.5)
    found, intake = read(folder, packed(genbank_text(truth, draw), draw), None)
    check_counts(intake)
    for record in found:
        check_labels(record, truth)
        assert {one.locus_tag for one in record.features if one.unclear} == {
            one.name for one in truth.features if one.unclear
        }


def check_gff(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    truth = draw_truth(draw)
    text = gff_text(truth, draw)
    if draw.random() < 0.5:
        section = draw.choice(("##FASTA\n", ""))
        content, sequences = packed(f"{text}{section}>c d\n{truth.dna}\n", draw), None
    else:
        content, sequences = packed(text, draw), truth
    if not is_annotated(truth):
        with pytest.raises(AnnotationError):
            read(folder, content, sequences)
        return
    (record,), intake = read(folder, content, sequences)
    check_counts(intake)
    assert intake.features.read == len(truth.features) + truth.circular
    written = [one for one in record.features if not one.implied]
    assert [(one.locus_tag, set(read_bases(one, record))) for one in written] == [
        (one.name, set(one.bases(truth.length))) for one in truth.features
    ]
    check_labels(record, truth)


@given(seed=seeds)
@repeatable
def test_genbank_comes_back_base_by_base(folder: Path, seed: int) -> None:
    check_genbank(folder, seed)


@given(seed=seeds)
@repeatable
def test_unclear_features_are_never_intergenic(folder: Path, seed: int) -> None:
    check_unclear_genbank(folder, seed)


@given(seed=seeds)
@repeatable
def test_gff_comes_back_base_by_base(folder: Path, seed: int) -> None:
    check_gff(folder, seed)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_genbank, check_unclear_genbank, check_gff])
def test_thousands_more_come_back(check: Callable[[Path, int], None], folder: Path) -> None:
    for seed in range(4000):
        check(folder, seed)


def test_many_features_read_as_another_implementation_reads_them(folder: Path) -> None:
    """1,000 features and more on linear and circular records, by Biopython."""
    draw = random.Random(5)
    compared = 0
    while compared < 1000:
        truth = draw_truth(draw, num=80)
        if not is_annotated(truth):
            continue
        text = genbank_text(truth, draw, backwards=False).replace(BLANK, " ")
        (record,), _ = read(folder, text.encode(), None)
        other = SeqIO.read(folder / "annotation", "genbank")  # type: ignore[no-untyped-call]
        letters = decode_bases(record.codes)
        assert str(other.seq) == letters
        for ours, theirs in zip(record.features, other.features[1:], strict=True):
            bases = "".join(letters[base] for base in read_bases(ours, record))
            complement = reverse_complement(bases)[::-1]
            assert str(theirs.extract(other.seq)) == (bases if ours.strand == PLUS else complement)
            compared += 1
