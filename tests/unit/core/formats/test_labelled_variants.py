"""Small tables in the layout of published ones; every row is used or counted by its reason."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats.labelled_variants import (
    VariantColumns,
    VariantTable,
    read_labelled_variants,
    split_labels,
)

TRAITGYM = """chrom\tpos\tref\talt\tlabel\tconsequence\ttss_dist\tmatch_group
1\t1000\tA\tG\tTrue\t5_prime_UTR_variant\t12\t0
1\t1100\tC\tT\tFalse\t5_prime_UTR_variant\t15\t0
X\t77\tG\tA\tFalse\tintron_variant\t2000\t1
"""
SUMMARY = """#AlleleID\tType\tGeneSymbol\tClinicalSignificance\tAssembly\tChromosome\tStart\t\
ReferenceAllele\tAlternateAllele\tPositionVCF\tReferenceAlleleVCF\tAlternateAlleleVCF
1\tsingle nucleotide variant\tG1\tPathogenic\tGRCh37\t7\t9\tna\tna\t9\tA\tC
1\tsingle nucleotide variant\tG1\tPathogenic\tGRCh38\t7\t5\tna\tna\t5\tA\tC
2\tDeletion\tG2\tLikely benign\tGRCh38\t7\t8\tna\tna\t8\tCA\tC
3\tsingle nucleotide variant\tG2\tUncertain significance\tGRCh38\t7\t9\tna\tna\t9\tG\tC
4\tsingle nucleotide variant\tG2\tBenign/Likely benign\tGRCh38\t7\t-1\tna\tna\t-1\tna\tna
"""
CLINVAR = """##fileformat=VCFv4.1
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
1\t5\t100\tA\tG\t.\t.\tCLNSIG=Pathogenic/Likely_pathogenic|drug_response;GENEINFO=G:1;\
MC=SO:0001583|missense_variant,SO:0001619|x
1\t6\t101\tC\tT\t.\t.\tCLNSIG=Benign;GENEINFO=H:2;MC=SO:0001819|synonymous_variant
1\t7\t102\tC\tT\t.\t.\tCLNSIG=Conflicting_classifications_of_pathogenicity
1\t8\t103\tC\tT\t.\t.\tRS=3
"""
EDITING = """gene,chromosome,position (hg19),reference,alt,experiment,consequence,\
function.score.mean,func.class
BRCA1,17,41276135,T,G,X2,Missense,-0.3,FUNC
BRCA1,17,41276134,T,G,X2,Missense,-1.9,LOF
BRCA1,17,41258550,C,A,X5,Synonymous,-0.9,INT
BRCA1,17,41258551,C,A,X5,Synonymous,0.1,FUNC
"""
MAVEDB = """accession,hgvs_nt,hgvs_splice,hgvs_pro,score
u#1,c.5A>G,NA,p.Lys2Arg,0.1
u#2,c.6A>G,NA,p.Lys2=,-1.5
u#3,NM_1:c.7A>C,NA,p.Thr3Pro,NA
u#4,c.[5A>G;6A>G],NA,p.Lys2Arg,0.2
u#5,n.12del,NA,NA,0.3
u#6,g.9C>T,NA,NA,0.4
"""


def read(folder: Path, text: str, columns: VariantColumns | None = None) -> VariantTable:
    path = folder / "x"
    path.write_text(text, encoding="utf-8")
    table = read_labelled_variants(path, columns or VariantColumns(), display_name="x.tsv")
    assert table.count.read == table.count.used + sum(table.count.left_out.values())
    assert table.count.used == len(table.rows)
    return table


def test_traitgym(tmp_path: Path) -> None:
    table = read(tmp_path, TRAITGYM)
    assert [row.is_positive for row in table.rows] == [True, False, False]
    assert [row.group for row in table.rows] == ["1", "1", "X"]
    assert [row.distance for row in table.rows] == [12, 15, 2000]
    assert table.rows[2].consequence == "intron_variant"
    assert (table.label, table.group) == ("label", "record")
    grouped = read(tmp_path, TRAITGYM, VariantColumns(group="match_group", distance="pos"))
    assert [row.group for row in grouped.rows] == ["0", "0", "1"]
    assert grouped.rows[0].distance == 1000


def test_traitgym_as_parquet(tmp_path: Path) -> None:
    pa: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    wanted = read(tmp_path, TRAITGYM)
    table = pa.table(
        {
            "chrom": ["1", "1", "X"],
            "pos": [1000, 1100, 77],
            "ref": ["A", "C", "G"],
            "alt": ["G", "T", "A"],
            "label": [True, False, False],
            "consequence": ["5_prime_UTR_variant", "5_prime_UTR_variant", "intron_variant"],
            "tss_dist": [12.0, 15.0, 2000.0],
            "pip": [0.5, None, 1.0],
        }
    )
    parquet.write_table(table, tmp_path / "test.parquet")
    read_back = read_labelled_variants(tmp_path / "test.parquet", VariantColumns())
    keys = [(row.variant.position, row.is_positive, row.distance) for row in read_back.rows]
    assert keys == [(row.variant.position, row.is_positive, row.distance) for row in wanted.rows]


def test_the_summary_of_clinvar_needs_an_assembly(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="several assemblies: GRCh37, GRCh38"):
        read(tmp_path, SUMMARY)
    table = read(tmp_path, SUMMARY, VariantColumns(assembly="GRCh38"))
    assert [(row.variant.position, row.is_positive) for row in table.rows] == [
        (5, True),
        (8, False),
    ]
    assert table.count.left_out == {
        "other assembly": 1,
        "label `uncertain significance`": 1,
        "invalid position": 1,
    }
    assert (table.rows[0].group, table.group) == ("G1", "GeneSymbol")


def test_the_vcf_of_clinvar(tmp_path: Path) -> None:
    table = read(tmp_path, CLINVAR)
    assert [(row.is_positive, row.consequence, row.group) for row in table.rows] == [
        (True, "missense_variant", "G:1"),
        (False, "synonymous_variant", "H:2"),
    ]
    assert table.count.left_out == {
        "label `conflicting classifications of pathogenicity`": 1,
        "no label": 1,
    }
    assert table.label == "CLNSIG"


def test_a_vcf_has_one_row_per_allele(tmp_path: Path) -> None:
    text = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t5\t.\tA\tG,T\t.\t.\tLAB=1,0\n"
    table = read(tmp_path, text, VariantColumns(label="LAB"))
    assert [(row.variant.alt, row.is_positive) for row in table.rows] == [("G", True), ("T", False)]
    with pytest.raises(FormatError, match="no column `OTHER`"):
        read(tmp_path, text, VariantColumns(label="OTHER"))


def test_saturation_editing(tmp_path: Path) -> None:
    table = read(tmp_path, EDITING)
    assert [(row.is_positive, row.group) for row in table.rows] == [
        (False, "X2"),
        (True, "X2"),
        (False, "X5"),
    ]
    assert table.group == "experiment"
    assert table.count.left_out == {"label `int`": 1}
    own = VariantColumns(positive=split_labels("LOF, INT"), negative=split_labels("FUNC"))
    table = read(tmp_path, EDITING, own)
    assert [row.is_positive for row in table.rows] == [False, True, True, False]
    scores = VariantColumns(label="function.score.mean", threshold=-0.5)
    table = read(tmp_path, EDITING, scores)
    assert [(row.is_positive, row.value) for row in table.rows] == [
        (False, -0.3),
        (True, -1.9),
        (True, -0.9),
        (False, 0.1),
    ]


def test_a_score_set_of_mavedb(tmp_path: Path) -> None:
    table = read(tmp_path, MAVEDB)
    assert [(row.variant.position, row.variant.alt, row.value) for row in table.rows] == [
        (5, "G", 0.1),
        (6, "G", -1.5),
        (9, "T", 0.4),
    ]
    assert all(row.is_positive is None for row in table.rows)
    assert table.count.left_out == {"not a single substitution in `hgvs_nt`": 2, "no label": 1}
    assert (table.label, table.group) == ("score", "blocks of positions")


@pytest.mark.parametrize("column", ["chrom", "pos", "ref", "alt", "label"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(FormatError, match=f"no column `{column}`"):
        read(tmp_path, TRAITGYM.replace(f"{column}", "other", 1))
