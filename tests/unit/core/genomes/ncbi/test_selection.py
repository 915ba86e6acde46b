"""Filters, twins, the best of each taxon; paths and checksums."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, Level
from genomeformer_cli.core.genomes.ncbi.paths import (
    computed_directory,
    file_name,
    file_url,
    name_of,
    parse_md5s,
    rebase,
)
from genomeformer_cli.core.genomes.ncbi.selection import (
    MAGS,
    Criteria,
    TopPer,
    best_first,
    keep_best,
    keep_first,
    parse_date,
    parse_formats,
    parse_levels,
    parse_top_per,
    parse_word,
    select,
)

PLAIN = Assembly(
    accession="GCF_000000001.1",
    taxid=562,
    organism="E. coli",
    name="x",
    level=Level.SCAFFOLD,
    released="2020-01-01",
    num_bases=1000,
    num_contigs=10,
    completeness=95.0,
    contamination=1.0,
)


def some(number: int, **changes: Any) -> Assembly:
    return replace(PLAIN, accession=f"GCF_{number:09d}.1", **changes)


@pytest.mark.parametrize(
    ("criteria", "in_changes", "out_changes", "reason"),
    [
        ({}, {}, {"status": "suppressed"}, "status"),
        ({}, {}, {"is_atypical": True}, "filter.exclude_atypical"),
        ({"exclude_atypical": False}, {"is_atypical": True}, None, ""),
        ({"source": "refseq"}, {}, {"accession": "GCA_000000002.1"}, "--source"),
        ({"source": "genbank"}, {"accession": "GCA_000000002.1"}, {}, "--source"),
        ({"levels": (Level.COMPLETE,)}, {"level": Level.COMPLETE}, {}, "--level"),
        ({"reference": True}, {"is_reference": True}, {}, "--reference"),
        ({"mag": "exclude"}, {}, {"is_mag": True}, "filter.mag"),
        ({"mag": "only"}, {"is_mag": True}, {}, "filter.mag"),
        ({"type_material": True}, {"is_type": True}, {}, "filter.type_material"),
        (
            {"released_after": "2020-01-01"},
            {},
            {"released": "2019-12-31"},
            "filter.released_after",
        ),
        (
            {"released_before": "2020-01-01"},
            {},
            {"released": "2020-01-02"},
            "filter.released_before",
        ),
        ({"min_length": 1000}, {}, {"num_bases": 999}, "filter.min_length"),
        ({"max_contigs": 10}, {}, {"num_contigs": 11}, "filter.max_contigs"),
        ({"max_contigs": 10}, {}, {"num_contigs": None}, "filter.max_contigs"),
        ({"min_completeness": 95.0}, {}, {"completeness": 94.9}, "filter.min_completeness"),
        ({"min_completeness": 95.0}, {}, {"completeness": None}, "filter.min_completeness"),
        ({"max_contamination": 1.0}, {}, {"contamination": 1.1}, "filter.max_contamination"),
        ({"max_contamination": 1.0}, {}, {"contamination": None}, "filter.max_contamination"),
    ],
)
def test_each_filter_lets_in_and_keeps_out(
    criteria: dict[str, Any],
    in_changes: dict[str, Any],
    out_changes: dict[str, Any] | None,
    reason: str,
) -> None:
    chosen = Criteria(**criteria)
    assert chosen.reason_against(replace(PLAIN, **in_changes)) is None
    if out_changes is not None:
        kept_out = replace(PLAIN, **out_changes)
        assert chosen.reason_against(kept_out) == reason
        assert select([kept_out], chosen).excluded == {reason: 1}


def test_of_a_pair_the_refseq_one_stays_and_of_versions_the_last() -> None:
    twins = [
        some(1, paired="GCA_000000001.1"),
        replace(PLAIN, accession="GCA_000000001.1", paired="GCF_000000001.1"),
        replace(PLAIN, accession="GCA_000000002.1"),
        replace(PLAIN, accession="GCF_000000003.9"),
        replace(PLAIN, accession="GCF_000000003.10"),
    ]
    for order in (twins, twins[::-1]):
        chosen = select(order, Criteria(source="both")).assemblies
        assert sorted(a.accession for a in chosen) == [
            "GCA_000000002.1",
            "GCF_000000001.1",
            "GCF_000000003.10",
        ]


def test_the_comparator_ranks_in_its_order() -> None:
    ranked = [
        some(9, is_reference=True, level=Level.CONTIG),
        some(8, level=Level.COMPLETE, is_type=True),
        some(7, level=Level.COMPLETE),
        some(6, level=Level.CHROMOSOME),
        some(5, is_type=True),
        some(4, completeness=99.0, contamination=0.0),
        some(3, completeness=99.5, contamination=1.0),
        some(2, released="2024-01-01"),
        some(0),
        some(1),
        some(10, completeness=None, contamination=None),
    ]
    shuffled = ranked[:]
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=best_first) == ranked


def test_top_per_and_limit() -> None:
    many = [some(n, taxid=n % 3, level=Level.COMPLETE if n > 5 else Level.CONTIG) for n in range(9)]
    chosen = select(many, Criteria())
    best = keep_best(chosen, TopPer(rank="taxid", number=1), lambda a, rank: None)
    assert sorted(a.accession[-3] for a in best.assemblies) == ["6", "7", "8"]
    assert best.excluded == {"--top-per": 6}
    of_one = keep_best(chosen, TopPer(rank="genus", number=2), lambda a, rank: 7)
    assert len(of_one.assemblies) == 2
    assert keep_first(best, 1).excluded == {"--top-per": 6, "--limit": 2}
    assert keep_first(best, 99) == best


def test_excluded_accessions_go() -> None:
    selection = select(
        [some(1), some(2)], Criteria(), excluded_accessions=frozenset({some(1).accession})
    )
    assert [a.accession for a in selection.assemblies] == [some(2).accession]
    assert selection.excluded == {"--exclude-taxon": 1}


def test_words_of_options() -> None:
    assert parse_top_per("species:2") == TopPer(rank="species", number=2)
    assert parse_levels("Complete, contig,complete") == (Level.COMPLETE, Level.CONTIG)
    assert parse_formats("gff") == ("fasta", "gff")
    assert parse_date("2024-02-29") == "2024-02-29"
    assert parse_date(None) is None
    assert parse_word("only", MAGS, "filter.mag") == "only"


@pytest.mark.parametrize("wrong", ["species", "species:0", "kind:1", "species:x"])
def test_wrong_top_per(wrong: str) -> None:
    with pytest.raises(UsageError, match="RANK:NUMBER"):
        parse_top_per(wrong)


def test_wrong_words() -> None:
    for wrong in ("2024-13-01", "yesterday"):
        with pytest.raises(UsageError):
            parse_date(wrong)
    with pytest.raises(UsageError):
        parse_levels("finished")
    with pytest.raises(UsageError):
        parse_formats("fasta,embl")
    with pytest.raises(UsageError):
        parse_word("all", MAGS, "filter.mag")


def test_directories_replace_odd_characters() -> None:
    directory = computed_directory("GCF_900000001.1", "5008_7#11 (x)", "https://host/")
    assert directory == "https://host/genomes/all/GCF/900/000/001/GCF_900000001.1_5008_7_11__x_"
    assert file_name(directory, "gff") == "GCF_900000001.1_5008_7_11__x__genomic.gff.gz"
    assert name_of(file_url(directory, "a b.gz")) == "a b.gz"


@pytest.mark.parametrize("scheme", ["ftp", "https"])
def test_rebase(scheme: str) -> None:
    url = f"{scheme}://ftp.ncbi.nlm.nih.gov/genomes/all/GCF/000/005/845/GCF_000005845.2_ASM584v2/"
    expected = "http://m/genomes/all/GCF/000/005/845/GCF_000005845.2_ASM584v2"
    assert rebase(url, "http://m/") == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://evil/etc/passwd",
        "https://h/genomes/all/../../etc",
        "https://h/genomes/all/%2e%2e/x",
        "",
    ],
)
def test_rebase_refuses_urls_outside_the_genomes_area(url: str) -> None:
    with pytest.raises(ConfigError):
        rebase(url, "http://m")


@pytest.mark.parametrize("url", ["https://h/a/", "https://h/.hidden", "https://h/%2fetc"])
def test_names_of_files(url: str) -> None:
    with pytest.raises(ConfigError):
        name_of(url)


def test_md5_lists() -> None:
    digest = "0123456789abcdef0123456789ABCDEF"
    text = f"{digest}  ./a.gz\n\n{digest} *b.gz\n{digest}  ./s/c\n"
    assert parse_md5s(text.encode()) == {n: digest.lower() for n in ("a.gz", "b.gz", "s/c")}
    for wrong in (b"", b"<html></html>", b"\n", b"12 a"):
        with pytest.raises(ValueError, match="checksum"):
            parse_md5s(wrong)


@given(st.binary(max_size=200))
def test_md5_lists_never_fail_otherwise(content: bytes) -> None:
    try:
        parse_md5s(content)
    except ValueError:
        return
