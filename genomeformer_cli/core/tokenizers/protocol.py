"""What every tokenizer can do, whatever its tokens are."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import Codes

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(len(SPECIAL_TOKENS))

Ids = npt.NDArray[np.uint8]


class Tokenizer(Protocol):
    """Cuts base codes into tokens.

    Attributes:
        kind: Its name in the table of tokenizers, e.g. `char`.
        tokens: All tokens; the index is the id. The special ones come first.
        real_ids: Ids of tokens made of A C G T alone: the only ones that are predicted or drawn at
            random.
    """

    kind: str
    tokens: tuple[str, ...]
    real_ids: range

    def encode(self, codes: Codes) -> Ids:
        """Token ids of base codes (see `core.sequence`)."""

    def decode(self, ids: Ids) -> str:
        """Bases of token ids, upper case; special tokens stand for nothing."""

    def reverse_complement(self, ids: Ids) -> Ids:
        """Token ids of the other strand; the inverse of itself."""

    def to_json(self) -> dict[str, Any]:
        """The Hugging Face `tokenizers` JSON."""


def vocabulary_sha256(tokenizer: Tokenizer) -> str:
    """Identity of a vocabulary: equal exactly when the same bases give the same ids."""
    return hashlib.sha256(json.dumps([tokenizer.kind, tokenizer.tokens]).encode()).hexdigest()
