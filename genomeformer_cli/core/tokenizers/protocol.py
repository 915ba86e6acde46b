"""Interface of all tokenizers.

Letters are read as in `core.sequence` by each of them: lower case is the same base, `U` is `T`,
every other IUPAC code is `N`. For the tokenizers that `pretrain` trains on, two more rules hold.
Every N is a separate token, and the runs of A C G T between them are cut independently. The
encoding is lossless: `decode` returns all bases.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(len(SPECIAL_TOKENS))
FIRST_REAL_ID = len(SPECIAL_TOKENS)

Ids = npt.NDArray[np.unsignedinteger[Any]]
Offsets = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class StablePrefix(NamedTuple):
    """Position at which a record that arrives in blocks can be cut."""

    stop: int  # Later bases do not change the tokens of the bases before this position.
    # `encode` of the bases from this position gives the following tokens; before `stop` if tokens
    # overlap.
    resume: int


class Tokenizer(Protocol):
    """Convert base codes to token ids.

    `encode` returns tokens of bases only: the model adds the tokens before and after a sequence
    (see `core.models.framed`).

    Attributes:
        settings: Constructor settings as plain values.
    """

    kind: str  # Name in the table of tokenizers, e.g. `char`.
    tokens: tuple[str, ...]  # All tokens, by id.
    rules: tuple[str, ...]  # Further inputs of the encoding, as text: a stride, merges.
    dtype: np.dtype[np.unsignedinteger[Any]]  # Smallest unsigned integer type for the ids.
    one_token_per_base: bool  # True if token i is base i in every sequence.
    reads_both_strands: bool  # True if `reverse_complement` is available.

    @property
    def settings(self) -> dict[str, Any]:
        """Constructor settings as plain values."""

    @property
    def pad_id(self) -> int:
        """Id of padding."""

    @property
    def mask_id(self) -> int | None:
        """Id that hides a token from a masked model; None if the vocabulary has none."""

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """Ids before every sequence, such as `[CLS]`."""

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """Ids after every sequence, such as `[SEP]`."""

    @property
    def is_real(self) -> Mask:
        """True at the ids of tokens of A C G T only, (V,)."""

    @property
    def bases(self) -> tuple[str, ...]:
        """Bases of every token, by id; empty for tokens that spell none."""

    @property
    def base_ids(self) -> tuple[int, int, int, int] | None:
        """Ids of the single bases A, C, G and T; None if one of them has no token."""

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes (see `core.sequence`)."""

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids, upper case; special tokens are omitted."""

    def offsets(self, codes: Codes) -> Offsets:
        """Return first base and end (exclusive) of every token of `encode(codes)`: (T, 2)."""

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return the first base of every token, where `ids` is `encode(codes)`: (T,)."""

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return the length of the prefix whose tokens no later base can change.

        Args:
            codes: Bases from the start of a record, or from the `resume` of an earlier call.
        """

    def reverse_complement(self, ids: Ids) -> Ids:
        """Return the token ids of the other strand; an involution.

        Raises:
            ConfigError: The other strand has other token boundaries.
        """

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face `tokenizers` JSON, which gives equal ids on any DNA string."""


class OrderedTokenizer(Tokenizer, Protocol):
    """Tokenizer that `pretrain` can train on.

    The ids are ordered: special tokens, A C G T, longer tokens, N.
    """

    # Ids of tokens of A C G T only: the prediction targets, and the candidates of random
    # replacement.
    real_ids: range


class OrderedVocabulary:
    """Special tokens and bases of an ordered vocabulary: a base class."""

    real_ids: range
    tokens: tuple[str, ...]
    pad_id: int = PAD_ID
    mask_id: int = MASK_ID
    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()
    base_ids = (FIRST_REAL_ID, FIRST_REAL_ID + 1, FIRST_REAL_ID + 2, FIRST_REAL_ID + 3)

    @cached_property
    def bases(self) -> tuple[str, ...]:
        """Bases of every token, by id; empty for tokens that spell none."""
        return ("",) * FIRST_REAL_ID + self.tokens[FIRST_REAL_ID:]

    @cached_property
    def is_real(self) -> Mask:
        """True at the ids of tokens of A C G T only, (V,)."""
        ids = np.arange(len(self.tokens))
        is_real: Mask = (ids >= self.real_ids.start) & (ids < self.real_ids.stop)
        return is_real


def require_ordered(tokenizer: Tokenizer) -> OrderedTokenizer:
    """Return a tokenizer whose ids are ordered.

    Raises:
        ConfigError: It belongs to a model of another family.
    """
    if not isinstance(tokenizer, OrderedVocabulary):
        raise ConfigError(
            f"the tokens of the model are `{tokenizer.kind}`, those of another model family",
            hint="use a model of `genomeformer pretrain`",
        )
    return cast("OrderedTokenizer", tokenizer)


def smallest_dtype(num_tokens: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the smallest unsigned integer type for the ids of a vocabulary."""
    return np.dtype(np.min_scalar_type(num_tokens - 1))


def has_real_token(tokenizer: Tokenizer, codes: Codes) -> bool:
    """Return True if a token of A C G T only is among those of a sequence.

    Vocabularies without single bases, such as those of overlapping k-mers, have none for a
    sequence that is shorter than a token.
    """
    if not (codes < NUM_REAL_BASES).any():
        return False
    return tokenizer.base_ids is not None or bool(tokenizer.is_real[tokenizer.encode(codes)].any())


def real_id_range(tokenizer: Tokenizer) -> range:
    """Return the range of ids from the first to the last token of A C G T only."""
    ids = np.flatnonzero(tokenizer.is_real)
    return range(int(ids[0]), int(ids[-1]) + 1)


def vocabulary_sha256(tokenizer: Tokenizer) -> str:
    """Return a checksum of a vocabulary: equal if and only if the encodings are equal."""
    identity: list[Any] = [tokenizer.kind, tokenizer.tokens]
    if tokenizer.rules:
        identity.append(tokenizer.rules)
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def other_strand_error(tokens: str) -> ConfigError:
    """Build the error for a tokenizer without reverse complement."""
    return ConfigError(
        f"{tokens} have no reverse complement: the other strand has other token boundaries",
        hint="reverse-complement the bases, then encode; or use `char`, or k-mers of stride 1",
    )
