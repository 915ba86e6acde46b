"""`tokenize`: corpora, held-out parts and repeated requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.formats.fasta import read_records
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.files import everything_in, fill_the_disk, flip_a_byte, names_in

PHAGES = ("--genome", "NC_001422.1", "--genome", "NC_001416.1")


@pytest.fixture
def samples(run_cli: RunCommand, cache_home: Path) -> Path:
    assert run_cli("fetch", "--sample").exit_code == 0
    return cache_home


def corpora_in(home: Path) -> list[str]:
    """Corpora, and what else lies there but for finished parts, which wait for the next try."""
    folder = home / "corpora"
    names = names_in(folder) if folder.exists() else []
    return [name for name in names if not name.endswith(".parts")]


def segments(home: Path, corpus: str) -> list[dict[str, Any]]:
    text = (home / "corpora" / corpus / "segments.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def held_out(home: Path, corpus: str) -> set[str]:
    return {row["record"] for row in segments(home, corpus) if row["split"] == "validation"}


def trained_on(home: Path, corpus: str) -> set[str]:
    return {row["record"] for row in segments(home, corpus) if row["split"] == "train"}


def test_the_tail_of_every_record_is_held_out(run_cli: RunCommand, samples: Path) -> None:
    done = run_cli("tokenize", *PHAGES, "--name", "c", "--split", "tail", "--json")
    assert (done.exit_code, done.err) == (0, "")
    result = json.loads(done.out)
    assert result["new"]
    assert result["folder"] == str(samples / "corpora" / "c")
    assert result["manifest"]["num_validation"] == round(5386 * 0.1) + round(48502 * 0.1)
    assert result["manifest"]["num_train"] + result["manifest"]["num_validation"] == 5386 + 48502
    assert held_out(samples, "c") == trained_on(samples, "c") == {"NC_001422.1", "NC_001416.1"}


@pytest.mark.parametrize("split", ["genome", "record"])
def test_whole_units_are_held_out(split: str, run_cli: RunCommand, samples: Path) -> None:
    done = run_cli("tokenize", "--all", "--name", "c", "--split", split)
    assert done.exit_code == 0
    held, trained = held_out(samples, "c"), trained_on(samples, "c")
    assert held
    assert trained
    assert not held & trained
    assert len(held | trained) == 3
    assert f"whole {split}s" in done.out


def test_a_named_genome_is_held_out(run_cli: RunCommand, samples: Path) -> None:
    done = run_cli("tokenize", "--all", "--name", "c", "--holdout", "NC_001416.1")
    assert done.exit_code == 0
    assert held_out(samples, "c") == {"NC_001416.1"}
    assert trained_on(samples, "c") == {"NC_001422.1", "NC_000908.2"}


def test_an_unknown_holdout_leaves_no_corpus(run_cli: RunCommand, samples: Path) -> None:
    done = run_cli("tokenize", "--all", "--name", "c", "--holdout", "chr[7]")
    assert_failure(done, "`chr[7]`", exit_code=2)
    assert corpora_in(samples) == []


def test_terminals_get_a_table(run_cli: RunCommand, samples: Path) -> None:
    done = run_cli("tokenize", *PHAGES, "--name", "c")
    rows = dict(line.split(maxsplit=1) for line in done.out.splitlines() if "  " in line)
    assert rows["corpus"].strip() == "c"
    assert rows["state"].strip() == "new"
    assert "48,499 to train on, 5,389 held out" in rows["tokens"]


def test_the_same_request_again_finds_the_corpus_made(run_cli: RunCommand, samples: Path) -> None:
    run_cli("tokenize", *PHAGES, "--name", "c")
    before = everything_in(samples)
    done = run_cli("tokenize", *PHAGES, "--name", "c", "--json")
    assert not json.loads(done.out)["new"]
    assert everything_in(samples) == before


@pytest.mark.parametrize(
    "change",
    [["--validation-fraction", "0.2"], ["--split-seed", "1"], ["--genome", "NC_000908.2"]],
    ids=" ".join,
)
def test_a_name_taken_by_another_request_is_refused(
    change: list[str], run_cli: RunCommand, samples: Path
) -> None:
    run_cli("tokenize", *PHAGES, "--name", "c")
    before = everything_in(samples)
    done = run_cli("tokenize", *PHAGES, *change, "--name", "c")
    assert_failure(done, "`c`", "other genomes or settings", hint="corpora/c")
    assert everything_in(samples) == before


def test_two_caches_give_the_same_bytes(
    run_cli: RunCommand, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cli("tokenize", *PHAGES, "--name", "c")
    monkeypatch.setenv("GENOMEFORMER_HOME", str(tmp_path / "other"))
    run_cli("fetch", "--sample")
    run_cli("tokenize", *PHAGES, "--name", "c")
    other = tmp_path / "other" / "corpora" / "c"
    assert everything_in(samples / "corpora" / "c") == everything_in(other)


def test_a_file_is_imported_first(run_cli: RunCommand, tmp_path: Path, cache_home: Path) -> None:
    (tmp_path / "mine.fa").write_bytes(b">a\n" + b"ACGTacgtNN" * 10 + b"\n>b\n" + b"GC" * 50)
    done = run_cli("tokenize", str(tmp_path / "mine.fa"), "--name", "c", "--json")
    assert done.exit_code == 0
    manifest = json.loads(done.out)["manifest"]
    assert [genome["name"] for genome in manifest["genomes"]] == ["mine"]
    assert manifest["num_soft_masked"] == 40
    assert manifest["base_counts"]["N"] == 20
    assert names_in(cache_home / "genomes") == ["mine"]
    assert str(tmp_path) not in (cache_home / "corpora/c/manifest.json").read_text(encoding="utf-8")


def test_a_genome_with_a_flipped_byte_is_refused(run_cli: RunCommand, samples: Path) -> None:
    flip_a_byte(samples / "genomes" / "NC_001422.1" / "NC_001422.1.fa.gz")
    done = run_cli("tokenize", *PHAGES, "--name", "c")
    assert_failure(done, "NC_001422.1.fa.gz", "checksum", hint="genomes/NC_001422.1")
    assert corpora_in(samples) == []


def test_without_genomes_the_error_lists_the_cache(run_cli: RunCommand, cache_home: Path) -> None:
    line = ("tokenize", "--name", "c")
    assert_failure(run_cli(*line), "no genomes", hint="fetch --sample", exit_code=2)
    run_cli("fetch", "--sample")
    assert_failure(run_cli(*line), "no genomes", hint="`NC_001422.1`", exit_code=2)
    done = run_cli(*line, "--genome", "missing")
    assert_failure(done, "`missing`", hint="`NC_001422.1`")
    assert not (cache_home / "corpora").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--tokenizer codon", "`codon`"),
        ("--validation-fraction 1.5", "1.5"),
        ("--name a/b", "`a/b`"),
        ("--genome NC_001422.1 --split record", "a single genome"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    line: str, words: str, run_cli: RunCommand, samples: Path
) -> None:
    genomes = [] if "--genome" in line else PHAGES
    done = run_cli("tokenize", *genomes, "--name", "c", *line.split())
    assert_failure(done, words, exit_code=2)
    assert corpora_in(samples) == []


def test_a_full_disk_leaves_nothing(
    run_cli: RunCommand, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_in(samples)
    fill_the_disk(monkeypatch)
    done = run_cli("tokenize", *PHAGES, "--name", "c")
    assert_failure(done, "No space left on device", hint="no partial file")
    assert everything_in(samples) == before
    assert names_in(samples / "corpora") == []


@pytest.mark.parametrize(
    ("line", "kind", "dtype"),
    [
        ("--tokenizer kmer", "kmer-k6-stride6", "uint16"),
        ("--tokenizer kmer --k 3 --stride 1", "kmer-k3-stride1", "uint8"),
        ("--tokenizer bpe --vocab-size 200", "bpe-200-", "uint8"),
    ],
)
def test_tokens_of_several_bases_hold_every_base(
    line: str, kind: str, dtype: str, run_cli: RunCommand, samples: Path
) -> None:
    command = ("tokenize", "--genome", "NC_001422.1", "--name", "c", "--json", *line.split())
    result = json.loads(run_cli(*command).out)
    assert result["new"]
    assert result["manifest"]["dtype"] == dtype
    assert result["manifest"]["num_bases"] == sum(result["manifest"]["base_counts"].values())
    assert not json.loads(run_cli(*command).out)["new"]
    corpus = Corpus(samples / "corpora" / "c")
    ids = np.concatenate([corpus.tokens(segment) for segment in corpus.segments()])
    fasta = samples / "genomes" / "NC_001422.1" / "NC_001422.1.fa.gz"
    (record,) = read_records(fasta)
    assert corpus.tokenizer.decode(ids) == record.sequence
    (vocabulary,) = names_in(samples / "vocabularies")
    assert vocabulary.startswith(kind)


def test_a_file_can_be_what_byte_pairs_are_learned_from(
    run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    (tmp_path / "mine.fa").write_bytes(f">a\n{random_dna(3000)}\n".encode())
    line = ("tokenize", str(tmp_path / "mine.fa"), "--name", "c", "--tokenizer", "bpe")
    assert run_cli(*line, "--vocab-size", "30").exit_code == 0
    assert names_in(cache_home / "genomes") == ["mine"]


@pytest.mark.parametrize(
    ("line", "words"),
    [("--k 3", "no setting `k`"), ("--tokenizer bpe --stride 1", "no setting but `--vocab-size`")],
)
def test_a_setting_of_another_tokenizer_is_refused(
    line: str, words: str, run_cli: RunCommand, samples: Path
) -> None:
    assert_failure(run_cli("tokenize", *PHAGES, "--name", "c", *line.split()), words, exit_code=2)
    assert corpora_in(samples) == []
