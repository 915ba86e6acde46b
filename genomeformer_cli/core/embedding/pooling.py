"""Pooling of the features of windows into one row per sequence.

A pool has parts, each with a state per window that is merged over the windows of a sequence:

- `mean`: sum of the features.
- `max`, `first`, `last`: maximum, first or last features.
- `moments`: mean, and sum of squared differences from it (Chan et al. 1983, "Algorithms for
  Computing the Sample Variance"); the row has mean and standard deviation.
- `words`: sums over the positions of each word of three bases that is centred on the position, and
  their number. The row has these sums over the number of all real positions, so that it tells words
  apart in their context; a sequence without a word has no row.
- `bins`: sums over `NUM_BINS` equal parts of the sequence, and their weights. A position on the
  boundary of two parts counts in both by its overlap, so that the parts of the reverse complement
  are these parts in reverse order. A part without a real position has the mean of the others.

Shape letters: B batch, L length, W windows, S columns of the state, P spans, K columns,
N sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.embedding.windows import Numbers
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, has_real_token

Floats = npt.NDArray[np.float64]
NUM_BINS = 8
WORD, NO_WORD = 3, -1
NUM_WORDS = NUM_REAL_BASES**WORD
_PARTS: dict[str, tuple[str, ...]] = {"mean-max": ("mean", "max")}
# Smallest variance of the module, whose square root has a gradient.
_SMALLEST_VARIANCE = 1e-12


def num_parts(pool: Pool) -> int:
    """Return the number of features of each layer that a row has."""
    return {"mean-max": 2, "moments": 2, "words": NUM_WORDS, "bins": NUM_BINS}.get(pool, 1)


def reverse_parts(pool: Pool) -> list[int]:
    """Return the part of a row that each part of the reverse complement is."""
    parts = np.arange(num_parts(pool))
    if pool == "bins":
        parts = parts[::-1]
    elif pool == "words":
        words_WB = np.indices((NUM_REAL_BASES,) * WORD).reshape(WORD, -1).T
        complements_WB = NUM_REAL_BASES - 1 - words_WB[:, ::-1]
        parts = complements_WB @ NUM_REAL_BASES ** np.arange(WORD)[::-1]
    return [int(part) for part in parts]


@dataclass(frozen=True)
class Places:
    """Places of windows in their sequences."""

    start_B: Numbers  # First position of each window.
    size_B: Numbers  # Length of the sequence of each window.
    # Word of each position, see `words_of`; None if the pooling has no words.
    word_BL: Tensor | None = None


def words_of(base_L: Numbers) -> Numbers:
    """Return the number of the word centred on each position, or `NO_WORD`.

    Args:
        base_L: Bases 0 to 3, or a negative number.
    """
    words_L = np.full(base_L.size, NO_WORD, dtype=np.int64)
    if base_L.size >= WORD:
        spans = np.lib.stride_tricks.sliding_window_view(base_L, WORD)
        numbers = spans @ NUM_REAL_BASES ** np.arange(WORD)[::-1]
        words_L[WORD // 2 : -(WORD // 2)] = np.where((spans >= 0).all(axis=1), numbers, NO_WORD)
    return words_L


def base_of_token(tokenizer: Tokenizer) -> Numbers:
    """Return the base 0 to 3 of each token id, or -1.

    Raises:
        ConfigError: Tokens are longer than a base.
    """
    if not tokenizer.one_token_per_base:
        raise ConfigError(
            "`--pool words` needs a tokenizer of single bases", hint="choose another `--pool`"
        )
    return np.array(["ACGT".find(token) if len(token) == 1 else -1 for token in tokenizer.tokens])


def has_vector(tokenizer: Tokenizer, pool: Pool, codes: Codes) -> bool:
    """Return True if a sequence has something to pool, see `pooled_unit`."""
    if pool != "words":
        return has_real_token(tokenizer, codes)
    is_real_L = codes < NUM_REAL_BASES
    num_words = max(codes.size - WORD + 1, 0)
    is_word_L = np.all([is_real_L[start : start + num_words] for start in range(WORD)], axis=0)
    return bool(is_word_L.any())


def pooled_unit(pool: Pool) -> str:
    """Return what a sequence must hold at least once to have a row, for messages."""
    return "word of three bases A C G T" if pool == "words" else "whole token of A C G T"


def state_columns(pool: Pool, columns: int) -> int:
    """Return the number of columns of the state of a window."""
    return max(part.stop for _, part in _state_parts(pool, columns))


def _state_parts(pool: Pool, columns: int) -> Iterator[tuple[str, slice]]:
    """Yield the name and the columns of each part of a state."""
    start = 0
    for name in _PARTS.get(pool, (pool,)):
        sizes = {
            "moments": 2 * columns,
            "words": NUM_WORDS * columns + 1,
            "bins": NUM_BINS * (columns + 1),
        }
        size = sizes.get(name, columns)
        yield name, slice(start, start + size)
        start += size


def pool_windows(features_BLK: Tensor, real_BL: Tensor, pool: Pool, places: Places) -> Tensor:
    """Return the state (B, S) of each window.

    Args:
        features_BLK: Features of windows.
        real_BL: True for positions that are pooled.
        pool: Pooling.
        places: Places of the windows in their sequences.
    """
    states = []
    for name in _PARTS.get(pool, (pool,)):
        if name == "bins":
            weights_BnL = _bin_weights(real_BL, places).to(features_BLK.dtype)
            states += [(weights_BnL @ features_BLK).flatten(1), weights_BnL.sum(dim=2)]
        elif name == "words":
            assert places.word_BL is not None
            word_BL = places.word_BL.to(real_BL.device).where(real_BL, NO_WORD)
            words_W = torch.arange(NUM_WORDS, device=real_BL.device)
            is_word_BWL = (word_BL[:, None] == words_W[:, None]).to(features_BLK.dtype)
            num_words_B1 = is_word_BWL.sum(dim=(1, 2))[:, None]
            states += [(is_word_BWL @ features_BLK).flatten(1), num_words_B1]
        else:
            states.append(_POOLS[name](features_BLK, real_BL))
    return states[0] if len(states) == 1 else torch.cat(states, dim=1)


def _sum(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    if real_BL.all():
        return features_BLK.sum(dim=1)
    return torch.bmm(real_BL[:, None].to(features_BLK.dtype), features_BLK).squeeze(1)


def _max(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    return features_BLK.masked_fill(~real_BL[..., None], -torch.inf).amax(dim=1)


def _first(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    rows_B = torch.arange(len(features_BLK), device=features_BLK.device)
    return features_BLK[rows_B, real_BL.int().argmax(dim=1)]


def _last(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    return _first(features_BLK.flip(1), real_BL.flip(1))


def _moments(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    mask_BL1 = real_BL[..., None].to(features_BLK.dtype)
    mean_BK = _sum(features_BLK, real_BL) / mask_BL1.sum(dim=1).clamp_min(1)
    differences_BLK = (features_BLK - mean_BK[:, None]) * mask_BL1
    return torch.cat((mean_BK, differences_BLK.square().sum(dim=1)), dim=1)


_POOLS = {"mean": _sum, "max": _max, "first": _first, "last": _last, "moments": _moments}


def _bin_weights(real_BL: Tensor, places: Places) -> Tensor:
    """Return the overlap of each real position with each part of its sequence, (B, bins, L)."""
    edges_BnE = np.arange(NUM_BINS + 1) * (places.size_B[:, None] / NUM_BINS)
    position_BL = places.start_B[:, None] + np.arange(real_BL.shape[1])
    low = np.maximum(edges_BnE[:, :-1, None], position_BL[:, None])
    high = np.minimum(edges_BnE[:, 1:, None], position_BL[:, None] + 1)
    overlap_BnL = np.maximum(high - low, 0).astype(np.float32)
    return torch.from_numpy(overlap_BnL).to(real_BL.device) * real_BL[:, None]


def pool_rows(features_BLK: Tensor, real_BL: Tensor, pool: Pool, places: Places) -> Tensor:
    """Return the pooled features of whole sequences, with gradients; zero without a real position.

    Args:
        features_BLK: Features of sequences.
        real_BL: True for positions that are pooled.
        pool: Pooling.
        places: Places of the sequences, which begin at 0.
    """
    state_BS = pool_windows(features_BLK, real_BL, pool, places)
    count_B1 = real_BL.sum(dim=1, keepdim=True)
    parts = []
    for name, columns in _state_parts(pool, features_BLK.shape[2]):
        values = state_BS[:, columns]
        if name == "words":
            values = values[:, :-1]
        if name in ("mean", "words"):
            values = values / count_B1.clamp_min(1)
        elif name == "moments":
            mean_BK, squares_BK = values.chunk(2, dim=1)
            variance_BK = squares_BK / count_B1.clamp_min(1)
            values = torch.cat((mean_BK, variance_BK.clamp_min(_SMALLEST_VARIANCE).sqrt()), dim=1)
        elif name == "bins":
            sums_BnK = values[:, :-NUM_BINS].reshape(len(values), NUM_BINS, -1)
            weights_Bn1 = values[:, -NUM_BINS:, None]
            mean_B1K = sums_BnK.sum(dim=1, keepdim=True) / count_B1.clamp_min(1)[..., None]
            means_BnK = sums_BnK / weights_Bn1.where(weights_Bn1 > 0, 1.0)
            values = torch.where(weights_Bn1 > 0, means_BnK, mean_B1K).flatten(1)
        parts.append(values)
    return torch.cat(parts, dim=1).where(count_B1 > 0, 0.0)


def pool_spans(
    features_LK: Tensor,
    real_L: Tensor,
    spans: Sequence[slice],
    pool: Pool,
    word_L: Tensor | None = None,
) -> tuple[Tensor, Numbers]:
    """Return the state of spans of one window, (P, S), and their real positions, (P,)."""
    counts_P = np.array([int(real_L[span].sum()) for span in spans], dtype=np.int64)
    if pool != "mean":
        rows = [
            pool_windows(
                features_LK[None, span],
                real_L[None, span],
                pool,
                Places(
                    np.zeros(1, dtype=np.int64),
                    np.array([span.stop - span.start]),
                    None if word_L is None else word_L[None, span],
                ),
            )
            for span in spans
        ]
        return torch.cat(rows), counts_P
    weights_PL = torch.zeros(len(spans), real_L.numel(), dtype=features_LK.dtype)
    for row, span in enumerate(spans):
        weights_PL[row, span] = real_L[span].to(features_LK.dtype).cpu()
    return weights_PL.to(features_LK.device) @ features_LK, counts_P


@dataclass
class PooledRows:
    """Accumulator of pooled rows."""

    values_NS: Floats  # Merged state so far.
    counts_N: Numbers  # Real positions so far.
    pool: Pool
    columns: int  # Columns of the features.

    @classmethod
    def empty(cls, number: int, columns: int, pool: Pool) -> PooledRows:
        """Return an accumulator without positions."""
        values_NS = np.zeros((number, state_columns(pool, columns)))
        for name, part in _state_parts(pool, columns):
            if name == "max":
                values_NS[:, part] = -np.inf
        return cls(values_NS, np.zeros(number, dtype=np.int64), pool, columns)

    def add(self, row_W: Numbers, values_WS: npt.NDArray[np.float32], counts_W: Numbers) -> None:
        """Add pooled windows.

        Args:
            row_W: Row of each window, ascending; the windows of a row from left to right.
            values_WS: States, from `pool_windows`.
            counts_W: Real positions of each window.
        """
        is_nonempty = counts_W > 0
        row_W, values_WS, counts_W = (
            row_W[is_nonempty],
            values_WS[is_nonempty],
            counts_W[is_nonempty],
        )
        if not row_W.size:
            return
        firsts = np.flatnonzero(np.append(True, row_W[1:] != row_W[:-1]))
        rows = row_W[firsts]
        is_new = self.counts_N[rows] == 0
        for name, part in _state_parts(self.pool, self.columns):
            values, of_rows = values_WS[:, part], self.values_NS[:, part]
            if name == "max":
                of_rows[rows] = np.maximum(of_rows[rows], np.maximum.reduceat(values, firsts))
            elif name == "last":
                of_rows[rows] = values[np.append(firsts[1:], row_W.size) - 1]
            elif name == "first":
                of_rows[rows[is_new]] = values[firsts[is_new]]
            elif name == "moments":
                self._add_moments(rows, values.astype(np.float64), counts_W, firsts)
            else:
                of_rows[rows] += np.add.reduceat(values.astype(np.float64), firsts)
        self.counts_N[rows] += np.add.reduceat(counts_W, firsts)

    def _add_moments(
        self, rows: Numbers, values_WS: Floats, counts_W: Numbers, firsts: Numbers
    ) -> None:
        """Merge the means and squared differences of windows with those of their rows."""
        columns = self.columns
        before = self.counts_N[rows][:, None]
        means_WK, squares_WK = values_WS[:, :columns], values_WS[:, columns:]
        count_W1 = counts_W[:, None]
        total = before + np.add.reduceat(count_W1, firsts)
        old_mean, old_squares = self.values_NS[rows, :columns], self.values_NS[rows, columns:]
        mean = (before * old_mean + np.add.reduceat(count_W1 * means_WK, firsts)) / total
        sizes = np.diff(np.append(firsts, counts_W.size))
        differences_WK = means_WK - np.repeat(mean, sizes, axis=0)
        squares = old_squares + before * (old_mean - mean) ** 2
        squares += np.add.reduceat(squares_WK + count_W1 * differences_WK**2, firsts)
        self.values_NS[rows] = np.concatenate((mean, squares), axis=1)

    def result(self) -> Floats:
        """Return the rows (N, parts x K); NaN for a row without a real position, or a word."""
        count_N1 = np.maximum(self.counts_N, 1)[:, None]
        parts, is_empty_N = [], self.counts_N == 0
        for name, part in _state_parts(self.pool, self.columns):
            values = self.values_NS[:, part]
            if name == "words":
                is_empty_N |= values[:, -1] == 0
                values = values[:, :-1]
            if name in ("mean", "words"):
                values /= count_N1
            elif name == "moments":
                values[:, self.columns :] = np.sqrt(values[:, self.columns :] / count_N1)
            elif name == "bins":
                values = _bin_means(values)
            parts.append(values)
        rows_NK = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        rows_NK[is_empty_N] = np.nan
        return rows_NK


def _bin_means(values_NS: Floats) -> Floats:
    """Return the mean of each part, or that of the row for a part without a real position."""
    sums_NnK = values_NS[:, :-NUM_BINS].reshape(len(values_NS), NUM_BINS, -1)
    weights_Nn1 = values_NS[:, -NUM_BINS:, None]
    total_N11 = np.maximum(weights_Nn1.sum(axis=1, keepdims=True), 1e-9)
    mean_N1K = sums_NnK.sum(axis=1, keepdims=True) / total_N11
    means_NnK = sums_NnK / np.where(weights_Nn1 > 0, weights_Nn1, 1)
    return np.where(weights_Nn1 > 0, means_NnK, mean_N1K).reshape(len(values_NS), -1)
