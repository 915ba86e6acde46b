"""What every tokenizer can do, whatever its tokens are.

Three rules hold for all of them. Letters are read as `core.sequence` says: lower case is the same
base, `U` is `T`, every other IUPAC code is `N`. Every N is a token of its own, and the stretches of
A C G T between them are cut each for itself. Nothing is lost: `decode` returns all bases.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import Codes

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(len(SPECIAL_TOKENS))
FIRST_REAL_ID = len(SPECIAL_TOKENS)

Ids = npt.NDArray[np.unsignedinteger[Any]]
Offsets = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]


class Settled(NamedTuple):
    """Where a record that comes in pieces can be cut.

    Attributes:
        stop: `encode` of the bases before this one gives tokens that stay as they are.
        resume: `encode` from this base on gives the tokens that follow them; before `stop` where
            tokens overlap.
    """

    stop: int
    resume: int


class Tokenizer(Protocol):
    """Cuts base codes into tokens.

    The ids are laid out alike: special tokens, A C G T, longer tokens, N.

    Attributes:
        kind: Its name in the table of tokenizers, e.g. `char`.
        settings: What it was built with, as plain values.
        tokens: All tokens; the index is the id.
        rules: What decides the ids beside `tokens`, as text: a stride, merges.
        real_ids: Ids of tokens made of A C G T alone: the only ones that are predicted or drawn at
            random.
        dtype: The smallest unsigned integer that holds every id.
        one_token_a_base: Token i is base i, in every sequence.
        reads_both_strands: The other strand of a sequence has the same tokens, so that
            `reverse_complement` exists.
    """

    kind: str
    tokens: tuple[str, ...]
    rules: tuple[str, ...]
    real_ids: range
    dtype: np.dtype[np.unsignedinteger[Any]]
    one_token_a_base: bool
    reads_both_strands: bool

    @property
    def settings(self) -> dict[str, Any]:
        """What it was built with, as plain values."""

    def encode(self, codes: Codes) -> Ids:
        """Token ids of base codes (see `core.sequence`)."""

    def decode(self, ids: Ids) -> str:
        """Bases of token ids, upper case; special tokens stand for nothing."""

    def offsets(self, codes: Codes) -> Offsets:
        """First base and the one after the last of every token of `encode(codes)`: (T, 2)."""

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """First base of every token, where `ids` is `encode(codes)`: (T,)."""

    def settled(self, codes: Codes) -> Settled:
        """How many of the first tokens no later base can change.

        Args:
            codes: Bases from the start of a record, or from where an earlier call said to go on.
        """

    def reverse_complement(self, ids: Ids) -> Ids:
        """Token ids of the other strand; the inverse of itself.

        Raises:
            ConfigError: The other strand is cut elsewhere, so its ids cannot be had from these.
        """

    def to_json(self) -> dict[str, Any]:
        """The Hugging Face `tokenizers` JSON, which gives the same ids on any DNA string."""


def smallest_dtype(num_tokens: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned integer that holds the ids of a vocabulary."""
    return np.dtype(np.min_scalar_type(num_tokens - 1))


def vocabulary_sha256(tokenizer: Tokenizer) -> str:
    """Identity of a vocabulary: equal exactly when the same bases give the same ids."""
    identity: list[Any] = [tokenizer.kind, tokenizer.tokens]
    if tokenizer.rules:
        identity.append(tokenizer.rules)
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def refuse_other_strand(what: str) -> ConfigError:
    """The error of a tokenizer whose tokens are not those of the other strand."""
    return ConfigError(
        f"the other strand of {what} is cut elsewhere: its ids cannot be had from these",
        hint="take the reverse complement of the bases, then encode; or use `char`, or k-mers of "
        "stride 1",
    )
