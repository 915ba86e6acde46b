"""Byte pairs are learned from what is trained on alone, however long the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.corpus import bpe_training as learning
from genomeformer_cli.core.corpus.bpe_training import train_corpus_bpe
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.formats import packing
from genomeformer_cli.core.tokenizers.bpe import BpeTokenizer, train_bpe
from tests.cli import RunCommand
from tests.corpora import genome, random_dna

MOTIF = "ACGTTGCAGGATCCATTGAC"
RECORDS = [random_dna(9_000, seed=1), MOTIF * 300, "", random_dna(5_000, seed=2).lower(), "N"]
TAIL = SplitConfig(by=SplitBy.TAIL, fraction=0.5)


def write(path: Path, records: list[str]) -> Path:
    text = "".join(f">r{number}\n{record}\n" for number, record in enumerate(records))
    path.write_text(text, encoding="ascii")
    return path


def learn(path: Path, split: SplitConfig) -> BpeTokenizer:
    return train_corpus_bpe([(genome("g"), path)], split, 300)


def longest(tokenizer: BpeTokenizer) -> int:
    return max(len(token) for token in tokenizer.tokens[5:])


def test_held_out_records_are_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "g.fa", RECORDS)
    without = learn(path, SplitConfig(holdout=("r1",)))
    assert longest(learn(path, SplitConfig(holdout=("r0",)))) >= len(MOTIF)
    assert longest(without) < len(MOTIF)
    assert without.settings["bases_seen"] == 9_000 + 5_000 + 1
    assert without.settings["records_seen"] == 3
    assert without.settings["held_out"] == "held out by name: r1"
    plain = train_bpe([RECORDS[0].encode(), RECORDS[3].encode(), b"N"], 300)
    assert without.merges == plain.merges


@pytest.mark.parametrize("chunk", [100, 777, 4096, 1 << 20])
def test_the_pieces_that_a_file_comes_in_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    path = write(tmp_path / "g.fa", RECORDS)
    heads = [record[: len(record) - round(len(record) / 2)].encode() for record in RECORDS]
    expected = train_bpe(heads, 300)
    monkeypatch.setattr(packing, "TEXT_CHUNK", chunk)
    learned = learn(path, TAIL)
    assert learned.merges == expected.merges
    assert learned.settings["bases_seen"] == sum(map(len, heads))
    taught = {("g", number): len(head) for number, head in enumerate(heads) if head}
    pieces = list(learning._pieces("g", path, taught, 512))
    assert b"".join(pieces).decode() == "".join(head.decode().upper() for head in heads)
    assert max(map(len, pieces)) <= max(chunk + 512, 1024 * 1024)


def test_an_empty_batch_has_no_gradient(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bases"):
        learn(write(tmp_path / "g.fa", ["", ""]), TAIL)


def test_an_invalid_split_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`nobody`"):
        learn(write(tmp_path / "g.fa", RECORDS), SplitConfig(holdout=("nobody",)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", ["genome", "record"])
def test_the_corpus_holds_out_the_records_that_were_not_trained_on(
    by: str, seed: int, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    """Tokens of these genomes hold from one to twenty bases: a draw by tokens would differ."""
    texts = [MOTIF * 60, random_dna(900), "ACGT" * 500, random_dna(2_000, seed=3), "A" * 3_000]
    files = [str(write(tmp_path / f"g{n}.fa", [text, text[:500]])) for n, text in enumerate(texts)]
    line = ("--tokenizer", "bpe", "--vocab-size", "60", "--split", by, "--split-seed", str(seed))
    fraction = ("--validation-fraction", "0.4")
    done = run_cli("tokenize", *files, *line, *fraction, "--name", "c", "--json")
    assert done.exit_code == 0, done.err
    settings = json.loads(done.out)["manifest"]["tokenizer_settings"]
    text = (cache_home / "corpora" / "c" / "segments.jsonl").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = [json.loads(row) for row in text.splitlines()]
    trained = [row for row in rows if row["split"] == "train"]
    sizes = {
        (f"g{n}", f"r{record}"): size
        for n, whole in enumerate(texts)
        for record, size in enumerate((len(whole), 500))
    }
    assert settings["bases_seen"] == sum(sizes[row["genome"], row["record"]] for row in trained)
    assert settings["records_seen"] == len(trained) < len(rows)
    assert f"whole {by}s" in settings["held_out"]
    assert not json.loads(
        run_cli("tokenize", *files, *line, *fraction, "--name", "c", "--json").out
    )["new"]
