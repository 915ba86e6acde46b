"""`genomeformer fetch --taxonomy`: names of GTDB, from files in the layout of its releases."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.mini_ncbi.server import MiniNcbi

FAST = ("--set", "connection.rate=1000", "--set", "connection.timeout=1")
COLI = (
    "d__Bacteria;p__Pseudomonadota;c__Gammaproteobacteria;o__Enterobacterales;"
    "f__Enterobacteriaceae;g__Escherichia;s__Escherichia coli"
)
FERGUSONII = COLI.replace("s__Escherichia coli", "s__Escherichia fergusonii")
# Rows of a metadata file: more columns than are read, in the order of the releases.
ROWS = [
    ("RS_GCF_000005845.2", "t", COLI),
    ("RS_GCF_000008865.2", "f", COLI),
    ("GB_GCA_000026225.1", "f", FERGUSONII),
    ("UBA11131", "t", FERGUSONII),
]


def metadata_text(rows: list[tuple[str, str, str]]) -> str:
    header = "accession\tambiguous_bases\tgtdb_representative\tgtdb_taxonomy\tncbi_taxid"
    lines = [f"{name}\t0\t{mark}\t{lineage}\t562" for name, mark, lineage in rows]
    return "\n".join([header, *lines]) + "\n"


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    path = tmp_path / "bac120_metadata.tsv.gz"
    path.write_bytes(gzip.compress(metadata_text(ROWS).encode()))
    return path


@pytest.fixture
def ncbi(monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniNcbi]:
    with MiniNcbi() as server:
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", server.base_url)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", server.url)
        yield server


def fetched(run_cli: RunCommand, *options: str) -> list[str]:
    done = run_cli("fetch", *options, "--json", *FAST)
    assert done.exit_code == 0, done.err
    return sorted(genome["genome"]["name"] for genome in json.loads(done.out)["genomes"])


@pytest.mark.usefixtures("ncbi")
def test_representatives_of_a_genus_are_fetched(run_cli: RunCommand, metadata: Path) -> None:
    options = ("--taxonomy", str(metadata), "--taxon", "g__Escherichia")
    assert fetched(run_cli, *options) == ["GCF_000005845.2"]


@pytest.mark.usefixtures("ncbi")
def test_all_genomes_of_a_species_can_be_fetched(run_cli: RunCommand, metadata: Path) -> None:
    options = ("--taxonomy", str(metadata), "--taxon", "s__Escherichia coli")
    every = fetched(run_cli, *options, "--set", "filter.representatives=false")
    assert every == ["GCF_000005845.2", "GCF_000008865.2"]


def test_rows_are_counted(run_cli: RunCommand, metadata: Path, ncbi: MiniNcbi) -> None:
    done = run_cli("fetch", "--taxonomy", str(metadata), "--taxon", "g__Escherichia", *FAST)
    assert (
        "GTDB: 4 genomes of g__Escherichia, 1 of the chosen ones not at NCBI; 1 chosen" in done.err
    )


@pytest.mark.usefixtures("ncbi")
def test_a_taxonomy_file_without_marks_warns(run_cli: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "bac120_taxonomy.tsv"
    path.write_text("".join(f"{name}\t{lineage}\n" for name, _, lineage in ROWS[:2]), "utf-8")
    done = run_cli("fetch", "--taxonomy", str(path), "--taxon", "g__Escherichia", "--json", *FAST)
    assert "does not mark the representatives" in done.err
    assert len(json.loads(done.out)["genomes"]) == 2


def test_the_newest_release_is_downloaded_once(
    run_cli: RunCommand,
    metadata: Path,
    ncbi: MiniNcbi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archaea = metadata.with_name("ar53_metadata.tsv.gz")
    archaea.write_bytes(gzip.compress(metadata_text([]).encode()))
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            asked.append(self.path)

    serve = partial(Handler, directory=str(metadata.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GENOMEFORMER_GTDB_URL", f"http://127.0.0.1:{server.server_port}")
        for _ in range(2):
            names = fetched(run_cli, "--taxonomy", "gtdb", "--taxon", "s__Escherichia coli")
            assert names == ["GCF_000005845.2"]
        server.shutdown()
    assert sorted(asked) == ["/ar53_metadata.tsv.gz", "/bac120_metadata.tsv.gz"]


@pytest.mark.parametrize(
    ("taxon", "message"),
    [
        ("Escherichia", "not a taxon of GTDB"),
        ("g__Eschericha", "did you mean `g__Escherichia`?"),
        ("s__Escherichia fergusonii", "NCBI has none of the 2 genomes"),
    ],
)
def test_wrong_names_are_refused(
    run_cli: RunCommand, metadata: Path, taxon: str, message: str
) -> None:
    done = run_cli("fetch", "--taxonomy", str(metadata), "--taxon", taxon, *FAST)
    assert_failure(done, exit_code=done.exit_code)
    assert message in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accession\tgtdb_taxonomy\nx\td__Bacteria\n", "`gtdb_representative` is missing"),
        ("a\tb\tc\n", "line 1: 3 columns, not 2"),
        ("GCF_000005845.2\tBacteria\n", "not a taxonomy of GTDB"),
    ],
)
def test_other_layouts_are_refused_by_line(
    run_cli: RunCommand, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(text, encoding="utf-8")
    done = run_cli("fetch", "--taxonomy", str(path), "--taxon", "g__Escherichia", *FAST)
    assert done.exit_code != 0
    assert message in done.err
