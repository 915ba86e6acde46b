"""Softmax over chunks of sorted rows in several hash rounds.

Each round sorts a row differently; a query sees its own chunk of the order and the previous one.
All keys that the rounds show to a query form one softmax, joined round by round, so that only one
round of a few groups is in memory besides inputs and output, in the backward pass as well.

Shape letters: G groups (batch x heads), L length (a multiple of C), R rounds, C queries of a chunk,
K keys of two chunks, M keys laid out (C + L), D head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.key_tiles import (
    HIDDEN,
    KeyTiles,
    tiled_softmax_backward,
    tiled_softmax_forward,
)

# Added to a query's score with itself: far below any other score, far above what is hidden.
ITSELF = -1e4
# Numbers of one sorted tensor: on a processor 2 MB, so that all of a group stay in its caches.
SORTED_NUMBERS = {"cpu": 1 << 19}
SORTED_NUMBERS_ELSEWHERE = 1 << 28


@dataclass(frozen=True, kw_only=True)
class HashRounds:
    """Sorted chunks of every round."""

    position_RGM: Tensor  # Positions in the layout: the chunk before the first, then the row.
    hidden_GL: Tensor | None  # Bias on the scores of a key by its position; None if all are real.
    chunk: int  # Queries per chunk, C.
    # Buckets of the positions in the layout, for a causal mechanism: a query sees the C positions
    # before it in the sorted row that share its bucket, which are the last C of them in the row.
    # None: it sees its chunk and the previous one.
    bucket_RGM: Tensor | None = None

    def slices(self, head_width: int) -> Iterator[tuple[slice, HashRounds]]:
        """Yield a few groups at a time."""
        _, groups, width = self.position_RGM.shape
        limit = SORTED_NUMBERS.get(self.position_RGM.device.type, SORTED_NUMBERS_ELSEWHERE)
        size = max(1, limit // (width * head_width))
        for first in range(0, groups, size):
            part = slice(first, min(first + size, groups))
            yield (
                part,
                HashRounds(
                    position_RGM=self.position_RGM[:, part],
                    hidden_GL=None if self.hidden_GL is None else self.hidden_GL[part],
                    chunk=self.chunk,
                    bucket_RGM=None if self.bucket_RGM is None else self.bucket_RGM[:, part],
                ),
            )

    def windows(self, round_: int, like: Tensor) -> KeyTiles:
        """Return the windows of a round: own chunk and the one before."""
        if self.bucket_RGM is not None:
            return self._causal_windows(self.bucket_RGM[round_], like)
        position_GM, chunk = self.position_RGM[round_], self.chunk
        hidden_GM = None if self.hidden_GL is None else self.hidden_GL.gather(1, position_GM)
        position_GM = position_GM.to(torch.int32)
        itself_CC = ITSELF * torch.eye(chunk, dtype=like.dtype, device=like.device)
        itself_CK = functional.pad(itself_CC, (chunk, 0))
        no_bias = like.new_zeros(1, 1, 1, 1)

        def bias(groups: slice, blocks: slice) -> Tensor:
            keys = slice(blocks.start * chunk, (blocks.stop + 1) * chunk)
            hidden = no_bias
            if hidden_GM is not None:
                hidden = hidden_GM[groups, keys].unfold(1, 2 * chunk, chunk)[:, :, None]
            # Only the chunk before the first can hold the query a second time.
            if blocks.start > 0:
                return itself_CK + hidden
            key = position_GM[groups, keys].unfold(1, 2 * chunk, chunk)[:, :, None]
            query = key[..., chunk:].mT
            return torch.where(key == query, ITSELF, hidden)

        num_blocks = position_GM.shape[1] // chunk - 1
        return KeyTiles(num_blocks=num_blocks, block=chunk, width=2 * chunk, bias=bias)

    def _causal_windows(self, bucket_GM: Tensor, like: Tensor) -> KeyTiles:
        """Return the windows of a round in which a query sees the C before it of its bucket.

        Later positions shift a bucket's place in the sorted row, but not the order within it.
        """
        chunk = self.chunk
        places_K = torch.arange(2 * chunk, device=like.device)
        back_CK = places_K[chunk:, None] - places_K
        band_CK = like.new_zeros(back_CK.shape).masked_fill(
            (back_CK < 0) | (back_CK > chunk), HIDDEN
        )
        band_CK = band_CK.masked_fill(back_CK == 0, ITSELF)

        def bias(groups: slice, blocks: slice) -> Tensor:
            keys = slice(blocks.start * chunk, (blocks.stop + 1) * chunk)
            key = bucket_GM[groups, keys].unfold(1, 2 * chunk, chunk)[:, :, None]
            return torch.where(key == key[..., chunk:].mT, band_CK, HIDDEN)

        num_blocks = bucket_GM.shape[1] // chunk - 1
        return KeyTiles(num_blocks=num_blocks, block=chunk, width=2 * chunk, bias=bias)

    def rows(self, round_: int) -> Tensor:
        """Return rows (G, M) of tensors (G L, ...) in the layout of the round."""
        position_GM = self.position_RGM[round_]
        length = position_GM.shape[1] - self.chunk
        first_G = torch.arange(position_GM.shape[0], device=position_GM.device) * length
        return position_GM + first_G[:, None]

    def unsorting(self, round_: int) -> Tensor:
        """Return rows (G, L) of sorted tensors (G L, ...) in the order of the positions."""
        position_GL = self.position_RGM[round_, :, self.chunk :]
        rows_GL = torch.arange(position_GL.numel(), device=position_GL.device)
        rows_GL = rows_GL.view(position_GL.shape)
        return torch.empty_like(rows_GL).scatter_(1, position_GL, rows_GL)


def lsh_softmax(q_GLD: Tensor, k_GLD: Tensor, v_GLD: Tensor, rounds: HashRounds) -> Tensor:
    """Return the output (G, L, D) of the queries over the keys of all rounds."""
    out_GLD: Tensor = _LshSoftmax.apply(  # type: ignore[no-untyped-call]
        q_GLD, k_GLD, v_GLD, rounds
    )
    return out_GLD


def _take(x_GLD: Tensor, rows_GN: Tensor) -> Tensor:
    """Return rows of all groups in the layout (G, N, ...)."""
    rows = x_GLD.flatten(0, 1).index_select(0, rows_GN.flatten())
    return rows.view(*rows_GN.shape, *x_GLD.shape[2:])


def _forward(
    q_GLD: Tensor, k_GLD: Tensor, v_GLD: Tensor, rounds: HashRounds
) -> tuple[Tensor, Tensor]:
    """Return outputs and base-2 log normalisers, rescaled round by round."""
    out_GLD = torch.zeros_like(q_GLD)
    log_norm_GL = q_GLD.new_full(q_GLD.shape[:2], float("-inf"))
    for round_ in range(rounds.position_RGM.shape[0]):
        rows_GM, unsorting_GL = rounds.rows(round_), rounds.unsorting(round_)
        q, k, v = (_take(x, rows_GM) for x in (q_GLD, k_GLD, v_GLD))
        windows = rounds.windows(round_, q_GLD)
        sorted_out, sorted_norm = tiled_softmax_forward(q[:, rounds.chunk :], k, v, windows)
        part_GLD, part_norm_GL = _take(sorted_out, unsorting_GL), _take(sorted_norm, unsorting_GL)
        both_GL = torch.logaddexp2(log_norm_GL, part_norm_GL)
        out_GLD.mul_((log_norm_GL - both_GL).exp2_()[..., None])
        out_GLD.addcmul_(part_GLD, (part_norm_GL - both_GL).exp2_()[..., None])
        log_norm_GL = both_GL
    return out_GLD, log_norm_GL


def _add_gradients(
    sums: tuple[Tensor, Tensor, Tensor],
    queries: tuple[Tensor, Tensor, Tensor],
    qkv: tuple[Tensor, Tensor, Tensor],
    rounds: HashRounds,
) -> None:
    """Add the gradients of queries, keys and values of every round to their sums.

    Args:
        sums: Sums to update, (G, L, D) each.
        queries: Gradient of the output, its inner products with the output, and log normalisers, as
            for `tiled_softmax_backward`, in the order of the positions.
        qkv: Queries, keys, values.
        rounds: Rounds of the forward pass.
    """
    for round_ in range(rounds.position_RGM.shape[0]):
        rows_GM, unsorting_GL = rounds.rows(round_), rounds.unsorting(round_)
        before_GC, sorted_GL = rows_GM[:, : rounds.chunk], rows_GM[:, rounds.chunk :]
        grad, inner, log_norm = (_take(x, sorted_GL) for x in queries)
        q, k, v = (_take(x, rows_GM) for x in qkv)
        gradients = tiled_softmax_backward(
            grad, inner, log_norm, (q[:, rounds.chunk :], k, v), rounds.windows(round_, q)
        )
        sums[0].add_(_take(gradients[0], unsorting_GL))
        for total, part in zip(sums[1:], gradients[1:], strict=True):
            total.flatten(0, 1).index_add_(
                0, before_GC.flatten(), part[:, : rounds.chunk].flatten(0, 1)
            )
            total.add_(_take(part[:, rounds.chunk :], unsorting_GL))


class _LshSoftmax(torch.autograd.Function):
    """`lsh_softmax` whose backward pass repeats sorting and scoring."""

    @staticmethod
    def forward(
        ctx: Any, q_GLD: Tensor, k_GLD: Tensor, v_GLD: Tensor, rounds: HashRounds
    ) -> Tensor:
        out_GLD = torch.empty_like(q_GLD, memory_format=torch.contiguous_format)
        log_norm_GL = q_GLD.new_empty(q_GLD.shape[:2])
        with torch.autocast(q_GLD.device.type, enabled=False):
            for part, slice_rounds in rounds.slices(q_GLD.shape[-1]):
                qkv = (q_GLD[part], k_GLD[part], v_GLD[part])
                out_GLD[part], log_norm_GL[part] = _forward(*qkv, slice_rounds)
        ctx.save_for_backward(q_GLD, k_GLD, v_GLD, out_GLD, log_norm_GL)
        ctx.rounds = rounds
        return out_GLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_GLD: Tensor) -> tuple[Tensor | None, ...]:
        q_GLD, k_GLD, v_GLD, out_GLD, log_norm_GL = ctx.saved_tensors
        with torch.autocast(q_GLD.device.type, enabled=False):
            inner_GL = torch.linalg.vecdot(out_GLD, grad_GLD)
            sums = tuple(q_GLD.new_zeros(q_GLD.shape) for _ in range(3))
            for part, slice_rounds in ctx.rounds.slices(q_GLD.shape[-1]):
                _add_gradients(
                    (sums[0][part], sums[1][part], sums[2][part]),
                    (grad_GLD[part], inner_GL[part], log_norm_GL[part]),
                    (q_GLD[part], k_GLD[part], v_GLD[part]),
                    slice_rounds,
                )
        return *sums, None
