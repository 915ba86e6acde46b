"""Character tokenizer: one token per base, A C G T N."""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenizers import models

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes, decode_bases
from genomeformer_cli.core.tokenizers.hf_json import plain_json, split
from genomeformer_cli.core.tokenizers.protocol import (
    FIRST_REAL_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    Ids,
    Offsets,
    OrderedVocabulary,
    Positions,
    StablePrefix,
)


class CharTokenizer(OrderedVocabulary):
    """One token per base."""

    kind = "char"
    tokens: tuple[str, ...] = (*SPECIAL_TOKENS, *BASES)
    rules: tuple[str, ...] = ()
    real_ids = range(FIRST_REAL_ID, FIRST_REAL_ID + NUM_REAL_BASES)
    dtype: np.dtype[np.unsignedinteger[Any]] = np.dtype(np.uint8)
    one_token_per_base = True
    reads_both_strands = True

    @property
    def settings(self) -> dict[str, Any]:
        """Empty: the tokenizer has no settings."""
        return {}

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes, one per base."""
        return codes + np.uint8(FIRST_REAL_ID)

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids; special tokens are omitted."""
        return decode_bases((ids[ids >= FIRST_REAL_ID] - FIRST_REAL_ID).astype(np.uint8))

    def offsets(self, codes: Codes) -> Offsets:
        """Return (i, i + 1) for token i."""
        starts = np.arange(codes.size, dtype=np.int64)
        return np.stack([starts, starts + 1], axis=1)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return i for token i."""
        del ids
        return np.arange(codes.size, dtype=np.int64)

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return the end of the codes: later bases change no token."""
        return StablePrefix(codes.size, codes.size)

    def reverse_complement(self, ids: Ids) -> Ids:
        """Return the token ids of the other strand; N and special tokens are unchanged."""
        complement = np.arange(len(self.tokens), dtype=np.uint8)
        complement[self.real_ids] = complement[self.real_ids][::-1]
        return complement[ids[::-1]]

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face `tokenizers` JSON, which gives equal ids on any DNA string."""
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        model = models.WordLevel(vocab=vocabulary, unk_token=SPECIAL_TOKENS[UNK_ID])
        return plain_json(model, split("."))
