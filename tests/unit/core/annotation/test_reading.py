"""Annotation is read beside its sequences."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.errors import AnnotationError, FastaError, FormatError
from genomeformer_cli.core.formats.feature import Kind
from genomeformer_cli.core.reporting import SilentReporter
from tests.annotations import (
    MYCOPLASMA_FASTA,
    MYCOPLASMA_GENBANK,
    MYCOPLASMA_GFF,
    PHIX,
    genbank,
    gff,
    read_text,
)
from tests.files import truncated_gzip
from tests.reporters import Listening

DNA = "ACGTTGCAAC" * 10


def test_two_parsers_of_two_formats_agree_on_a_real_genome() -> None:
    """M. genitalium as RefSeq gives it."""
    found = []
    for path in (MYCOPLASMA_GFF, MYCOPLASMA_GENBANK):
        (record,) = annotated_records(MYCOPLASMA_FASTA, path, reporter=SilentReporter())
        assert record.circular
        assert record.codes.size == 580_076
        kinds = (Kind.GENE, Kind.CDS, Kind.RRNA, Kind.TRNA)
        found.append(
            {
                (one.kind.name, one.parts, one.locus_tag, one.open_5, one.open_3, one.pseudo)
                for one in record.features
                if one.kind in kinds
            }
        )
    assert found[0] == found[1]
    counts = {name: sum(one[0] == name for one in found[0]) for name in ("GENE", "CDS", "TRNA")}
    assert counts == {"GENE": 563, "CDS": 521, "TRNA": 36}


def test_a_real_circle_has_genes_across_its_origin() -> None:
    """phiX174: A, A* and B, as published by Sanger et al. 1977."""
    (record,) = annotated_records(None, PHIX, reporter=SilentReporter())
    across = [(one.start, one.end) for one in record.features if one.end > record.codes.size]
    assert across == [(3980, 5386 + 136), (4496, 5386 + 136), (5074, 5386 + 51)]


def test_ids_without_a_match_are_listed_on_both_sides(tmp_path: Path) -> None:
    text = gff("NC_1.1 gene 1 9 + . ID=g", "NC_2.1 gene 1 9 + . ID=h")
    fasta = "".join(f">chr{n}\n{DNA}\n" for n in range(1, 6))
    with pytest.raises(AnnotationError) as failure:
        read_text(tmp_path, text, fasta)
    assert "`chr1`, `chr2`, `chr3` and 2 more against `NC_1.1`, `NC_2.1`" in failure.value.message


def test_an_annotation_without_gene_features_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no gene, CDS, tRNA or rRNA features on `a`"):
        read_text(tmp_path, gff("a region 1 9 + . ID=r"), f">a\n{DNA}\n")


def test_records_without_annotation_and_annotation_without_records_are_reported(
    tmp_path: Path,
) -> None:
    listening = Listening()
    text = gff("a gene 1 9 + . ID=g", "c gene 1 9 + . ID=h", "d region 1 9 + . ID=i")
    found = read_text(tmp_path, text, f">a\n{DNA}\n>b\n{DNA}\n>d\n{DNA}\n", reporter=listening)
    assert [record.id for record in found] == ["a"]
    assert any("annotated on `b`, `d`: nothing is cut" in one for one in listening.warnings)
    assert any("lacks annotated sequences: `c`" in one for one in listening.warnings)


def test_two_sequences_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FastaError, match="two records `a`"):
        read_text(tmp_path, gff("a gene 1 9 + . ID=g"), f">a\n{DNA}\n>a\n{DNA}\n")


def test_a_feature_past_the_end_is_of_another_sequence(tmp_path: Path) -> None:
    text = gff("a gene 95 101 + . ID=g")
    with pytest.raises(AnnotationError, match=r"`g` ends at base 101 of `a`, which has 100"):
        read_text(tmp_path, text, f">a\n{DNA}\n")


def test_genbank_without_sequence_needs_a_fasta(tmp_path: Path) -> None:
    whole = genbank(DNA, "gene 1..9")
    bare = whole[: whole.index("ORIGIN")] + "//\n"
    with pytest.raises(AnnotationError, match=r"`X\.1` has no sequence"):
        read_text(tmp_path, bare)
    (record,) = read_text(tmp_path, bare, f">X.1\n{DNA}\n")
    assert len(record.features) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b">a\nACGT\n", "is FASTA, which has no annotation"),
        (b"# nothing\n\n", "has only comments"),
        (b"\x89PNG\r\n", "is a PNG picture"),
        (b"one two\n", "is neither GFF3 nor GenBank"),
        (b"ID   X56734; SV 1; linear\n", "is EMBL"),
        (b"##gff-version 3\na\xff\tt\tgene\t1\t9\t.\t+\t.\tID=x\n", "line 2.*not UTF-8"),
        (truncated_gzip(gff("a gene 1 9 + . ID=g").encode() * 50), "truncated gzip"),
    ],
)
def test_other_files_are_refused_as_annotation(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    (tmp_path / "a.fa").write_text(f">a\n{DNA}\n", encoding="utf-8")
    with pytest.raises(FormatError, match=words):
        list(annotated_records(tmp_path / "a.fa", tmp_path / "x", reporter=SilentReporter()))


def test_a_damaged_genbank_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gb.gz"
    path.write_bytes(truncated_gzip(gzip.decompress(PHIX.read_bytes())))
    with pytest.raises(FormatError, match="truncated gzip"):
        list(annotated_records(None, path, reporter=SilentReporter()))


def test_a_cds_without_a_phase_is_reported(tmp_path: Path) -> None:
    listening = Listening()
    read_text(tmp_path, gff("a CDS 1 9 + . ID=g"), f">a\n{DNA}\n", reporter=listening)
    assert any("gives 1 CDS no phase" in one for one in listening.warnings)
