"""Windows of each class, against a look at each base."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given

from genomeformer_cli.core.annotation.config import DEFAULT_LABELS, Label, WindowRules
from genomeformer_cli.core.annotation.reading import AnnotatedRecord, annotated_records
from genomeformer_cli.core.annotation.sampling import windows_of
from genomeformer_cli.core.annotation.windows import Candidate, candidates
from genomeformer_cli.core.formats.feature import MINUS, PLUS, Feature, Kind, Part
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import reverse_complement
from tests.annotations import MYCOPLASMA_FASTA, MYCOPLASMA_GFF, annotated, feature, record_of
from tests.corpora import random_dna
from tests.strategies import repeatable

SMALL = WindowRules(
    labels=(*DEFAULT_LABELS, Label.RRNA), length=9, promoter=(6, 3), terminator=(3, 6), margin=4
)
DNA = random_dna(100)

Reading = tuple[int, int]


def cut(record: AnnotatedRecord, rules: WindowRules = SMALL) -> list[Candidate]:
    return candidates(record, rules, "g")


def places(found: list[Candidate], label: Label) -> list[tuple[int, int, int]]:
    return [(one.start, one.end, one.strand) for one in found if one.label is label]


def on(record: AnnotatedRecord, start: int, end: int) -> list[int]:
    """Bases of an interval; outside of a record that is no circle there are none."""
    size = record.codes.size
    if record.circular:
        return [base % size for base in range(start, end)]
    return [base for base in range(start, end) if 0 <= base < size]


def readings(record: AnnotatedRecord) -> list[set[Reading]]:
    """For each base the strands and codon positions that coding sequences give it, one by one."""
    found: list[set[Reading]] = [set() for _ in range(record.codes.size)]
    for one in record.features:
        if one.kind is Kind.CDS:
            for part in one.parts:
                bases = on(record, part.start, part.end)
                bases = bases if part.strand == PLUS else bases[::-1]
                assert part.phase is not None
                for place, base in enumerate(bases):
                    found[base].add((part.strand, (place - part.phase) % 3))
    return found


@given(record=annotated())
@repeatable
def test_every_label_is_that_of_a_look_at_each_base(record: AnnotatedRecord) -> None:
    found = cut(record)
    size = record.codes.size
    frames = readings(record)
    for one in found:
        bases = on(record, one.start, one.end)
        assert len(bases) == 9
        assert 0 <= one.start < size
        if one.label is Label.CODING:
            assert one.phase is not None
            own = bases if one.strand == PLUS else bases[::-1]
            expected = [{(one.strand, (place - one.phase) % 3)} for place in range(9)]
            assert [frames[base] for base in own] == expected
        elif one.label is Label.INTERGENIC:
            near = {base for f in record.features for base in on(record, f.start - 4, f.end + 4)}
            ends = {
                base
                for other in found
                if other.label in (Label.PROMOTER, Label.TERMINATOR)
                for base in on(record, other.start, other.end)
            }
            assert not set(bases) & (near | ends)


@given(record=annotated())
@repeatable
def test_no_row_leaves_out_a_window_that_fits(record: AnnotatedRecord) -> None:
    """Within a run of bases that qualify there are as many windows as fit side by side."""
    rules = WindowRules(labels=(Label.INTERGENIC,), length=9, margin=4)
    size = record.codes.size
    taken_up = {base for f in record.features for base in on(record, f.start - 4, f.end + 4)}
    free = [base not in taken_up for base in range(size)]
    if record.circular and not all(free):
        shift = free.index(False)
        free = free[shift:] + free[:shift]
    lengths = [len(run) for run in "".join("x" if flag else " " for flag in free).split()]
    found = cut(record, rules)
    assert len(found) == sum(length // 9 for length in lengths)
    used = Counter(base for one in found for base in on(record, one.start, one.end))
    assert set(used.values()) <= {1}


@given(record=annotated())
@repeatable
def test_the_other_strand_gives_the_same_sequences(record: AnnotatedRecord) -> None:
    """A genome read from its other strand: genes change strand, what is cut for them does not."""
    size = record.codes.size
    turned = []
    for one in record.features:
        part = one.parts[0]
        start = (size - part.end) % size if record.circular else size - part.end
        turned.append(
            Feature(
                kind=one.kind,
                parts=(Part(start, start + part.end - part.start, -part.strand, part.phase),),
            )
        )
    letters = "".join("ACGT"[code] for code in record.codes)
    other = record_of(reverse_complement(letters), *turned, circular=record.circular)
    rules = WindowRules(
        labels=(Label.PROMOTER, Label.TERMINATOR), promoter=(6, 3), terminator=(3, 6)
    )
    ours, theirs = (
        sorted((w.candidate.label, w.sequence) for w in windows_of(one, rules, "g"))
        for one in (record, other)
    )
    # Of copies the first is kept, and first is another one here: compare what there is.
    assert {label_and_canonical(one) for one in ours} == {label_and_canonical(o) for o in theirs}


def label_and_canonical(pair: tuple[Label, str]) -> tuple[Label, str]:
    return pair[0], min(pair[1], reverse_complement(pair[1]))


def test_around_a_gene_on_either_strand() -> None:
    for strand, promoter, terminator in (
        (PLUS, (34, 43, PLUS), (57, 66, PLUS)),
        (MINUS, (57, 66, MINUS), (34, 43, MINUS)),
    ):
        found = cut(record_of(DNA, feature(Kind.GENE, 40, 60, strand)))
        assert places(found, Label.PROMOTER) == [promoter]
        assert places(found, Label.TERMINATOR) == [terminator]


def test_around_the_origin_only_on_a_circle() -> None:
    gene = feature(Kind.GENE, 2, 60)
    assert places(cut(record_of(DNA, gene)), Label.PROMOTER) == []
    found = cut(record_of(DNA, gene, circular=True))
    assert places(found, Label.PROMOTER) == [(96, 105, PLUS)]


def test_open_ends_give_no_windows_there() -> None:
    part = Part(40, 60, MINUS)
    for open_5, open_3, expected in (
        (True, False, {Label.TERMINATOR}),
        (False, True, {Label.PROMOTER}),
        (True, True, set()),
    ):
        gene = Feature(kind=Kind.GENE, parts=(part,), open_5=open_5, open_3=open_3)
        labels = {one.label for one in cut(record_of(DNA, gene))} - {Label.INTERGENIC}
        assert labels == expected


def test_a_pseudogene_gives_nothing_and_is_not_intergenic() -> None:
    pseudo = [
        Feature(kind=kind, parts=(Part(10, 90, PLUS, 0),), pseudo=True)
        for kind in (Kind.GENE, Kind.CDS)
    ]
    assert cut(record_of(DNA, *pseudo)) == []


def test_where_reading_frames_disagree_nothing_is_coding() -> None:
    outer, inner = feature(Kind.CDS, 0, 90), feature(Kind.CDS, 30, 60, MINUS)
    found = cut(record_of(DNA, outer, inner))
    coding = places(found, Label.CODING)
    assert len(coding) == 6
    assert all(end <= 30 or start >= 60 for start, end, _ in coding)


def test_isoforms_in_one_frame_are_cut_once() -> None:
    found = cut(record_of(DNA, feature(Kind.CDS, 0, 90), feature(Kind.CDS, 30, 60)))
    coding = places(found, Label.CODING)
    assert len(coding) == 10
    assert len({start for start, _, _ in coding}) == 10


def test_introns_are_neither_coding_nor_intergenic() -> None:
    parts = (Part(0, 30, PLUS, 0), Part(70, 100, PLUS, 0))
    found = cut(record_of(DNA, Feature(kind=Kind.CDS, parts=parts)))
    assert not places(found, Label.INTERGENIC)
    assert all(end <= 30 or start >= 70 for start, end, _ in places(found, Label.CODING))


def test_gaps_between_parts_on_both_strands_are_not_covered() -> None:
    """Trans-splicing, as of rps12 in chloroplasts: no intron joins the parts."""
    parts = (Part(80, 100, PLUS), Part(0, 20, MINUS))
    found = cut(record_of(DNA, Feature(kind=Kind.GENE, parts=parts)))
    assert {one.label for one in found} == {Label.INTERGENIC}
    assert len(found) == (100 - 2 * 24) // 9


def test_genes_count_before_what_is_in_them() -> None:
    gene, cds = feature(Kind.GENE, 30, 80), feature(Kind.CDS, 40, 70)
    assert places(cut(record_of(DNA, gene, cds)), Label.PROMOTER) == [(24, 33, PLUS)]
    assert places(cut(record_of(DNA, cds)), Label.PROMOTER) == [(34, 43, PLUS)]


def test_a_trna_is_in_the_middle() -> None:
    rules = WindowRules(labels=(Label.TRNA,), length=20)
    found = cut(record_of(DNA, feature(Kind.TRNA, 40, 50, MINUS)), rules)
    assert places(found, Label.TRNA) == [(35, 55, MINUS)]


def test_a_seed_moves_rows_and_nothing_else() -> None:
    (record,) = annotated_records(MYCOPLASMA_FASTA, MYCOPLASMA_GFF, reporter=SilentReporter())
    first, again, other = (candidates(record, WindowRules(seed=seed), "g") for seed in (0, 0, 1))
    assert first == again
    assert first != other
    for label in (Label.PROMOTER, Label.TERMINATOR):
        assert places(first, label) == places(other, label)
    phases = Counter(one.phase for one in first if one.label is Label.CODING)
    assert phases.keys() == {0, 1, 2}
    assert min(phases.values()) > 0.3 * phases.total()


@pytest.mark.parametrize("circular", [False, True])
def test_a_record_shorter_than_a_window_gives_none(circular: bool) -> None:
    record = record_of("ACGTACG", feature(Kind.GENE, 1, 4), circular=circular)
    assert cut(record) == []
