"""Tokenizers of a `tokenizer.json`: blocks of long sequences, places of tokens, roles."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.sequence import decode_bases, encode_bases
from genomeformer_cli.core.tokenizers.published import trained
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from genomeformer_cli.core.tokenizers.published.trained import TrainedTokenizer
from genomeformer_cli.core.tokenizers.published.vocabulary import SpecialTokens
from genomeformer_cli.core.tokenizers.published.word_pieces import WordPieces
from tests.published_tokenizers import (
    UNKNOWN,
    bert_pairs,
    gap_pairs,
    read,
    wordpiece,
    write_json,
)
from tests.strategies import repeatable

SPECIAL = SpecialTokens(pad="[PAD]", unknown="[UNK]")


def random_pairs(seed: int) -> TrainedTokenizer:
    """Byte pairs of random merges, in an order that no training gives."""
    draw = random.Random(seed)
    tokens, merges = list("ACGTN"), []
    for _ in range(draw.randrange(5, 60)):
        pair = (draw.choice(tokens), draw.choice(tokens))
        if len("".join(pair)) <= 12 and pair not in merges:
            merges.append(pair)
            tokens += [] if "".join(pair) in tokens else ["".join(pair)]
    vocabulary = {token: number for number, token in enumerate(["[UNK]", "[PAD]", *tokens])}
    plain = HuggingFaceTokenizer(models.BPE(vocab=vocabulary, merges=merges, **UNKNOWN))
    return TrainedTokenizer(json.loads(plain.to_str()), SPECIAL)


@repeatable
@given(
    seed=st.integers(0, 1000),
    sequence=st.one_of(
        st.text(alphabet="ACGTN", min_size=25, max_size=300),
        st.text(alphabet="ACGT", min_size=1, max_size=12).map(lambda unit: unit * 30),
        st.text(alphabet="AC", min_size=25, max_size=300),
    ),
)
def test_blocks_have_the_tokens_of_the_whole(seed: int, sequence: str) -> None:
    tokenizer = random_pairs(seed)
    whole = tokenizer.encode(encode_bases(sequence))
    firsts = tokenizer.firsts(encode_bases(sequence), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "BLOCK", 24)
        patch.setattr(trained, "OVERLAP", 10)
        codes = encode_bases(sequence)
        ids = tokenizer.encode(codes)
        assert ids.tolist() == whole.tolist()
        assert tokenizer.firsts(codes, ids).tolist() == firsts.tolist()


@pytest.mark.parametrize("name", ["byte pairs, bert", "byte pairs, gaps", "byte pairs, bytes"])
def test_blocks_of_published_layouts(name: str, tmp_path: Path) -> None:
    tokenizer = read(name, tmp_path)
    codes = np.random.default_rng(0).integers(0, 4, 100_000).astype(np.uint8)
    codes[16_000:16_400] = codes[30_000:30_008] = 4
    codes[50_000:90_000] = 4
    plain = HuggingFaceTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expected = plain.encode(decode_bases(codes), add_special_tokens=False)
    ids = tokenizer.encode(codes)
    assert ids.tolist() == expected.ids
    ends = [end for _, end in expected.offsets]
    assert tokenizer.offsets(codes)[:, 1].tolist() == ends


def test_overlaps_of_blocks_hold_known_bases() -> None:
    text = "ACGT" * 8000 + "N" * 100_000 + "ACGT" * 8000 + "N" * 40_000
    blocks = trained._blocks(text)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == len(text)
    for (_, stop), (start, _) in pairwise(blocks):
        assert stop - start == trained.OVERLAP
        assert text[start:stop].count("N") <= trained.OVERLAP // 2
    assert max(stop - start for start, stop in blocks) < 120_000


def test_a_run_of_n_is_one_token_that_covers_it() -> None:
    special = SpecialTokens(pad="[PAD]", unknown="[UNK]", prefix=("[CLS]",), suffix=("[SEP]",))
    tokenizer = TrainedTokenizer(json.loads(gap_pairs().to_str()), special)
    codes = encode_bases("ACGT" + "N" * 25 + "ACGT")
    ids, offsets = tokenizer.encode(codes), tokenizer.offsets(codes)
    gap = tokenizer.tokens.index("-")
    assert offsets[ids == gap].tolist() == [[4, 29]]
    assert tokenizer.decode(ids) == "ACGTNACGT"


@pytest.mark.parametrize(
    ("sequence", "ids", "offsets"),
    [
        ("ACNNGAC", [4, 2, 4], [[0, 4], [4, 5], [5, 7]]),
        ("NNTANC", [3, 4], [[0, 3], [3, 6]]),
        ("NNN", [], []),
    ],
)
def test_letters_that_the_library_drops_are_part_of_the_token_before(
    sequence: str, ids: list[int], offsets: list[list[int]]
) -> None:
    model = models.BPE(vocab={"A": 0, "C": 1, "G": 2, "T": 3, "AC": 4}, merges=[("A", "C")])
    document = json.loads(HuggingFaceTokenizer(model).to_str())
    tokenizer = TrainedTokenizer(document, SpecialTokens(pad="A"))
    codes = encode_bases(sequence)
    plain = HuggingFaceTokenizer(model).encode(sequence, add_special_tokens=False)
    assert tokenizer.encode(codes).tolist() == ids == plain.ids
    assert tokenizer.offsets(codes).tolist() == offsets


def test_roles_are_read_from_the_files(tmp_path: Path) -> None:
    write_json(tmp_path, bert_pairs(), pad_token="[PAD]", mask_token="[MASK]")  # noqa: S106
    tokenizer = read_published_tokenizer(tmp_path, "tokenizer.json", num_rows=500)
    names = [tokenizer.tokens[n] for n in (*tokenizer.prefix_ids, *tokenizer.suffix_ids)]
    assert names == ["[CLS]", "[SEP]"]
    assert tokenizer.tokens[tokenizer.pad_id] == "[PAD]"
    assert tokenizer.mask_id == tokenizer.tokens.index("[MASK]")


@pytest.mark.parametrize("name", ["characters, json", "characters, lower case"])
def test_single_characters_are_found(name: str, tmp_path: Path) -> None:
    tokenizer = read(name, tmp_path)
    assert tokenizer.one_token_per_base
    assert tokenizer.reads_both_strands
    assert tokenizer.base_ids is not None
    codes = encode_bases("acgtACGT")
    assert tokenizer.encode(codes).tolist() == [*tokenizer.base_ids, *tokenizer.base_ids]


def test_bases_with_several_tokens_have_no_single_ids(tmp_path: Path) -> None:
    assert read("pieces", tmp_path).base_ids is None


def test_pieces_of_a_word_are_read(tmp_path: Path) -> None:
    write_json(tmp_path, wordpiece(1 << 20), pad_token="[PAD]")  # noqa: S106
    tokenizer = read_published_tokenizer(tmp_path, "tokenizer.json")
    codes = encode_bases("ACGTA")
    names = [tokenizer.tokens[number] for number in tokenizer.encode(codes)]
    assert names == ["A", "##CG", "##T", "##A"]
    assert tokenizer.offsets(codes).tolist() == [[0, 1], [1, 3], [3, 4], [4, 5]]
    assert tokenizer.decode(tokenizer.encode(codes)) == "ACGTA"


@repeatable
@given(sequence=st.text(alphabet="ACGTN", max_size=60) | st.text(alphabet="CG", max_size=60))
def test_pieces_of_a_word_are_those_of_the_library(sequence: str) -> None:
    plain = wordpiece(50)
    mine = TrainedTokenizer(json.loads(wordpiece(1 << 20).to_str()), SPECIAL)
    if len(sequence) <= 50:
        ids = mine.encode(encode_bases(sequence)).tolist()
        assert ids == plain.encode(sequence, add_special_tokens=False).ids
    limited = WordPieces(json.loads(plain.to_str())["model"])
    assert limited.cut(sequence)[0] == plain.encode(sequence, add_special_tokens=False).ids


def test_a_long_word_is_cut_in_linear_time(tmp_path: Path) -> None:
    write_json(tmp_path, wordpiece(1 << 20), pad_token="[PAD]")  # noqa: S106
    tokenizer = read_published_tokenizer(tmp_path, "tokenizer.json")
    codes = np.random.default_rng(0).integers(0, 4, 200_000).astype(np.uint8)
    start = time.process_time()
    assert tokenizer.decode(tokenizer.encode(codes)) == decode_bases(codes)
    assert time.process_time() - start < 5


def test_a_word_length_that_hides_sequences_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path, wordpiece(100), pad_token="[PAD]")  # noqa: S106
    with pytest.raises(CheckpointError, match="no tokens for 2,000 bases"):
        read_published_tokenizer(tmp_path, "tokenizer.json")


@pytest.mark.parametrize(
    "change",
    [
        {"decoder": {"type": "BPEDecoder", "suffix": " "}},
        {"padding": None},
        {"post_processor": None},
    ],
)
def test_only_what_changes_ids_is_part_of_the_identity(change: dict[str, Any]) -> None:
    document = json.loads(bert_pairs().to_str())
    special = SpecialTokens(pad="[PAD]")
    before = TrainedTokenizer(document, special).rules
    assert TrainedTokenizer({**document, **change}, special).rules == before
    merges = document["model"]["merges"][:-1]
    shorter = {**document, "model": {**document["model"], "merges": merges}}
    assert TrainedTokenizer(shorter, special).rules != before
