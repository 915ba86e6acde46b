"""Blocks, parts and the near-duplicate guard: the same whatever the borders, and after a kill."""

from __future__ import annotations

import gzip
import json
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.corpus.bitset import BitWriter
from genomeformer_cli.core.corpus.minhash import MinHasher, minhash_codes, shared_fractions
from genomeformer_cli.core.errors import AlphabetError, FormatError
from genomeformer_cli.core.formats import packing
from genomeformer_cli.core.formats.fasta import FastaReader
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.cli import RunCommand, run_python
from tests.corpora import random_dna
from tests.strategies import repeatable


@repeatable
@given(pieces=st.lists(st.lists(st.booleans(), max_size=20), max_size=8))
def test_bits_have_no_gap_at_borders(pieces: list[list[bool]]) -> None:
    flat = np.array([flag for piece in pieces for flag in piece], dtype=np.bool_)
    with tempfile.TemporaryFile() as file:
        writer = BitWriter(file)
        for piece in pieces:
            writer.append(np.array(piece, dtype=np.bool_))
        writer.finish()
        file.seek(0)
        assert file.read() == np.packbits(flat, bitorder="little").tobytes()


@repeatable
@given(
    records=st.lists(st.text(alphabet="ACGTacgtN", max_size=40), min_size=1, max_size=5),
    chunk=st.integers(1, 30),
    line_end=st.sampled_from(["\n", "\r\n"]),
    zipped=st.booleans(),
)
def test_blocks_are_the_file_whatever_the_chunk(
    records: list[str], chunk: int, line_end: str, zipped: bool
) -> None:
    lines = [
        f">r{number} is a > b{line_end}{text[:7]}{line_end}{text[7:]}{line_end}"
        for number, text in enumerate(records)
    ]
    content = "".join(lines).encode()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(packing, "TEXT_CHUNK", chunk)
        path = Path(folder) / "f.fa"
        path.write_bytes(gzip.compress(content) if zipped else content)
        made = list(FastaReader(path).blocks())
    marked = np.concatenate([block.marked for block in made])
    letters = "".join(records)
    assert marked.tolist() == [
        int(encode_bases(letter)[0]) | 8 * letter.islower() for letter in letters
    ]
    before, found = 0, []
    for block in made:
        found += [(before + at, name) for at, name in block.starts]
        before += block.marked.size
    ends = np.cumsum([0, *map(len, records)])
    assert found == [(int(ends[n]), f"r{n}") for n in range(len(records))]


@pytest.mark.parametrize("cut", [10, 100, -4])
def test_truncated_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "f.fa.gz"
    path.write_bytes(gzip.compress(f">a\n{random_dna(5000)}\n".encode())[:cut])
    with pytest.raises(FormatError, match="damaged or truncated"):
        list(FastaReader(path).blocks())


def test_members_and_padding_are_read(tmp_path: Path) -> None:
    path = tmp_path / "f.fa.gz"
    path.write_bytes(gzip.compress(b">a\nAC\n") + gzip.compress(b">b\nGT\n") + b"\0" * 512)
    made = list(FastaReader(path).blocks())
    assert np.concatenate([block.marked for block in made]).tolist() == [0, 1, 2, 3]


def test_an_illegal_letter_is_named_by_its_place_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "TEXT_CHUNK", 16)
    (tmp_path / "f.fa").write_bytes(b">r\n" + b"ACGTACGTAC\n" * 6 + b"AC*T\n")
    with pytest.raises(AlphabetError, match=r"record `r`: `\*` at position 63"):
        list(FastaReader(tmp_path / "f.fa").blocks())


def test_a_sketch_is_the_same_in_pieces_and_on_the_other_strand() -> None:
    text = random_dna(60_000)
    codes = encode_bases(text)
    whole = np.unique(minhash_codes(codes))
    assert 20 < whole.size < 120
    sketcher = MinHasher()
    for at in range(0, codes.size, 777):
        sketcher.add(codes[at : at + 777])
    assert np.array_equal(sketcher.finish(), whole)
    assert np.array_equal(np.unique(minhash_codes(encode_bases(reverse_complement(text)))), whole)


def mutated(text: str, rate: float) -> str:
    generator = np.random.default_rng(7)
    changed = generator.random(len(text)) < rate
    return "".join(
        "ACGT"[("ACGT".index(letter) + 1) % 4] if change else letter
        for letter, change in zip(text, changed, strict=True)
    )


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.05])
def test_containment_follows_the_part_of_changed_bases(rate: float) -> None:
    text = random_dna(400_000)
    copy = np.unique(minhash_codes(encode_bases(mutated(text, rate))))
    shared = shared_fractions({"copy": copy}, [minhash_codes(encode_bases(text))])
    assert shared["copy"] == pytest.approx((1 - rate) ** 31, abs=0.1)


def test_a_mutated_copy_that_is_held_out_is_warned_of(run_cli: RunCommand, tmp_path: Path) -> None:
    text = random_dna(200_000, seed=1)
    for name, content in (
        ("one", text),
        ("copy", mutated(text, 0.005)),
        ("other", random_dna(200_000, seed=2)),
    ):
        (tmp_path / f"{name}.fa").write_text(f">{name}\n{content}\n", encoding="ascii")
    files = [str(tmp_path / f"{name}.fa") for name in ("one", "copy", "other")]
    done = run_cli("tokenize", *files, "--holdout", "copy/copy", "--name", "c", "--json")
    assert done.exit_code == 0
    assert "nearly a copy" in done.err
    assert list(json.loads(done.out)["near_copies"]) == ["copy/copy"]
    done = run_cli("tokenize", *files[::2], "--holdout", "other", "--name", "d", "--json")
    assert (done.exit_code, done.err) == (0, "")


def test_finished_genomes_are_not_tokenized_again(
    run_cli: RunCommand, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cli("fetch", "--sample")
    assert run_cli("tokenize", "--all", "--name", "c", "--holdout", "nobody").exit_code == 2
    assert len(list((cache_home / "corpora" / ".c.parts").iterdir())) == 3
    (cache_home / "corpora" / ".c.parts" / "unfinished-x").mkdir()

    def refuse(*_: object) -> None:
        raise AssertionError("a finished genome is read again")

    with monkeypatch.context() as patch:
        patch.setattr(FastaReader, "blocks", refuse)
        done = run_cli("tokenize", "--all", "--name", "c", "--holdout", "NC_001416.1")
    assert done.exit_code == 0
    assert [path.name for path in (cache_home / "corpora").iterdir()] == ["c"]


def test_a_killed_process_leaves_its_finished_genomes(
    run_cli: RunCommand, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cli("fetch", "--sample")
    line = ("tokenize", "--all", "--split", "record", "--name", "c")
    killer = """
import os, signal, sys
from genomeformer_cli.core.workflows import tokenize
tokenize.finish_corpus = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from genomeformer_cli.app import main
sys.argv = ["genomeformer", *sys.argv[1:]]
main()
"""
    assert run_python("-c", killer, *line).exit_code == -signal.SIGKILL
    assert not (cache_home / "corpora" / "c").exists()

    def refuse(*_: object) -> None:
        raise AssertionError("a finished genome is read again")

    with monkeypatch.context() as patch:
        patch.setattr(FastaReader, "blocks", refuse)
        assert run_cli(*line).exit_code == 0
    assert [path.name for path in (cache_home / "corpora").iterdir()] == ["c"]


def test_genomes_are_chosen_by_taxon(run_cli: RunCommand) -> None:
    run_cli("fetch", "--sample")
    done = run_cli("tokenize", "--taxon", "Nothing at all", "--name", "c")
    assert done.exit_code == 2
    done = run_cli("tokenize", "--taxon", "Mycoplasmoides", "--name", "c", "--json", "--jobs", "1")
    names = [genome["name"] for genome in json.loads(done.out)["manifest"]["genomes"]]
    assert names == ["NC_000908.2"]
