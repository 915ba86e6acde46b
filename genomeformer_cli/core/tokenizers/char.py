"""The character tokenizer: one token a base, A C G T N.

Lower case is the same base, `U` is `T`, IUPAC ambiguity codes are `N`; the JSON form says the same
to other tools.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from genomeformer_cli.core.sequence import (
    AMBIGUITY_CODES,
    BASES,
    NUM_REAL_BASES,
    Codes,
    decode_bases,
)
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, SPECIAL_TOKENS, UNK_ID, Ids

_FIRST = len(SPECIAL_TOKENS)


class CharTokenizer:
    """One token a base."""

    kind = "char"
    tokens = (*SPECIAL_TOKENS, *BASES)
    real_ids = range(_FIRST, _FIRST + NUM_REAL_BASES)

    def encode(self, codes: Codes) -> Ids:
        """Token ids of base codes, one a base."""
        return codes + np.uint8(_FIRST)

    def decode(self, ids: Ids) -> str:
        """Bases of token ids; special tokens stand for nothing."""
        return decode_bases(ids[ids >= _FIRST] - np.uint8(_FIRST))

    def reverse_complement(self, ids: Ids) -> Ids:
        """Token ids of the other strand; N and special tokens stay what they are."""
        complement = np.arange(len(self.tokens), dtype=np.uint8)
        complement[self.real_ids.start : self.real_ids.stop] = np.arange(
            _FIRST, _FIRST + NUM_REAL_BASES
        )[::-1]
        return complement[ids[::-1]]

    def to_json(self) -> dict[str, Any]:
        """The Hugging Face `tokenizers` JSON, which gives the same ids on any DNA string."""
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=SPECIAL_TOKENS[UNK_ID]))
        rules = [(f"[{letter}{letter.lower()}]", letter) for letter in "ACG"]
        rules += [("[TtUu]", "T"), (f"[{AMBIGUITY_CODES}{AMBIGUITY_CODES.lower()}]", "N")]
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Replace(Regex(pattern), base) for pattern, base in rules]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        tokenizer.enable_padding(pad_id=PAD_ID, pad_token=SPECIAL_TOKENS[PAD_ID])
        plain: dict[str, Any] = json.loads(tokenizer.to_str())
        return plain
