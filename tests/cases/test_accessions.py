"""Lists of accessions as people keep them: each is fetched, or named in an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.accessions import read_accession, read_accession_list
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.mini_ncbi.server import MiniNcbi

ONE, TWO, THREE = "GCF_000005845.2", "GCF_000008865.2", "GCF_000009045.1"
GENBANK = "GCA_900000009.1"


def read(folder: Path, content: bytes | str) -> list[str]:
    """Return the accessions of a list."""
    path = folder / "list.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_accession_list(path, display_name="list.txt"))


@pytest.mark.parametrize(
    ("content", "accessions"),
    [
        pytest.param(f"{ONE}\r\n{TWO} \r\n\r\n", [ONE, TWO], id="case-85-crlf"),
        pytest.param(f"\ufeff{ONE}\n{TWO}\n", [ONE, TWO], id="case-85-bom"),
        pytest.param(f"{ONE},{TWO},{THREE}\n", [ONE, TWO, THREE], id="case-85-comma"),
        pytest.param(f"{ONE} {TWO}\n", [ONE, TWO], id="case-85-blank"),
        pytest.param(f"assembly_accession\ttaxid\n{ONE}\t511145\n", [ONE], id="case-85-tsv"),
        pytest.param(f"RS_{ONE}\nGB_{GENBANK}\n", [ONE, GENBANK], id="case-85-gtdb"),
        pytest.param(f"{ONE}_ASM584v2_genomic.fna.gz\n", [ONE], id="case-85-long"),
        pytest.param(f"{ONE.lower()}\n", [ONE], id="case-85-lower"),
        pytest.param(f'"{ONE}"\n', [ONE], id="case-85-quoted"),
        pytest.param(f"'{ONE}', “{TWO}”;{THREE}", [ONE, TWO, THREE], id="quotes"),
        pytest.param(f"{TWO}\n{ONE} # the first\n# {THREE}\n{TWO}\n", [TWO, ONE], id="comments"),
        pytest.param("GCF_000005845\tGCF_000008865", ["GCF_000005845", "GCF_000008865"], id="tab"),
        pytest.param(
            f'name,Assembly Accession\n"E. coli, K-12","{ONE}"\nB. subtilis,{THREE}\n',
            [ONE, THREE],
            id="csv",
        ),
        pytest.param(
            f'Name;Assembly\n"K-12; substr.";{ONE}\nx;"{THREE}"\n', [ONE, THREE], id="semicolons"
        ),
        pytest.param(
            f"##  See the README\n#assembly_accession\tpaired\torganism\n{ONE}\t{GENBANK}\tE #1\n",
            [ONE],
            id="assembly-summary",
        ),
        pytest.param(f"accession\ttaxonomy\nRS_{ONE}\td__Bacteria;p__\n", [ONE], id="gtdb-table"),
        pytest.param(f"ftp://host/all/GCF/000/{ONE}_ASM584v2/", [ONE], id="address"),
        pytest.param(f"accession\n{ONE}\n\n", [ONE], id="one-column"),
        pytest.param(f"{ONE}\u00a0{TWO}\u2028{THREE}", [ONE, TWO, THREE], id="odd-blanks"),
    ],
)
def test_every_accession_is_read(content: str, accessions: list[str], tmp_path: Path) -> None:
    assert read(tmp_path, content) == accessions


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("NC_000913.3\n", ["`NC_000913.3` (line 1)"], id="case-85-nuc"),
        pytest.param(
            f"\n{ONE}\nSAMN02604091\tPRJNA57779\n",
            ["2 words are", "`SAMN02604091` (line 3)", "`PRJNA57779` (line 3)"],
            id="other-accessions",
        ),
        pytest.param(f"{ONE}\tEscherichia coli\n", ["`Escherichia`", "`coli`"], id="description"),
        pytest.param("GCF_000005845_2\n", ["`GCF_000005845_2`"], id="underscore-for-point"),
        pytest.param(f"taxid\taccession\n562\t{ONE}\n561\n", ["`` (line 3)"], id="short-row"),
        pytest.param(f"accession\n{ONE}\nna\n", ["`na` (line 3)"], id="missing-cell"),
        pytest.param(f"../{ONE}\n", [f"`../{ONE}`"], id="path"),
        pytest.param(f"{ONE}.\n", [f"`{ONE}.`"], id="point"),
        pytest.param(f"{ONE}{TWO}\n", [f"`{ONE}{TWO}`"], id="joined"),
        pytest.param('accession,x\n"GCF_1,2\n', ["line 2", "CSV"], id="open-quote"),
        pytest.param(ONE.encode("utf-16"), ["UTF-16"], id="case-85-utf16"),
        pytest.param(ONE.encode("utf-16-le"), ["UTF-16"], id="utf16-without-mark"),
        pytest.param("# nothing\n\n", ["names no accessions"], id="nothing"),
        pytest.param(f"{ONE}\r{TWO}\r", ["carriage return"], id="lone-carriage-return"),
    ],
)
def test_what_is_not_an_accession_is_named(
    content: bytes | str, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as failure:
        read(tmp_path, content)
    for word in words:
        assert word in failure.value.message
    assert failure.value.hint


def test_a_list_of_many_odd_words_names_twenty_and_counts_the_rest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^`list.txt`: 33 words .*`w19` \(line 20\) and 13 more$"):
        read(tmp_path, "".join(f"w{number}\n" for number in range(33)))


def test_the_option_and_the_list_read_the_same_words() -> None:
    assert read_accession(f" rs_{ONE.lower()} ") == ONE
    assert read_accession("NC_000913.3") is None


def test_case_85_the_command_fetches_all_and_prints_how_many(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{ONE},RS_{TWO}\n{THREE}\n")
    with MiniNcbi() as server:
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", server.base_url)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", server.url)
        line = ("fetch", "--accession-file", str(listed), "--set", "connection.rate=1000", "--json")
        done = run_cli(*line)
        assert done.exit_code == 0, done.err
        names = [row["genome"]["name"] for row in json.loads(done.out)["genomes"]]
        assert sorted(names) == [ONE, TWO, THREE]
        assert f"`{listed}`: 3 accessions" in done.err
        requests = len(server.log)
        listed.write_text(f"{ONE}\nNC_000913.3\n")
        assert_failure(run_cli(*line), "`NC_000913.3` (line 2)", hint="the assembly that holds it")
        done = run_cli("fetch", "--accession", "NC_000913.3")
        assert_failure(done, "accession of one sequence", exit_code=2)
        assert len(server.log) == requests
