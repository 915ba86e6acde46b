"""`tokenize --inspect` and `tokenize --stats`: looking, at a sequence or at a corpus."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest

from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
from tests.cli import RunCommand, run_python
from tests.conftest import Golden
from tests.failures import assert_failure
from tests.files import everything_in, names_in

ODD = "ATGAACTCAAGCACGTTGnnacgtRYACGTACGTAUUNCATTACGGCGCATTACGATTAGACCATGATTACCAGC"
LINES = [
    "",
    "--tokenizer kmer",
    "--tokenizer kmer --k 3 --stride 1",
    "--tokenizer kmer --k 6 --stride 4",
    "--tokenizer kmer --limit 10",
]
PHAGES = ("--genome", "NC_001422.1", "--genome", "NC_001416.1")


@pytest.fixture
def samples(run_cli: RunCommand, cache_home: Path) -> Path:
    assert run_cli("fetch", "--sample").exit_code == 0
    return cache_home


@pytest.fixture(scope="module")
def cache_of_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a corpus of byte pairs, made once."""
    store = Store(tmp_path_factory.mktemp("pairs") / "cache")
    for genome in sample_genomes():
        install_sample(genome, store=store)
    request = TokenizeRequest(
        name="pairs", genomes=PHAGES[1::2], tokenizer="bpe", settings={"vocab_size": 64}
    )
    tokenize_genomes(request, reporter=SilentReporter(), store=store)
    return store.root


@pytest.fixture
def pairs(cache_of_pairs: Path, cache_home: Path) -> Path:
    return Path(shutil.copytree(cache_of_pairs, cache_home))


def test_how_it_is_cut_without_colour(
    run_cli: RunCommand, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = []
    for line in LINES:
        done = run_cli("tokenize", "--inspect", ODD, *line.split())
        assert (done.exit_code, done.err) == (0, "")
        rows = "\n".join(row.rstrip() for row in done.out.splitlines())
        shown.append(f"$ genomeformer tokenize --inspect SEQUENCE {line}".rstrip() + f"\n{rows}\n")
    golden("inspect.txt", "\n".join(shown))


def test_the_rows_hold_every_letter_once(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in ("7", "20", "47", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        out = run_cli("tokenize", "--inspect", ODD, "--tokenizer", "kmer").out
        rows = [
            line.split() for line in out.splitlines() if re.fullmatch(r" *\d+  [A-Za-z|]+", line)
        ]
        assert "".join(row[-1] for row in rows).replace("|", "") == ODD
        assert all(
            row[0] == str(1 + sum(len(r[-1].replace("|", "")) for r in rows[:i]))
            for i, row in enumerate(rows)
        )


def test_a_token_longer_than_a_row_continues_in_the_next(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeat = "A" * 500
    (tmp_path / "a.fa").write_text(f">a\n{repeat * 20}\n", encoding="utf-8")
    line = ("tokenize", str(tmp_path / "a.fa"), "--name", "c", "--tokenizer", "bpe")
    assert run_cli(*line).exit_code == 0
    monkeypatch.setenv("COLUMNS", "40")
    out = run_cli("tokenize", "--inspect", repeat, "--name", "c").out
    rows = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.endswith(("A", "A|"))]
    assert "".join(rows).count("A") == 500
    assert sum(row.count("|") for row in rows) < len(rows)


def test_colours_match_the_bars(tmp_path: Path) -> None:
    """On a terminal, tokens are parted by colours alone."""
    script = (
        "import sys; from rich.console import Console\n"
        "from genomeformer_cli.render.tokens import *\n"
        "from genomeformer_cli.core.workflows.tokenize_inspect import *\n"
        "request = InspectRequest(source='ACGTNacg', tokenizer='kmer', settings={'k': 3})\n"
        "console = Console(force_terminal=True, color_system='truecolor', width=60)\n"
        "console.print(TokensView(inspect_sequences(request)))\n"
    )
    done = run_python("-c", script, environment={"NO_COLOR": "", "TERM": "xterm-256color"})
    (row,) = [line for line in done.out.splitlines() if "ACG" in line]
    cells = [cell.split("m", 1)[1] for cell in row.split("\x1b[")[1::2]]
    assert cells == ["ACG", "T", "N", "acg"]
    assert "|" not in done.out
    colours = [cell.split("m", 1)[0] for cell in row.split("\x1b[")[1::2]]
    assert len(set(colours)) == 4


def test_machines_get_ids_tokens_and_places(run_cli: RunCommand) -> None:
    line = ("tokenize", "--inspect", "-", "--tokenizer", "kmer", "--k", "3", "--json")
    done = run_cli(*line, stdin=b">a what it is\nACGTN\n>b\nRu\n")
    assert (done.exit_code, done.err) == (0, "")
    result = json.loads(done.out)
    assert (result["tokenizer"], result["settings"]) == ("kmer", {"k": 3, "stride": 3})
    first, second = result["records"]
    assert (first["id"], first["description"]) == ("a", "what it is")
    assert first["tokens"] == ["ACG", "T", "N"]
    assert first["offsets"] == [[0, 3], [3, 4], [4, 5]]
    assert first["ids"][-1] == result["vocabulary_size"] - 1 == 73
    assert (second["sequence"], second["tokens"]) == ("Ru", ["N", "T"])
    assert second["treatment"]["ambiguous"] == {"R": 1}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_is_shown_to_the_limit(pack: object, run_cli: RunCommand, tmp_path: Path) -> None:
    assert callable(pack)
    path = tmp_path / "x.fa.gz"
    path.write_bytes(pack(b">a\n" + b"ACGT" * 300 + b"\n>b\nACGT\n"))
    out = run_cli("tokenize", "--inspect", str(path), "--limit", "8").out
    assert "the first 8 bases, 8 tokens" in out
    assert "there is more: 8 bases are shown, `--limit`" in out
    assert ">b" not in out
    out = run_cli("tokenize", "--inspect", str(path), "--limit", "5000").out
    assert "there is more" not in out
    assert ">b" in out


def test_looking_leaves_nothing(run_cli: RunCommand, cache_home: Path) -> None:
    assert run_cli("tokenize", "--inspect", "ACGT").exit_code == 0
    assert not cache_home.exists()


def test_a_corpus_and_its_vocabulary_cut_alike(run_cli: RunCommand, pairs: Path) -> None:
    (name,) = names_in(pairs / "vocabularies")
    line = ("tokenize", "--inspect", ODD, "--json")
    by_name = run_cli(*line, "--name", "pairs").out
    assert by_name == run_cli(*line, "--vocabulary", name, "--tokenizer", "bpe").out
    assert by_name == run_cli(*line, "--vocabulary", str(pairs / "corpora" / "pairs")).out
    assert json.loads(by_name)["tokenizer"] == "bpe"


def test_byte_pairs_without_a_vocabulary_are_refused(run_cli: RunCommand, samples: Path) -> None:
    line = ("tokenize", "--inspect", "ACGT", "--tokenizer", "bpe")
    assert_failure(run_cli(*line), "needs a trained vocabulary", hint="--name pairs", exit_code=2)
    run_cli("tokenize", *PHAGES, "--name", "pairs", "--tokenizer", "bpe", "--vocab-size", "64")
    (name,) = names_in(samples / "vocabularies")
    assert_failure(run_cli(*line), "needs a trained vocabulary", hint=f"`{name}`", exit_code=2)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("MAIDENKQK", "`I` at position 3", "protein"),
        ("AC-GT", "`-` at position 3", "gaps"),
        ("A" * 5000 + "!", "`!` at position 5001", "nucleotide codes"),
        ("", "nothing to inspect", "`-` for stdin"),
        (" \n", "nothing to inspect", "`-` for stdin"),
        ("missing.fa", "`missing.fa` does not exist", "check the path"),
    ],
)
def test_uninspectable_input_is_refused(
    text: str, words: str, hint: str, run_cli: RunCommand
) -> None:
    assert_failure(run_cli("tokenize", "--inspect", text), words, hint=hint)


@pytest.mark.parametrize(
    ("line", "words", "exit_code"),
    [
        ("--inspect ACG --all", "`--all` cannot be combined with `--inspect`", 2),
        ("x.fa --inspect ACG --split tail", "`--split`, `FILES`", 2),
        ("--inspect ACG --stats", "`--stats`", 2),
        ("--inspect ACG --vocabulary nope", "`nope`", 1),
        ("--inspect ACG --name nope", "`nope`", 1),
        ("--inspect ACG --name pairs --vocabulary x", "both name", 2),
        ("--inspect ACG --name pairs --tokenizer kmer", "is of `bpe`, not `kmer`", 2),
        ("--inspect ACG --name pairs --tokenizer codon", "unknown tokenizer `codon`", 2),
        ("--inspect ACG --name pairs --k 3", "has no `--k`", 2),
        ("--inspect ACG --name pairs --vocab-size 65", "`--vocab-size 64`", 2),
        ("--inspect ACG --k 3", "no setting `k`", 2),
        ("--inspect ACG --tokenizer codon", "unknown tokenizer `codon`", 2),
        ("--inspect ACG --limit 0", "--limit", 2),
        ("x.fa", "`--name` is needed", 2),
        ("--stats", "`--name` is needed", 2),
        ("--stats --name nope", "`nope`", 1),
        ("--stats --name pairs --k 3", "`--k`", 2),
        ("--all --name c --limit 3", "`--limit`", 2),
        ("--all --name c --vocabulary x", "`--vocabulary`", 2),
        ("--all --name c --plot x.png", "`--plot`", 2),
        ("--stats --name pairs --plot x.gif", "`x.gif`", 2),
    ],
)
def test_what_does_not_go_together_is_refused(
    line: str, words: str, exit_code: int, run_cli: RunCommand, pairs: Path
) -> None:
    before = everything_in(pairs)
    assert_failure(run_cli("tokenize", *line.split()), words, exit_code=exit_code)
    assert everything_in(pairs) == before


def test_a_corpus_is_described(
    run_cli: RunCommand, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = run_cli("tokenize", *PHAGES, "--name", "c", "--stats", "--json")
    assert made.exit_code == 0
    assert made.err == "picture: c-stats.png\n"
    assert (tmp_path / "c-stats.png").read_bytes().startswith(b"\x89PNG")
    before = everything_in(samples)
    found = run_cli("tokenize", "--stats", "--name", "c", "--plot", "sub/mine.svg", "--json")
    assert found.err == "picture: sub/mine.svg\n"
    assert b"<svg" in (tmp_path / "sub" / "mine.svg").read_bytes()
    assert everything_in(samples) == before
    first, second = json.loads(made.out), json.loads(found.out)
    assert (first["new"], second["new"]) == (True, False)
    assert first["statistics"] == second["statistics"]
    numbers = first["statistics"]
    assert numbers["composition"]["num_bases"] == 5386 + 48502
    assert numbers["lengths"]["n50"] == 48502
    assert [row["name"] for row in numbers["genomes"]] == ["NC_001422.1", "NC_001416.1"]
    assert [row["k"] for row in numbers["spectra"]] == list(range(1, 9))


def test_terminals_get_tables_of_it(
    run_cli: RunCommand, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del samples
    monkeypatch.chdir(tmp_path)
    done = run_cli("tokenize", *PHAGES, "--name", "c", "--tokenizer", "kmer", "--stats")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "corpus c" in lines
    assert "tokenizer kmer (k 6, stride 6)" in lines
    assert "bases 53,888" in lines
    assert "N50 48,502 (L50 1)" in lines
    assert "training 2 8,089 48,499" in lines or any(
        line.startswith("training 2 ") for line in lines
    )
    assert any(
        line.startswith("NC_001422.1 1 5,386 24.0 21.5 23.3 31.3 0.0 44.8") for line in lines
    )
    assert any(line.startswith("1 4 of 4 1.99") for line in lines)
    assert any(line.startswith("8 ") and line.endswith("never") for line in lines)
