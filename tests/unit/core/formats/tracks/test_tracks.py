"""Tracks are read back by other implementations, and equal what was written."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path

import numpy as np
import pybigtools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import InputError, MissingExtraError
from genomeformer_cli.core.formats.bed import read_bed
from genomeformer_cli.core.formats.tracks.bed import bed_score, write_bed
from genomeformer_cli.core.formats.tracks.elements import (
    Chromosome,
    Hit,
    Spans,
    binned,
    sorted_hits,
)
from genomeformer_cli.core.formats.tracks.files import (
    TrackHead,
    check_chromosomes,
    require_track,
    write_hits,
    write_scores,
)
from genomeformer_cli.core.formats.tracks.gff3 import write_gff3

CHROMOSOMES = [Chromosome(name="chrB", length=900), Chromosome(name="chr;A", length=300)]
HEAD = TrackHead(title='my "hits"\n', chromosomes=CHROMOSOMES, labels=("none", "promoter", "b c"))


def hit(start: int, end: int, label: str = "promoter", strand: str = "+", **more: object) -> Hit:
    values = {"chrom": "chrB", "score": 0.75, **more}
    return Hit(start=start, end=end, label=label, strand=strand, **values)  # type: ignore[arg-type]


def test_bed_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "hits.bed"
    hits = [hit(0, 10), hit(5, 30, "b c", "-", score=0.9996), hit(5, 31, chrom="chr;A", score=2.0)]
    assert write_hits(hits, path, HEAD) == 3
    rows = [(row.record, row.start, row.stop, row.name) for row in read_bed(path)]
    assert rows == [
        ("chrB", 0, 10, "promoter"),
        ("chrB", 5, 30, "b_c"),
        ("chr;A", 5, 31, "promoter"),
    ]
    lines = path.read_text().splitlines()
    assert lines[0] == 'track name="my \'hits\' " itemRgb="On" useScore=0'
    cells = [line.split("\t") for line in lines[1:]]
    assert [row[4] for row in cells] == ["750", "1000", "1000"]
    assert [row[5] for row in cells] == ["+", "-", "+"]
    assert len({row[8] for row in cells}) == 2
    assert all(row[1:3] == row[6:8] for row in cells)


@pytest.mark.parametrize(("score", "whole"), [(-1, 0), (0.0004, 0), (0.5, 500), (float("nan"), 0)])
def test_bed_scores_are_whole_numbers(score: float, whole: int) -> None:
    assert bed_score(score) == whole


def test_gff3_is_read_back() -> None:
    from urllib.parse import unquote

    file = io.BytesIO()
    assert write_gff3([hit(0, 10), hit(9, 20, "a=b;c", ".")], file, chromosomes=CHROMOSOMES) == 2
    lines = file.getvalue().decode().splitlines()
    assert lines[:3] == [
        "##gff-version 3",
        "##sequence-region chrB 1 900",
        "##sequence-region chr;A 1 300",
    ]
    first, second = (line.split("\t") for line in lines[3:])
    assert first == ["chrB", "genomeformer", "promoter", "1", "10", "0.75", "+", ".", first[8]]
    assert second[2:5] == ["sequence_feature", "10", "20"]
    notes = dict(pair.split("=") for pair in second[8].split(";"))
    assert {key: unquote(value) for key, value in notes.items()} == {"ID": "hit2", "Name": "a=b;c"}


def spans_of(generator: np.random.Generator, chrom: str, length: int) -> Spans:
    cuts = np.sort(generator.choice(length, size=min(40, length), replace=False)).astype(np.int64)
    value_N = generator.standard_normal(cuts.size - 1)
    value_N[generator.random(value_N.size) < 0.2] = np.nan
    return Spans(chrom=chrom, start_N=cuts[:-1], end_N=cuts[1:], value_N=value_N)


def test_bigwig_and_bedgraph_hold_equal_values(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    spans = [spans_of(generator, record.name, record.length) for record in CHROMOSOMES]
    expected = [
        (piece.chrom, start, end, value)
        for piece in spans
        for start, end, value in zip(piece.start_N, piece.end_N, piece.value_N, strict=True)
        if np.isfinite(value)
    ]
    wig, graph = tmp_path / "x.bw", tmp_path / "x.bedgraph"
    assert write_scores(spans, wig, HEAD) == write_scores(spans, graph, HEAD) == len(expected)
    reader = pybigtools.open(str(wig))
    assert reader.chroms() == {record.name: record.length for record in CHROMOSOMES}
    found = [(chrom.name, *row) for chrom in CHROMOSOMES for row in reader.records(chrom.name)]
    rows = [line.split("\t") for line in graph.read_text().splitlines()[1:]]
    for other in (found, rows):
        assert [(row[0], int(row[1]), int(row[2])) for row in other] == [
            row[:3] for row in expected
        ]
        values = [float(row[3]) for row in other]
        assert np.allclose(values, [row[3] for row in expected], rtol=1e-5, atol=0)


def test_a_bigwig_of_many_spans_is_complete(tmp_path: Path) -> None:
    length = (1 << 16) + 1_000
    value_L = np.random.default_rng(1).random(length)
    head = TrackHead(title="t", chromosomes=[Chromosome(name="c", length=length)])
    write_scores([binned("c", value_L, 1)], tmp_path / "a.bw", head)
    write_scores([binned("c", value_L, 1)], tmp_path / "b.bw", head)
    read = np.asarray(pybigtools.open(str(tmp_path / "a.bw")).values("c", fillna=None))
    assert np.array_equal(read.astype(np.float32), value_L.astype(np.float32))
    assert (tmp_path / "a.bw").read_bytes() == (tmp_path / "b.bw").read_bytes()


def test_no_file_remains_of_a_failed_track(tmp_path: Path) -> None:
    def spans() -> object:
        yield binned("chrB", np.ones(5), 2)
        raise InputError("damaged", hint="none")

    with pytest.raises(InputError):
        write_scores(spans(), tmp_path / "x.bw", HEAD)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_bigwig_names_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyBigWig", None)
    with pytest.raises(MissingExtraError) as raised:
        require_track(Path("x.bw"))
    assert "genomeformer[tracks]" in str(raised.value.hint)
    require_track(Path("x.bedgraph"))


def test_ambiguous_records_are_refused() -> None:
    with pytest.raises(InputError, match="2 records"):
        check_chromosomes([*CHROMOSOMES, CHROMOSOMES[0]], "g.fa")
    check_chromosomes([], "g.fa")


@given(
    st.lists(st.floats(-9, 9) | st.just(float("nan")), max_size=40),
    st.integers(1, 12),
    st.integers(0, 7),
)
def test_bins_are_means_of_present_values(values: list[float], width: int, first: int) -> None:
    spans = binned("c", np.array(values), width, first=first)
    bins: dict[int, dict[int, float]] = {}
    for place, value in enumerate(values, start=first):
        bins.setdefault(place // width, {})[place] = value
    expected = {}
    for members in bins.values():
        part = [value for value in members.values() if value == value]
        if part:
            expected[min(members), max(members) + 1] = sum(part) / len(part)
    found = zip(spans.start_N.tolist(), spans.end_N.tolist(), strict=True)
    assert list(found) == list(expected)
    assert np.allclose(spans.value_N, list(expected.values()))


HITS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 60),
        st.integers(1, 20),
        st.sampled_from("+-"),
        st.sampled_from(["x", "y"]),
        st.floats(0, 1),
    ),
    max_size=25,
).map(
    lambda rows: [
        hit(start, start + size, label, strand, chrom=chrom, score=score)
        for chrom, start, size, strand, label, score in sorted(rows, key=lambda row: row[:2])
    ]
)


@given(HITS, st.none() | st.integers(0, 5))
def test_hits_are_sorted_and_merged_like_covered_bases(hits: list[Hit], gap: int | None) -> None:
    found = list(sorted_hits(hits, gap))
    places = [(row.chrom, row.start, row.end) for row in found]
    assert places == sorted(places)
    if gap is None:
        assert sorted(map(str, found)) == sorted(map(str, hits))
        return
    for key in {(row.chrom, row.strand, row.label) for row in hits}:
        members = [row for row in hits if (row.chrom, row.strand, row.label) == key]
        covered = {
            base for row in members for base in range(row.start, row.end + gap)
        }  # each interval lengthened: touching ones are one run
        starts = sorted(base for base in covered if base - 1 not in covered)
        joined = [row for row in found if (row.chrom, row.strand, row.label) == key]
        if gap == 0:
            starts = sorted({row.start for row in joined})
            assert {b for row in joined for b in range(row.start, row.end)} == covered
        assert [row.start for row in joined] == starts
        for before, after in itertools.pairwise(joined):
            assert after.start - before.end > gap
        assert max(row.score for row in joined) == max(row.score for row in members)


def test_bed_of_no_hit_is_a_track_line() -> None:
    file = io.BytesIO()
    assert write_bed([], file, title="t", labels=()) == 0
    assert file.getvalue().count(b"\n") == 1
