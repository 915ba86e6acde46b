"""Tables that the tokenizers of other authors share."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, reverse_complement
from genomeformer_cli.core.tokenizers.protocol import Ids, other_strand_error, smallest_dtype
from genomeformer_cli.core.tokenizers.published.vocabulary import Vocabulary

_LETTERS = frozenset(BASES)


class PublishedTokenizer:
    """Tokenizer of another author's model: a base class.

    Args:
        vocabulary: Tokens and their roles.
        bases: Bases of every token, by id; empty for other tokens.

    Attributes:
        unknown_id: Id of everything that has no other token; None if there is none.
    """

    kind: str
    rules: tuple[str, ...]
    one_token_per_base: bool
    reads_both_strands: bool

    def __init__(self, vocabulary: Vocabulary, bases: tuple[str, ...]) -> None:
        self.vocabulary = vocabulary
        self.tokens = vocabulary.tokens
        self.bases = bases
        self.dtype: np.dtype[np.unsignedinteger[Any]] = smallest_dtype(len(self.tokens))
        ids, special = vocabulary.ids, vocabulary.special
        self.pad_id = ids[special.pad]
        self.unknown_id = None if special.unknown is None else ids[special.unknown]
        self.mask_id = None if special.mask is None else ids[special.mask]
        self.prefix_ids = tuple(ids[token] for token in special.prefix)
        self.suffix_ids = tuple(ids[token] for token in special.suffix)
        self.is_real: npt.NDArray[np.bool_] = np.array(
            [bool(text) and BASES[-1] not in text for text in bases]
        )
        self.base_ids = self._single_ids()

    def _single_ids(self) -> tuple[int, int, int, int] | None:
        firsts = {text: number for number, text in reversed(list(enumerate(self.bases)))}
        if any(base not in firsts for base in BASES[:NUM_REAL_BASES]):
            return None
        a, c, g, t = (firsts[base] for base in BASES[:NUM_REAL_BASES])
        return a, c, g, t

    @cached_property
    def _complements(self) -> Ids:
        """Id of the reverse complement of every token; special tokens are unchanged."""
        firsts = {text: number for number, text in enumerate(self.bases) if text}
        pairs = [
            firsts[reverse_complement(text)] if text else number
            for number, text in enumerate(self.bases)
        ]
        return np.array(pairs, dtype=self.dtype)

    def reverse_complement(self, ids: Ids) -> Ids:
        """Return the token ids of the other strand; N and special tokens are unchanged.

        Raises:
            ConfigError: The other strand has other token boundaries.
        """
        if not self.reads_both_strands:
            raise other_strand_error(f"tokens of `{self.kind}`")
        strand: Ids = self._complements[ids[::-1]]
        return strand


def bases_of(token: str) -> str:
    """Return the bases of a token of upper-case letters; empty for other tokens."""
    return token if token and _LETTERS.issuperset(token) else ""
