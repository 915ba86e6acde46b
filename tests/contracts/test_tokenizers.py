"""What every tokenizer of the table keeps to."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.tokenizers.files import (
    TOKENIZER_FILE,
    build_tokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_names,
)
from genomeformer_cli.core.tokenizers.protocol import (
    SPECIAL_TOKENS,
    Ids,
    Tokenizer,
    vocabulary_sha256,
)
from tests.strategies import ANY_CASE, dna, plain_bases, repeatable

every_tokenizer = pytest.mark.parametrize("kind", tokenizer_names())


@pytest.fixture(scope="module", params=tokenizer_names())
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one tokenizer was saved."""
    folder = tmp_path_factory.mktemp(request.param)
    save_tokenizer(build_tokenizer(request.param), folder)
    return folder


@lru_cache
def other_tool(folder: Path) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_file(str(folder / TOKENIZER_FILE))


def ids_of(tokenizer: Tokenizer, sequence: str) -> Ids:
    return tokenizer.encode(encode_bases(sequence))


@every_tokenizer
@repeatable
@given(sequence=dna)
def test_decoding_returns_the_bases(kind: str, sequence: str) -> None:
    tokenizer = build_tokenizer(kind)
    assert tokenizer.decode(ids_of(tokenizer, sequence)) == plain_bases(sequence)


@every_tokenizer
@repeatable
@given(sequence=dna)
def test_case_and_u_change_no_id(kind: str, sequence: str) -> None:
    tokenizer = build_tokenizer(kind)
    ids = ids_of(tokenizer, sequence)
    assert (ids_of(tokenizer, plain_bases(sequence)) == ids).all()
    assert (ids_of(tokenizer, sequence.swapcase()) == ids).all()


@every_tokenizer
@repeatable
@given(sequence=dna)
def test_the_other_strand_twice_is_this_one(kind: str, sequence: str) -> None:
    tokenizer = build_tokenizer(kind)
    ids = ids_of(tokenizer, sequence)
    twice = tokenizer.reverse_complement(tokenizer.reverse_complement(ids))
    assert (twice == ids).all()


@every_tokenizer
@repeatable
@given(sequence=dna)
def test_the_other_strand_of_ids_is_that_of_the_bases(kind: str, sequence: str) -> None:
    tokenizer = build_tokenizer(kind)
    strand = tokenizer.reverse_complement(ids_of(tokenizer, sequence))
    assert tokenizer.decode(strand) == plain_bases(reverse_complement(sequence))


@every_tokenizer
@repeatable
@given(sequence=dna)
def test_ids_are_of_known_tokens_and_never_special(kind: str, sequence: str) -> None:
    tokenizer = build_tokenizer(kind)
    ids = ids_of(tokenizer, sequence)
    assert ((ids >= len(SPECIAL_TOKENS)) & (ids < len(tokenizer.tokens))).all()


@every_tokenizer
def test_real_ids_are_the_tokens_of_real_bases(kind: str) -> None:
    tokenizer = build_tokenizer(kind)
    real = [
        n
        for n, t in enumerate(tokenizer.tokens)
        if n >= len(SPECIAL_TOKENS) and not set(t) - set("ACGT")
    ]
    assert list(tokenizer.real_ids) == real
    assert len(set(tokenizer.tokens)) == len(tokenizer.tokens)
    assert tokenizer.tokens[: len(SPECIAL_TOKENS)] == SPECIAL_TOKENS


@repeatable
@given(sequence=dna)
def test_other_tools_read_the_same_ids(saved: Path, sequence: str) -> None:
    expected = ids_of(load_tokenizer(saved), sequence).tolist()
    assert other_tool(saved).encode(sequence, add_special_tokens=False).ids == expected
    assert other_tool(saved).encode(sequence).ids == expected


def test_other_tools_read_every_letter_the_same(saved: Path) -> None:
    for letter in ANY_CASE:
        assert (
            other_tool(saved).encode(letter).ids == ids_of(load_tokenizer(saved), letter).tolist()
        )


def test_other_tools_know_the_special_tokens(saved: Path) -> None:
    tool = other_tool(saved)
    assert [tool.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert tool.get_vocab_size() == len(load_tokenizer(saved).tokens)
    mask = SPECIAL_TOKENS.index("[MASK]")
    assert mask in tool.encode("ACGT[MASK]ACGT").ids


def test_other_tools_pad_a_batch(saved: Path) -> None:
    long, short = other_tool(saved).encode_batch(["ACGTACGT", "ACG"])
    assert len(long.ids) == len(short.ids)
    assert short.ids[-1] == SPECIAL_TOKENS.index("[PAD]")
    assert short.attention_mask[-1] == 0


def test_a_saved_tokenizer_is_the_same_one(saved: Path) -> None:
    tokenizer = load_tokenizer(saved)
    again = build_tokenizer(tokenizer.kind)
    assert tokenizer.tokens == again.tokens
    assert vocabulary_sha256(tokenizer) == vocabulary_sha256(again)


@every_tokenizer
def test_nothing_is_no_token(kind: str) -> None:
    tokenizer = build_tokenizer(kind)
    ids = ids_of(tokenizer, "")
    assert ids.size == 0
    assert tokenizer.decode(ids) == ""
    assert tokenizer.reverse_complement(ids).size == 0


@every_tokenizer
def test_a_long_sequence_stays_exact(kind: str) -> None:
    tokenizer = build_tokenizer(kind)
    codes = np.random.default_rng(0).integers(0, 5, 100_000).astype(np.uint8)
    assert tokenizer.decode(tokenizer.encode(codes)) == "".join("ACGTN"[code] for code in codes)
