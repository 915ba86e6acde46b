"""Byte-pair tokenizers, against other tools."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from genomeformer_cli.core.errors import AlphabetError, ConfigError
from genomeformer_cli.core.sequence import decode_bases, encode_bases
from genomeformer_cli.core.tokenizers.bpe import PIECE, BpeTokenizer, train_bpe
from genomeformer_cli.core.tokenizers.protocol import vocabulary_sha256
from genomeformer_cli.core.tokenizers.sampling import SampleRule

MERGES = [("A", "C"), ("AC", "G"), ("T", "T"), ("TT", "T"), ("T", "TT")]


def cut(sequence: str) -> list[str]:
    tokenizer = BpeTokenizer(MERGES, {})
    return [tokenizer.tokens[number] for number in tokenizer.encode(encode_bases(sequence))]


@pytest.mark.parametrize(
    ("sequence", "tokens"),
    [
        ("ACGACAC", "ACG AC AC"),
        ("acGNacn", "ACG N AC N"),
        ("ACNG", "AC N G"),
        ("uuUTttt", "TT TT TTT"),
        ("NNA", "N N A"),
    ],
)
def test_how_a_sequence_is_cut(sequence: str, tokens: str) -> None:
    assert cut(sequence) == tokens.split()


def test_a_token_that_two_merges_make_is_one_token() -> None:
    assert BpeTokenizer(MERGES, {}).tokens[5:] == (*"ACGT", "AC", "ACG", "TT", "TTT", "N")


def test_no_token_reaches_over_a_piece() -> None:
    tokens = cut("A" * (PIECE - 1) + "ACG")
    assert tokens[PIECE - 2 :] == ["A", "A", "C", "G"]
    assert cut("A" * (PIECE - 2) + "ACG")[PIECE - 2 :] == ["AC", "G"]
    assert cut("N" + "A" * (PIECE - 3) + "ACG")[PIECE - 2 :] == ["ACG"]


@pytest.mark.parametrize("share_of_n", [0, 0.001])
def test_chromosomes_are_cut_as_other_tools_cut_them(share_of_n: float) -> None:
    tokenizer = BpeTokenizer(MERGES, {})
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 4, 1_200_000).astype(np.uint8)
    codes[generator.random(codes.size) < share_of_n] = 4
    tool = Tokenizer.from_str(json.dumps(tokenizer.to_json()))
    tool.normalizer = None
    tool.no_padding()
    assert tokenizer.encode(codes).tolist() == tool.encode(decode_bases(codes)).ids


def test_the_commonest_pair_is_learned_first() -> None:
    tokenizer = train_bpe([b"gcgc" * 30 + b"N" + b"ta" * 20], 12)
    assert tokenizer.merges == (("G", "C"), ("GC", "GC"))
    assert tokenizer.tokens[9:] == ("GC", "GCGC", "N")
    assert tokenizer.dtype == np.dtype(np.uint8)


def test_settings_record_the_sample() -> None:
    rule = SampleRule(num_bases=3000, window=100, seed=4)
    records = [b"ACGGT" * 1000, b"TTGAC" * 400]
    tokenizer = train_bpe(records, 20, rule=rule)
    assert tokenizer.settings == {
        "vocab_size": len(tokenizer.tokens),
        "vocab_size_asked_for": 20,
        "sample_bases": 3000,
        "bases_seen": 7000,
        "sample_window": 100,
        "seed": 4,
        "min_frequency": 2,
    }
    again = train_bpe(iter(records), 20, rule=rule)
    assert vocabulary_sha256(again) == vocabulary_sha256(tokenizer)


def test_a_small_sample_gives_a_smaller_vocabulary() -> None:
    tokenizer = train_bpe([b"ACGT"], 500)
    assert tokenizer.tokens[5:] == tuple("ACGTN")
    assert tokenizer.settings["vocab_size"] == 10


@pytest.mark.parametrize("vocab_size", [0, 9, 65_537])
def test_an_invalid_vocabulary_size_is_refused(vocab_size: int) -> None:
    with pytest.raises(ConfigError, match="invalid"):
        train_bpe([b"ACGT"], vocab_size)


@pytest.mark.parametrize("samples", [[], [b""]])
def test_an_empty_batch_has_no_gradient(samples: list[bytes]) -> None:
    with pytest.raises(ConfigError, match="hold no bases"):
        train_bpe(samples, 64)


def test_invalid_bases_are_refused() -> None:
    with pytest.raises(AlphabetError, match="not a nucleotide"):
        train_bpe([b"ACGE"], 64)
