"""Substitutions of coding sequences, compared with Biopython."""

from __future__ import annotations

import importlib
import io
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.annotation.base_labels import single_frame
from genomeformer_cli.core.annotation.codons import (
    EFFECTS,
    CodingSequence,
    Substitutions,
    coding_features,
    coding_sequence,
    join_substitutions,
    substitutions,
)
from genomeformer_cli.core.annotation.genetic_code import GENETIC_CODES, amino_acids
from genomeformer_cli.core.annotation.reading import AnnotatedRecord, annotated_records
from genomeformer_cli.core.formats.feature import genetic_code
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import BASES
from tests.annotations import MYCOPLASMA_FASTA, MYCOPLASMA_GENBANK, genbank, read_text

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def tables() -> dict[int, Any]:
    data: Any = importlib.import_module("Bio.Data.CodonTable")
    by_id: dict[int, Any] = data.unambiguous_dna_by_id
    return by_id


def seq_io() -> Any:
    return importlib.import_module("Bio.SeqIO")


@pytest.mark.parametrize("number", GENETIC_CODES)
def test_a_genetic_code_is_that_of_biopython(number: int) -> None:
    table = tables()[number]
    codons = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]
    assert list(amino_acids(number)) == [table.forward_table.get(codon, "*") for codon in codons]


def test_no_genetic_code_is_missing() -> None:
    assert set(GENETIC_CODES) == set(tables())


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("4", 4), ("x", -1), ("0", -1), ("1" * 9, -1), ("\u0664", -1)]
)
def test_numbers_of_genetic_codes(text: str, number: int) -> None:
    assert genetic_code(text) == number


def every(record: AnnotatedRecord) -> tuple[list[CodingSequence | str], Substitutions]:
    """Return the coding sequences of a record, or why not, and all substitutions."""
    found = [coding_sequence(record, feature, 11) for feature in coding_features(record)]
    is_used = single_frame(record.features, record.codes.size)
    used = [coding for coding in found if not isinstance(coding, str)]
    return found, join_substitutions([substitutions(coding, is_used) for coding in used])


def effect_by_biopython(before: str, after: str) -> str:
    """Return the effect on a protein, from both translations."""
    assert len(before) == len(after)
    different = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    if not different:
        return "synonymous"
    ((_, new),) = different
    return "stop gained" if new == "*" else "missense"


def check(record: AnnotatedRecord, genes: dict[str, Any], sequence: str, rows: list[int]) -> None:
    """Compare some substitutions with the mutated genes of Biopython."""
    _, changes = every(record)
    seq: Any = importlib.import_module("Bio.Seq").Seq
    for row in rows:
        place, gene = int(changes.position_N[row]), genes[str(changes.gene_N[row])]
        assert sequence[place] == BASES[changes.ref_N[row]]
        mutant = sequence[:place] + BASES[changes.alt_N[row]] + sequence[place + 1 :]
        number = int(gene.qualifiers["transl_table"][0])
        # The part around the gene is long enough, and faster to mutate than the genome.
        before, after = (
            str(gene.extract(seq(letters)).translate(table=number))
            for letters in (sequence, mutant)
        )
        assert EFFECTS[changes.effect_N[row]] == effect_by_biopython(before, after)
        codons = "".join(a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT")
        spliced = str(gene.extract(seq(sequence)))
        changed = str(gene.extract(seq(mutant)))
        (at,) = [at for at, (x, y) in enumerate(zip(spliced, changed, strict=True)) if x != y]
        first = at // 3 * 3
        for letters, number_N in ((spliced, changes.ref_codon_N), (changed, changes.alt_codon_N)):
            at = 3 * int(number_N[row])
            assert letters[first : first + 3] == codons[at : at + 3]


def test_1000_substitutions_of_mycoplasma(tmp_path: Path) -> None:
    (record,) = annotated_records(MYCOPLASMA_FASTA, MYCOPLASMA_GENBANK, reporter=SilentReporter())
    import gzip

    text = gzip.decompress(MYCOPLASMA_GENBANK.read_bytes()).decode()
    (parsed,) = seq_io().parse(io.StringIO(text), "genbank")
    genes = {
        feature.qualifiers["locus_tag"][0]: feature
        for feature in parsed.features
        if feature.type == "CDS"
    }
    sequence = "".join(BASES[code] for code in record.codes)
    found, changes = every(record)
    assert Counter(one for one in found if isinstance(one, str)) == {"pseudogene": 17}
    assert {one.genetic_code for one in found if isinstance(one, CodingSequence)} == {4}
    draw = random.Random(0)
    strands: Counter[int] = Counter()
    rows = []
    for effect in range(len(EFFECTS)):
        rows += draw.sample(np.flatnonzero(changes.effect_N == effect).tolist(), 334)
    for row in rows:
        strands[genes[str(changes.gene_N[row])].location.strand] += 1
    assert min(strands[1], strands[-1]) > 100
    check(record, genes, sequence, rows)


def draw_gene(draw: random.Random, number: int, *, spliced: bool) -> tuple[str, str]:
    """Draw a circular record with one gene, and its location in the manner of GenBank."""
    length = draw.randrange(90, 160)
    letters = [draw.choice("ACGT") for _ in range(length)]
    cuts = sorted(draw.sample(range(1, length), 4)) if spliced else [0, draw.randrange(30, length)]
    exons = list(zip(cuts[::2], cuts[1::2], strict=True))
    size = sum(end - start for start, end in exons) // 3 * 3
    while sum(end - start for start, end in exons) > size:
        start, end = exons.pop()
        exons += [(start, end - 1)] if end - 1 > start else []
    shift = draw.randrange(length)
    table = tables()[number]
    is_minus = draw.random() < 0.5
    codons = [draw.choice(sorted(table.forward_table)) for _ in range(size // 3 - 1)]
    coding = "".join([*codons, table.stop_codons[0]])
    places = [(shift + at) % length for start, end in exons for at in range(start, end)]
    if is_minus:
        coding = coding.translate(COMPLEMENT)[::-1]
    for place, letter in zip(places, coding, strict=True):
        letters[place] = letter
    parts = []
    for start, end in exons:
        start, end = start + shift, end + shift
        if start >= length:
            start, end = start - length, end - length
        if end > length:
            parts += [f"{start + 1}..{length}", f"1..{end - length}"]
        else:
            parts += [f"{start + 1}..{end}"]
    location = f"join({','.join(parts)})" if len(parts) > 1 else parts[0]
    return "".join(letters), f"complement({location})" if is_minus else location


@pytest.mark.filterwarnings("ignore:This table contains")
@pytest.mark.parametrize("spliced", [False, True])
def test_drawn_genes_of_circles(tmp_path: Path, spliced: bool) -> None:
    draw = random.Random(7)
    num_checked = 0
    for _ in range(40):
        number = draw.choice(GENETIC_CODES)
        letters, location = draw_gene(draw, number, spliced=spliced)
        text = genbank(
            letters, f"CDS {location} /locus_tag=g /transl_table={number}", circular=True
        )
        (record,) = read_text(tmp_path, text)
        (parsed,) = seq_io().parse(io.StringIO(text), "genbank")
        genes = {"g": next(one for one in parsed.features if one.type == "CDS")}
        (found,), changes = every(record)
        assert isinstance(found, CodingSequence), found
        # Neither the start codon nor the stop codon is changed.
        assert changes.position_N.size == 9 * (len(found.codes_C3) - 2)
        rows = draw.sample(range(changes.position_N.size), min(changes.position_N.size, 20))
        check(record, genes, letters, rows)
        num_checked += len(rows)
    assert num_checked > 500


GENE = "ATGAAACCCGGGTTTTAA"


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        ("CDS 1..18 /pseudo", "pseudogene"),
        ("CDS 1..17", "not a whole number of codons"),
        ("CDS 1..18 /transl_table=99", "unknown genetic code 99"),
        ("CDS 1..18 /transl_table=x", "unknown genetic code -1"),
        ("CDS order(1..9,10..18)", "no phase"),
        ("CDS 1..18 /codon_start=2", "not a whole number of codons"),
        ("CDS join(1..9,complement(10..18))", "parts on both strands"),
        ("CDS join(1..18,4..18)", "stop codon inside"),
    ],
)
def test_what_is_not_used_has_a_reason(tmp_path: Path, feature: str, reason: str) -> None:
    (record,) = read_text(tmp_path, genbank(GENE + "ACGTACGT", feature, "gene 1..18"))
    (one,) = [coding_sequence(record, feature, 11) for feature in coding_features(record)]
    assert one == reason


def test_phases_that_disagree_are_a_reason(tmp_path: Path) -> None:
    from tests.annotations import gff

    text = gff("X CDS 1 9 + 0 ID=a", "X CDS 12 17 + 1 ID=a")
    (record,) = read_text(tmp_path, text, f">X\n{GENE}ACGT\n")
    (one,) = [coding_sequence(record, feature, 11) for feature in coding_features(record)]
    assert one == "phases of its parts disagree"


def test_a_base_of_two_frames_is_left_alone(tmp_path: Path) -> None:
    text = genbank(GENE, "CDS 1..18 /locus_tag=a", "CDS <8..>16 /locus_tag=b")
    (record,) = read_text(tmp_path, text)
    found, changes = every(record)
    assert all(isinstance(one, CodingSequence) for one in found)
    assert set(changes.position_N.tolist()) == {3, 4, 5, 6}


def test_the_same_change_of_two_transcripts_is_one(tmp_path: Path) -> None:
    text = genbank(GENE, "CDS 1..18 /locus_tag=a", "CDS 1..18 /locus_tag=b")
    (record,) = read_text(tmp_path, text)
    assert every(record)[1].position_N.size == 9 * 4
