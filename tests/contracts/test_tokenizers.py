"""Contract of every tokenizer of the table."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from transformers import PreTrainedTokenizerFast

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.tokenizers.files import (
    TOKENIZER_FILE,
    load_tokenizer,
    save_tokenizer,
)
from genomeformer_cli.core.tokenizers.protocol import (
    SPECIAL_TOKENS,
    Ids,
    Tokenizer,
    require_ordered,
    vocabulary_sha256,
)
from tests.dna_tokenizers import TOKENIZERS
from tests.strategies import ANY_CASE, dna, plain_bases, repeatable

MASK = SPECIAL_TOKENS.index("[MASK]")
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)

stretches = st.one_of(
    st.text(alphabet="ACGT", max_size=40),
    st.text(alphabet=ANY_CASE, max_size=12),
    st.integers(1, 20).map(lambda length: "N" * length),
    st.integers(1, 20).map(lambda length: "n" * length),
    st.integers(1, 40).map(lambda length: "a" * length),
)
genome_like = st.lists(stretches, max_size=6).map("".join)
"""Stretches of bases, runs of N, repeats, ambiguity codes: what a record is made of."""


@lru_cache
def tokenizer_of(name: str) -> Tokenizer:
    return TOKENIZERS[name]()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in which the tokenizers were saved."""
    folders = {name: tmp_path_factory.mktemp("tokenizer") for name in TOKENIZERS}
    for name, folder in folders.items():
        save_tokenizer(tokenizer_of(name), folder)
    return folders


@lru_cache
def other_tool(folder: Path) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_file(str(folder / TOKENIZER_FILE))


@lru_cache
def transformers_tool(folder: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def ids_of(tokenizer: Tokenizer, sequence: str) -> Ids:
    return tokenizer.encode(encode_bases(sequence))


@every_tokenizer
@repeatable
@given(sequence=dna | genome_like)
@example(sequence="")
@example(sequence="t")
@example(sequence="N")
@example(sequence="acgturyswkmbdhvnACGTURYSWKMBDHVN")
@example(sequence="ACGTACGTACGTNNNNNNNNNNNNNNNNNNNNacgtacgtacgtaN")
@example(sequence="".join("ACGTACG\r\nTACGUAC\r\nGT\r\n".splitlines()))
def test_other_tools_give_the_same_ids(name: str, sequence: str, saved: dict[str, Path]) -> None:
    expected = ids_of(tokenizer_of(name), sequence).tolist()
    assert other_tool(saved[name]).encode(sequence).ids == expected
    assert transformers_tool(saved[name])(sequence)["input_ids"] == expected


@every_tokenizer
@repeatable
@given(sequence=dna | genome_like)
def test_decoding_returns_the_bases(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    assert tokenizer.decode(ids_of(tokenizer, sequence)) == plain_bases(sequence)


@every_tokenizer
@repeatable
@given(sequence=dna)
def test_case_and_u_change_no_id(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = ids_of(tokenizer, sequence)
    assert (ids_of(tokenizer, plain_bases(sequence)) == ids).all()
    assert (ids_of(tokenizer, sequence.swapcase()) == ids).all()


@every_tokenizer
@repeatable
@given(sequence=dna | genome_like)
def test_offsets_give_the_bases_of_a_token(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    bases = plain_bases(sequence)
    offsets = tokenizer.offsets(encode_bases(sequence))
    ids = ids_of(tokenizer, sequence)
    assert offsets.dtype == np.int64
    assert offsets.shape == (ids.size, 2)
    assert [bases[start:stop] for start, stop in offsets] == [tokenizer.tokens[i] for i in ids]
    covered = {place for start, stop in offsets for place in range(start, stop)}
    assert covered == set(range(len(bases)))


@every_tokenizer
@repeatable
@given(sequence=dna | genome_like)
def test_every_n_is_a_token_and_parts_the_stretches(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    pieces = re.findall("[ACGT]+|N", plain_bases(sequence))
    alone = [ids_of(tokenizer, piece) for piece in pieces]
    assert ids_of(tokenizer, sequence).tolist() == [int(i) for ids in alone for i in ids]


@every_tokenizer
@repeatable
@given(sequence=dna | genome_like)
def test_the_other_strand_of_ids_is_that_of_the_bases(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = ids_of(tokenizer, sequence)
    if not tokenizer.reads_both_strands:
        with pytest.raises(ConfigError, match="no reverse complement"):
            tokenizer.reverse_complement(ids)
        return
    strand = tokenizer.reverse_complement(ids)
    assert strand.dtype == tokenizer.dtype
    assert (strand == ids_of(tokenizer, reverse_complement(sequence))).all()
    assert (tokenizer.reverse_complement(strand) == ids).all()


@every_tokenizer
@repeatable
@given(sequence=dna | genome_like)
def test_ids_are_of_known_tokens_and_never_special(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = ids_of(tokenizer, sequence)
    assert ids.dtype == tokenizer.dtype
    assert ((ids >= len(SPECIAL_TOKENS)) & (ids < len(tokenizer.tokens))).all()


@every_tokenizer
def test_the_vocabulary_is_laid_out_alike(name: str) -> None:
    tokenizer = tokenizer_of(name)
    assert tokenizer.tokens[: len(SPECIAL_TOKENS)] == SPECIAL_TOKENS
    assert tokenizer.tokens[5:9] == ("A", "C", "G", "T")
    assert tokenizer.tokens[-1] == "N"
    assert len(set(tokenizer.tokens)) == len(tokenizer.tokens)
    real = [number for number, token in enumerate(tokenizer.tokens) if set(token) <= set("ACGT")]
    assert list(require_ordered(tokenizer).real_ids) == real
    assert np.flatnonzero(tokenizer.is_real).tolist() == real
    assert tokenizer.base_ids is not None
    assert "".join(tokenizer.tokens[number] for number in tokenizer.base_ids) == "ACGT"
    largest = {np.dtype(kind): np.iinfo(kind).max for kind in (np.uint8, np.uint16, np.uint32)}
    fitting = [kind for kind, most in largest.items() if len(tokenizer.tokens) - 1 <= most]
    assert tokenizer.dtype == fitting[0]


@every_tokenizer
def test_one_token_per_base_holds_for_all_sequences(name: str) -> None:
    tokenizer = tokenizer_of(name)
    offsets = tokenizer.offsets(encode_bases("ACGTACGTACGTNACGT" * 4))
    assert tokenizer.one_token_per_base == bool((offsets[:, 1] - offsets[:, 0] == 1).all())


@every_tokenizer
def test_special_tokens_decode_to_nothing(name: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = ids_of(tokenizer, "ACGTACGTACGTNAC")
    hidden = np.concatenate([np.arange(5, dtype=ids.dtype), ids, [MASK], ids]).astype(ids.dtype)
    assert tokenizer.decode(hidden) == "ACGTACGTACGTNAC" * 2


@every_tokenizer
def test_other_tools_read_every_letter_the_same(name: str, saved: dict[str, Path]) -> None:
    for letter in ANY_CASE:
        ids = ids_of(tokenizer_of(name), letter).tolist()
        assert other_tool(saved[name]).encode(letter).ids == ids


@every_tokenizer
def test_other_tools_recognise_the_special_tokens(name: str, saved: dict[str, Path]) -> None:
    tool, tokenizer = other_tool(saved[name]), tokenizer_of(name)
    assert [tool.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert tool.get_vocab_size() == len(tokenizer.tokens)
    side = ids_of(tokenizer, "ACGTACGT").tolist()
    assert tool.encode("ACGTACGT[MASK]ACGTACGT").ids == [*side, MASK, *side]
    theirs = transformers_tool(saved[name])
    named = [theirs.pad_token, theirs.unk_token, theirs.cls_token, theirs.sep_token]
    assert (*named, theirs.mask_token) == SPECIAL_TOKENS
    assert len(theirs) == len(tokenizer.tokens)


@every_tokenizer
def test_other_tools_pad_a_batch(name: str, saved: dict[str, Path]) -> None:
    long, short = other_tool(saved[name]).encode_batch(["ACGT" * 9, "ACG"])
    assert len(long.ids) == len(short.ids)
    assert short.ids[-1] == SPECIAL_TOKENS.index("[PAD]")
    assert short.attention_mask[-1] == 0
    batch = transformers_tool(saved[name])(["ACGT" * 9, "ACG"], padding=True)
    assert batch["input_ids"] == [long.ids, short.ids]


@every_tokenizer
def test_a_saved_tokenizer_is_the_same_one(name: str, saved: dict[str, Path]) -> None:
    tokenizer, loaded = tokenizer_of(name), load_tokenizer(saved[name])
    assert loaded.kind == tokenizer.kind
    assert loaded.settings == tokenizer.settings
    assert loaded.tokens == tokenizer.tokens
    assert loaded.dtype == tokenizer.dtype
    assert loaded.to_json() == tokenizer.to_json()
    assert vocabulary_sha256(loaded) == vocabulary_sha256(tokenizer)


@every_tokenizer
def test_a_file_from_before_masked_letters_is_read(name: str, tmp_path: Path) -> None:
    save_tokenizer(tokenizer_of(name), tmp_path)
    path = tmp_path / TOKENIZER_FILE
    plain = json.loads(path.read_text())
    rules = plain["normalizer"]["normalizers"]
    assert [rule["pattern"]["Regex"] for rule in rules].count("[Xx]") == 1
    plain["normalizer"]["normalizers"] = [r for r in rules if r["pattern"]["Regex"] != "[Xx]"]
    path.write_text(json.dumps(plain))
    assert load_tokenizer(tmp_path).tokens == tokenizer_of(name).tokens
    del plain["normalizer"]["normalizers"][2]
    path.write_text(json.dumps(plain))
    with pytest.raises(CheckpointError, match="differs from the declared"):
        load_tokenizer(tmp_path)


def test_no_two_vocabularies_have_one_identity() -> None:
    assert len({vocabulary_sha256(tokenizer_of(name)) for name in TOKENIZERS}) == len(TOKENIZERS)


@every_tokenizer
def test_empty_text_has_no_token(name: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = ids_of(tokenizer, "")
    assert ids.size == 0
    assert tokenizer.decode(ids) == ""
    assert tokenizer.offsets(encode_bases("")).shape == (0, 2)


@every_tokenizer
def test_one_base_is_one_token(name: str) -> None:
    tokenizer = tokenizer_of(name)
    for number, base in enumerate("ACGT"):
        assert ids_of(tokenizer, base).tolist() == [5 + number]
    assert ids_of(tokenizer, "N").tolist() == [len(tokenizer.tokens) - 1]


@every_tokenizer
@pytest.mark.parametrize("share_of_n", [0, 0.00001, 0.001, 0.3, 1])
def test_a_long_sequence_stays_exact(name: str, share_of_n: float) -> None:
    tokenizer = tokenizer_of(name)
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 4, 300_000).astype(np.uint8)
    codes[generator.random(codes.size) < share_of_n] = 4
    codes[100_000:100_500] = 4
    bases = np.frombuffer(b"ACGTN", dtype=np.uint8)[codes].tobytes().decode()
    ids = tokenizer.encode(codes)
    assert tokenizer.decode(ids) == bases
    offsets = tokenizer.offsets(codes)
    assert len(offsets) == ids.size
    for row in generator.integers(0, ids.size, 200):
        start, stop = offsets[row]
        assert tokenizer.tokens[ids[row]] == bases[start:stop]
