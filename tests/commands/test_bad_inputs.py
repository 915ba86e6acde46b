"""Common mistakes in the input: one sentence, a hint, a non-zero exit, no partial file."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.files import everything_in, names_in, png_picture, truncated_gzip
from tests.models import CORPUS, RELEASED, RUN

PROTEIN = b">sp|P0A7G6|RECA_ECOLI\nMAIDENKQKALAAALGQIEKQFGKGSIMRLGEDRSMDVETISTGSLSLDIALGAGGLPMG\n"
DNA = b">r\n" + b"ACGTACGTACGTTTGACCAGTNACGATCG" * 20 + b"\n"


@dataclass(frozen=True)
class BadInput:
    """A file, and what the sentence and the hint must say of it."""

    name: str
    content: bytes | None
    words: tuple[str, ...]
    hint: str


BAD_INPUTS = [
    BadInput("missing.fa", None, ("does not exist",), "check the path"),
    BadInput("empty.fa", b"", ("is empty",), ">seq1"),
    BadInput("blank.fa", b"\n \n\n", ("is empty",), ">seq1"),
    BadInput("empty.fa.gz", gzip.compress(b""), ("is empty",), ">seq1"),
    BadInput("picture.png", png_picture(), ("is a PNG picture, not plain text",), "as text"),
    BadInput("picture.fa", png_picture(), ("is a PNG picture, not plain text",), "as text"),
    BadInput("protein.fa", PROTEIN, ("`I` at position 3", "sp|P0A7G6|RECA_ECOLI"), "protein"),
    BadInput("cut.fa.gz", truncated_gzip(DNA), ("truncated gzip",), "again"),
    BadInput("flipped.fa.gz", gzip.compress(DNA)[:-6] + b"abcdef", ("damaged",), "again"),
    BadInput("nul.fa", b">r\nAC\0GT\n", ("NUL",), "again"),
    BadInput("gapped.fa", b">r\nAC-GT\n", ("`-` at position 3", "`r`"), "gaps"),
    BadInput("text.txt", b"ACGT\n", ("does not start with `>`",), "FASTA or FASTQ"),
]
every_bad_input = pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)


def put(bad: BadInput, folder: Path) -> Path:
    path = folder / bad.name
    if bad.content is not None:
        path.write_bytes(bad.content)
    return path


@every_bad_input
def test_fetch_refuses_it(
    bad: BadInput, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    path = put(bad, tmp_path)
    done = run_cli("fetch", "--file", str(path))
    assert_failure(done, str(path), *bad.words, hint=bad.hint)
    assert not cache_home.exists() or everything_in(cache_home) == {}


@every_bad_input
def test_tokenize_refuses_it(
    bad: BadInput, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    path = put(bad, tmp_path)
    done = run_cli("tokenize", str(path), "--name", "c")
    assert_failure(done, str(path), *bad.words, hint=bad.hint)
    assert not cache_home.exists() or everything_in(cache_home) == {}


@every_bad_input
def test_inspecting_refuses_it(
    bad: BadInput, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    path = put(bad, tmp_path)
    done = run_cli("tokenize", "--inspect", str(path))
    assert_failure(done, str(path), *bad.words, hint=bad.hint)
    assert not cache_home.exists()


@every_bad_input
def test_embed_refuses_it(
    bad: BadInput, run_cli: RunCommand, tmp_path: Path, trained: Path
) -> None:
    path = put(bad, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    before = everything_in(trained)
    places = ("-o", str(out / "a.npy"), "--ids", str(out / "ids.txt"))
    done = run_cli("embed", str(path), "--model", RELEASED, *places)
    assert_failure(done, str(path), *bad.words, hint=bad.hint)
    assert names_in(out) == []
    assert everything_in(trained) == before


@pytest.mark.parametrize(
    "bad", [bad for bad in BAD_INPUTS if bad.content is not None], ids=lambda bad: bad.name
)
@pytest.mark.usefixtures("trained")
def test_embed_refuses_it_from_a_pipe(bad: BadInput, run_cli: RunCommand) -> None:
    assert bad.content is not None
    done = run_cli("embed", "-", "--model", RELEASED, stdin=bad.content)
    assert_failure(done, "standard input", *bad.words, hint=bad.hint)


def test_a_bad_file_among_good_ones_leaves_the_good(
    run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    (tmp_path / "good.fa").write_bytes(DNA)
    (tmp_path / "bad.fa").write_bytes(PROTEIN)
    good, bad = str(tmp_path / "good.fa"), str(tmp_path / "bad.fa")
    assert_failure(run_cli("fetch", "--file", good, "--file", bad), "bad.fa", hint="protein")
    assert names_in(cache_home / "genomes") == ["good"]
    assert run_cli("cache", "verify").exit_code == 0


def test_a_folder_is_not_a_file(run_cli: RunCommand, tmp_path: Path) -> None:
    done = run_cli("fetch", "--file", str(tmp_path))
    assert_failure(done, str(tmp_path), "directory", hint="path")


def test_a_genome_without_a_single_base_is_not_a_corpus(
    run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    (tmp_path / "hollow.fa").write_bytes(b">a\n>b\n")
    done = run_cli("tokenize", str(tmp_path / "hollow.fa"), "--name", "c")
    assert_failure(done, "no bases", hint="non-empty record")
    assert names_in(cache_home / "corpora") == []


def test_an_unknown_attention_lists_the_known(run_cli: RunCommand, trained: Path) -> None:
    from genomeformer_cli.core.attention.registry import ATTENTIONS

    before = everything_in(trained)
    line = ("pretrain", "--corpus", CORPUS, "--name", "new", "--attention", "telepathy")
    done = run_cli(*line)
    assert_failure(done, "unknown attention `telepathy`", exit_code=2)
    for name in ATTENTIONS:
        assert f"`{name}`" in done.err
    assert everything_in(trained) == before


@pytest.mark.parametrize(
    ("line", "words", "exit_code"),
    [
        ("--preset colossal", "`colossal`", 2),
        ("--set training.schedule=staircase", "`training.schedule`", 2),
        ("--set masking.rate=1.5", "1.5", 2),
        ("--steps 0", "`training.steps` cannot be 0", 2),
        ("--learning-rate 0", "`training.learning_rate` cannot be 0", 2),
        ("--context 8", "too short to validate", 2),
        ("--config missing.toml", "`missing.toml`", 2),
        ("--corpus nothing", "`nothing`", 1),
        ("--name a/b", "`a/b`", 2),
        ("--device abacus", "`abacus`", 2),
    ],
)
def test_a_run_that_cannot_be_leaves_nothing(
    line: str, words: str, exit_code: int, run_cli: RunCommand, trained: Path
) -> None:
    before = everything_in(trained)
    whole = ("--corpus", CORPUS, "--name", "new", "--steps", "1", "--batch-size", "1")
    done = run_cli("pretrain", *whole, *line.split())
    assert_failure(done, words, exit_code=exit_code)
    assert everything_in(trained) == before
    assert names_in(trained / "runs") == [RUN]


@pytest.mark.usefixtures("trained")
def test_a_run_is_not_mixed_with_other_settings(run_cli: RunCommand) -> None:
    done = run_cli("pretrain", "--corpus", CORPUS, "--name", RUN, "--steps", "8")
    assert_failure(done, "training.steps: 4 -> 8", hint="--name", exit_code=2)


def test_pretrain_needs_a_corpus_and_a_name(run_cli: RunCommand) -> None:
    assert_failure(run_cli("pretrain"), "`--corpus`", hint="genomeformer pretrain", exit_code=2)


def test_a_cache_that_is_a_file_is_reported(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("GENOMEFORMER_HOME", str(tmp_path / "file"))
    done = run_cli("fetch", "--sample")
    assert_failure(done, "cannot write to the cache", hint="GENOMEFORMER_HOME")


def test_the_output_of_a_dash_is_standard_output(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.fa").write_bytes(b">r\nACGTACGTTTGA\n")
    for command in (("score",), ("explain", "--dependencies"), ("embed",)):
        named = run_cli(command[0], "r.fa", *command[1:], "-o", "-")
        assert named.exit_code == 0, named.err
        assert named.stdout == run_cli(command[0], "r.fa", *command[1:]).stdout
    assert names_in(tmp_path) == ["r.fa"]
    several = run_cli("explain", "r.fa", "--dependencies", "-o", "-", "-o", "x.tsv")
    assert_failure(several, "beside other outputs", hint="-o -", exit_code=2)


@pytest.mark.parametrize(
    "command", ["windows --genome x", "release x", "evaluate x", "finetune x.csv"]
)
def test_a_folder_cannot_be_standard_output(run_cli: RunCommand, command: str) -> None:
    done = run_cli(*command.split(), "-o", "-")
    assert_failure(done, "does not fit on standard output", hint="-o result", exit_code=2)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("score {} -o s.bw", "unknown format of `s.bw`", "`.tsv`"),
        ("score {} -o s.tsv.gz", "unknown format of `s.tsv.gz`", "`.tsv`"),
        ("score {} -o s.vcf", "unknown format of `s.vcf`", "`.tsv`"),
        ("score {} --per-base -", "cannot be `-`", "-o -"),
        ("generate {} --infill -o g.fa.gz", "unknown format of `g.fa.gz`", "`.fa`"),
        ("explain {} --dependencies -o e.tsv.gz", "unknown format of `e.tsv.gz`", "`.tsv`"),
        ("embed {} --ids - -o v.npy", "cannot be `-`", "-o -"),
        ("embed {} -o v.npy.gz", "unknown file type of `v.npy.gz`", "`.npy`"),
    ],
)
def test_an_output_in_a_format_that_is_not_written_is_refused(
    line: str,
    words: str,
    hint: str,
    run_cli: RunCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("x.fa").write_bytes(DNA)
    done = run_cli(*line.format("x.fa").split(), "--model", RELEASED)
    assert_failure(done, words, hint=hint, exit_code=2)
    assert names_in(Path()) == ["x.fa"]
