"""The tokenizer of single bases."""

from __future__ import annotations

import numpy as np

from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, SPECIAL_TOKENS

TOKENIZER = CharTokenizer()


def test_ids_are_those_that_released_models_were_trained_with() -> None:
    assert TOKENIZER.tokens == (*SPECIAL_TOKENS, "A", "C", "G", "T", "N")
    assert TOKENIZER.encode(encode_bases("ACGTN")).tolist() == [5, 6, 7, 8, 9]
    assert list(TOKENIZER.real_ids) == [5, 6, 7, 8]


def test_each_base_is_one_token() -> None:
    ids = TOKENIZER.encode(encode_bases("acguRN"))
    assert ids.dtype == np.uint8
    assert ids.tolist() == [5, 6, 7, 8, 9, 9]


def test_special_tokens_decode_to_nothing() -> None:
    ids = np.array([0, 5, MASK_ID, 8, 1], dtype=np.uint8)
    assert TOKENIZER.decode(ids) == "AT"


def test_the_other_strand_keeps_n_and_special_tokens() -> None:
    ids = np.array([5, 6, 9, MASK_ID, 0], dtype=np.uint8)
    assert TOKENIZER.reverse_complement(ids).tolist() == [0, MASK_ID, 9, 7, 8]
