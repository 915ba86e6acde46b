"""Taxa, assemblies and files whose names hold characters that paths and addresses treat apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.mini_ncbi import world
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import FakeAssembly, make_world

FAST = ("--set", "connection.rate=1000", "--set", "connection.retries=0")
CANDIDATE, BRACKETS, VIRUS = 197, 29347, 11320
ASSEMBLIES = ["ASM_100%_v1", "caf\u00e9 v1?", "a+b=c&d", "UoM_v1.0;x", "v1..2", "[x]'y\""]


@pytest.fixture
def ncbi(monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniNcbi]:
    """Serve genomes of oddly named taxa and assemblies."""
    monkeypatch.setitem(world.TAXA, CANDIDATE, (2, "species", "Candidatus 'T' sp. A/B (C) #1"))
    monkeypatch.setitem(world.TAXA, BRACKETS, (2, "species", "[Clostridium] scindens"))
    monkeypatch.setitem(world.TAXA, VIRUS, (1, "species", "A/goose/X/1/96(H5N1) virus"))
    known = make_world()
    for number, name in enumerate(ASSEMBLIES):
        known.assemblies.append(
            FakeAssembly(
                accession=f"GCF_91000000{number}.1",
                taxid=(CANDIDATE, BRACKETS, VIRUS)[number % 3],
                name=name,
                records=[(f"NZ_9{number:05d}.1 chr", "ACGTTGCAAC" * 30)],
            )
        )
    with MiniNcbi(world=known) as server:
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", server.base_url)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", server.url)
        yield server


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("[Clostridium] scindens", 2),
        ("29347 ", 2),
        ("Escherichia  coli", 7),
        ("Escherichia coli O157:H7", 1),
        ("469598", 7),
    ],
    ids="case-86-{}".format,
)
def test_odd_names_are_found(ncbi: MiniNcbi, run_cli: RunCommand, word: str, number: int) -> None:
    done = run_cli("fetch", "--taxon", word, "--dry-run", "--json", *FAST)
    assert done.exit_code == 0, done.err
    assert len(json.loads(done.out)["plan"]["accessions"]) == number


@pytest.mark.parametrize(
    ("word", "sentence", "hint"),
    [
        ("Candidatus 'T' sp. A/B (C) #1", "no taxon by the name", "--taxon 562"),
        ("A/goose/X/1/96(H5N1) virus", "no taxon by the name", "--taxon 562"),
        ("../../x", "no taxon by the name", "--taxon 562"),
        ("Bacillus", "the name of 2 taxa", "--taxon 1386"),
        ("escherichia_coli", "has no taxon", ""),
        ("taxid:562", "has no taxon", "spelling"),
        ("562.0", "has no taxon", "spelling"),
        ("-1", "has no taxon", ""),
        ("é", "has no taxon", "spelling"),
        ("²", "has no taxon", "spelling"),
        ("9" * 30, "has no taxid", "by its name"),
        ("4294967296", "has no tax", ""),
        (" ", "empty taxon name", "a name or a taxid"),
    ],
    ids="case-86-{}".format,
)
@pytest.mark.parametrize("api", [True, False], ids=["api", "files"])
def test_a_name_that_is_not_found_ends_in_a_sentence_without_an_address(
    ncbi: MiniNcbi, run_cli: RunCommand, word: str, sentence: str, hint: str, *, api: bool
) -> None:
    ncbi.api_down = not api
    done = run_cli("fetch", f"--taxon={word}", "--dry-run", *FAST)
    if not api and "/" in word:  # the files hold all names as they are
        assert done.exit_code == (2 if word.startswith("..") else 0), done.err
        return
    lines = [line for line in done.err.splitlines() if line.startswith(("error", "hint"))]
    assert len(lines) == 2, done.err
    assert sentence in lines[0]
    assert hint in lines[1]
    assert "http" not in "".join(lines)
    assert done.exit_code == 2
    if api and "/" in word:
        asked = [unquote(unquote(request.path)) for request in ncbi.log]
        assert any(path.endswith(f"taxon_suggest/{word}") for path in asked)


def test_case_87_odd_names_of_assemblies_are_cached(ncbi: MiniNcbi, run_cli: RunCommand) -> None:
    taxa = [option for taxid in (CANDIDATE, BRACKETS, VIRUS) for option in ("--taxon", str(taxid))]
    done = run_cli("fetch", *taxa, "--json", *FAST)
    assert done.exit_code == 0, done.err
    rows = json.loads(done.out)["genomes"]
    assert sorted(row["genome"]["assembly_name"] for row in rows) == sorted(ASSEMBLIES)
    assert run_cli("cache", "verify").exit_code == 0
    done = run_cli(
        "fetch", "--accession", "GCF_900000005.1", "--accession", "GCF_999999999.1", *FAST
    )
    assert done.exit_code == 3
    assert "failed: GCF_999999999.1: NCBI has no such assembly" in done.out


def test_case_88_files_of_similar_names_are_not_confused(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    for name, letters in (("a b.fa", "ACGT"), ("a_b.fa", "GGGG"), ("一.fa", "CC"), ("二.fa", "TT")):
        (tmp_path / name).write_text(f">r\n{letters}\n")
    assert run_cli("fetch", "--file", str(tmp_path / "a b.fa")).exit_code == 0
    done = run_cli("fetch", "--file", str(tmp_path / "a_b.fa"))
    assert_failure(done, "already has a genome `a_b` with other content", hint="--name")
    assert run_cli("fetch", "--file", str(tmp_path / "一.fa")).exit_code == 0
    done = run_cli("fetch", "--file", str(tmp_path / "二.fa"))
    assert_failure(done, "with other content", hint="--name")
    named = run_cli("fetch", "--file", str(tmp_path / "二.fa"), "--name", "two")
    assert named.exit_code == 0, named.err
