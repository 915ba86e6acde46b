"""Bases of the tokens of a vocabulary, and probabilities of bases from those of tokens.

| tokens              | probability of a base                                                      |
|---------------------|----------------------------------------------------------------------------|
| single bases        | softmax over the tokens A C G T                                            |
| k-mers side by side | sum over the k-mers with that base at its place; softmax over the k-mers   |
|                     | of the length of the token                                                 |
| overlapping k-mers  | all tokens that cover the base are hidden; softmax over the k-mers that    |
|                     | equal the true one at the places that other tokens show, summed as above   |
| pieces (byte pairs) | none, since the cut depends on the bases; softmax over all tokens of bases |

Shape letters: V vocabulary, N tokens, K bases of a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

_LN2 = float(np.log(2))
# Every 3-mer twice: overlapping tokens of this probe share bases.
_PROBE = "ACGTTGCATGCCGGAATACCTTAGGCTA" * 2

Numbers = npt.NDArray[np.int64]


class Cut(StrEnum):
    """Cut of a sequence into tokens."""

    BASES = "single bases"
    KMERS = "k-mers side by side"
    OVERLAPPING = "overlapping k-mers"
    PIECES = "pieces of varying length"


@dataclass(frozen=True)
class TokenBases:
    """Bases of the tokens of a tokenizer."""

    tokenizer: Tokenizer

    @cached_property
    def real_ids(self) -> Numbers:
        """Ids of tokens of A C G T only, in order."""
        return np.flatnonzero(self.tokenizer.is_real)

    @cached_property
    def lengths(self) -> Numbers:
        """Number of bases of every token of A C G T only; 0 for the others."""
        lengths = np.zeros(len(self.tokenizer.tokens), dtype=np.int64)
        lengths[self.real_ids] = [len(self.tokenizer.tokens[number]) for number in self.real_ids]
        return lengths

    @cached_property
    def numbers(self) -> Numbers:
        """Number of every token of A C G T only in base 4; -1 for the others."""
        numbers = np.full(len(self.tokenizer.tokens), -1, dtype=np.int64)
        for length in np.unique(self.lengths[self.real_ids]).tolist():
            ids = np.flatnonzero(self.lengths == length)
            letters = "".join(self.tokenizer.tokens[number] for number in ids)
            codes_NK = encode_bases(letters).reshape(len(ids), length).astype(np.int64)
            weights_K = NUM_REAL_BASES ** np.arange(min(length, 31) - 1, -1, -1)
            numbers[ids] = codes_NK[:, -weights_K.size :] @ weights_K
        return numbers

    @cached_property
    def cut(self) -> Cut:
        """Cut of sequences by the tokenizer."""
        lengths, counts = np.unique(self.lengths[self.real_ids], return_counts=True)
        if lengths.tolist() == [1]:
            return Cut.BASES
        if lengths[-1] > 16 or (counts != NUM_REAL_BASES**lengths).any():
            return Cut.PIECES
        offsets_T2 = self.tokenizer.offsets(encode_bases(_PROBE))
        overlaps = (offsets_T2[1:, 0] < offsets_T2[:-1, 1]).any()
        return Cut.OVERLAPPING if overlaps else Cut.KMERS

    def ids_of_length(self, length: int) -> Numbers:
        """Return the ids of all k-mers of a length, in the order of their numbers."""
        ids = np.flatnonzero(self.lengths == length)
        return ids[np.argsort(self.numbers[ids])]

    def log2_of_bases(self, logits_NV: Tensor, length: int) -> Tensor:
        """Return log2 probabilities (N, K, 4) of the bases of tokens of one length.

        Args:
            logits_NV: Logits of the tokens, of single bases or of k-mers side by side.
            length: Bases per token, K.
        """
        ids = torch.from_numpy(self.ids_of_length(length)).to(logits_NV.device)
        nats = functional.log_softmax(logits_NV[:, ids].double(), dim=-1)
        nats = nats.view(-1, *[NUM_REAL_BASES] * length)
        if length == 1:
            return nats[:, None] / _LN2
        places = range(1, length + 1)
        marginals = [
            nats.logsumexp(dim=[axis for axis in places if axis != place]) for place in places
        ]
        return torch.stack(marginals, dim=1) / _LN2

    def log2_of_base(self, logits_NV: Tensor, ids_N: Numbers, query: TokenQuery) -> Tensor:
        """Return log2 probabilities (N, 4) of one base of each of some overlapping k-mers.

        Args:
            logits_NV: Logits of the tokens.
            ids_N: Ids of the true tokens.
            query: Place of the base, and the unknown places of the tokens.
        """
        ids = torch.from_numpy(self.ids_of_length(query.length)).to(logits_NV.device)
        table = logits_NV[:, ids].double().view(-1, *[NUM_REAL_BASES] * query.length)
        number_N = torch.from_numpy(self.numbers[ids_N]).to(logits_NV.device)
        # Axis 1 is the first place that is still in the table.
        axis = 1
        for place in range(query.length):
            if place in query.unknown:
                axis += 1
                continue
            letter_N = number_N >> 2 * (query.length - 1 - place) & 3
            table = _take(table, letter_N, axis)
        base_axis = 1 + query.unknown.index(query.place)
        reduced_axes = [axis for axis in range(1, table.dim()) if axis != base_axis]
        nats_N4 = table.logsumexp(dim=reduced_axes) if reduced_axes else table
        return functional.log_softmax(nats_N4, dim=-1) / _LN2

    def log2_of_tokens(self, logits_NV: Tensor, ids_N: Tensor) -> Tensor:
        """Return the log2 probability (N,) of tokens among all tokens of A C G T only.

        Args:
            logits_NV: Logits of the tokens.
            ids_N: Ids of the true tokens, each of A C G T only.
        """
        rank_V = torch.full((len(self.tokenizer.tokens),), -1)
        rank_V[self.real_ids] = torch.arange(self.real_ids.size)
        ids = torch.from_numpy(self.real_ids).to(logits_NV.device)
        nats_NR = functional.log_softmax(logits_NV[:, ids].double(), dim=-1)
        rank_N1 = rank_V.to(ids_N.device)[ids_N][:, None]
        return nats_NR.gather(1, rank_N1)[:, 0] / _LN2


def _take(table: Tensor, letter_N: Tensor, axis: int) -> Tensor:
    """Return the table (N, ...) of one letter of each row along an axis, which is removed."""
    shape = [1] * table.dim()
    shape[0] = len(letter_N)
    return table.take_along_dim(letter_N.view(shape), dim=axis).squeeze(axis)


class TokenQuery(NamedTuple):
    """Base of a token, and the places of the token that no visible token covers."""

    length: int  # Bases of the token.
    place: int  # Index of the base within the token.
    unknown: tuple[int, ...]  # Indices of the bases that are unknown, the asked one among them.


@dataclass(frozen=True)
class Coverage:
    """Tokens that cover the bases of a sequence.

    The tokens are in the order of their first bases, so that those that cover a base follow each
    other. Shape letters: L bases, T tokens.
    """

    first_T: Numbers  # First base of each token.
    end_T: Numbers  # End of each token, exclusive.
    low_L: Numbers  # First token that covers a base.
    high_L: Numbers  # End (exclusive) of the tokens that cover a base.

    @classmethod
    def of_sequence(cls, tokenizer: Tokenizer, codes: Codes) -> Coverage:
        """Return the coverage of a sequence of base codes."""
        offsets_T2 = tokenizer.offsets(codes)
        first_T, end_T = offsets_T2[:, 0], offsets_T2[:, 1]
        position_L = np.arange(codes.size)
        low_L = np.searchsorted(end_T, position_L, side="right")
        high_L = np.searchsorted(first_T, position_L, side="right")
        return cls(first_T=first_T, end_T=end_T, low_L=low_L, high_L=high_L)

    def query_tokens(self, *, causal: bool) -> Numbers:
        """Return the token in which each base is predicted, (L,); -1 for a base without a token.

        For a model that sees both sides, the base is as near to the middle of the token as can be;
        for a causal model, the token is the first one that covers it.
        """
        token_L = self.low_L if causal else (self.low_L + self.high_L - 1) // 2
        return np.where(self.high_L > self.low_L, token_L, -1)

    def query(self, base: int, token: int) -> TokenQuery:
        """Return the query of a base in a token: the bases that no other token reveals."""
        first, end = int(self.first_T[token]), int(self.end_T[token])
        inside = slice(first, end)
        # All tokens of the base are hidden; so are the bases that have no further token.
        hidden = (self.low_L[inside] >= self.low_L[base]) & (
            self.high_L[inside] <= self.high_L[base]
        )
        return TokenQuery(end - first, base - first, tuple(np.flatnonzero(hidden).tolist()))

    def causal_query(self, base: int, token: int) -> TokenQuery:
        """Return the query of a base in a token, given all earlier tokens."""
        first, end = int(self.first_T[token]), int(self.end_T[token])
        new = np.flatnonzero(self.low_L[first:end] == token)
        return TokenQuery(end - first, base - first, tuple(new.tolist()))
