"""Reformer attention: softmax among positions with equal hashes, shared queries and keys.

Every round sorts the real positions of a row by hash bucket, then position, and cuts the order
into chunks of C; a query sees the keys of its own chunk and of the previous one (the first chunk
follows the last chunk of the previous round, and the first round follows the last). A row of n real
positions has 2 ceil(n / 2C) buckets, limited by the rotations drawn.
Chunks and the number of buckets depend on all positions. A causal query sees instead, in every
round, the last C earlier positions of its own bucket, with a fixed number of buckets, so that later
positions do not change its output.
All rounds form one softmax, in which a key seen in two rounds counts twice. Keys are the queries,
scaled to a root mean square of 1; a query sees itself only where it sees nothing else.
O(R L (C + F) D + R L log L) time for R rounds and F = L / 2C directions of hashing, and O(L D)
memory: the backward pass repeats sorting and scoring.
Source: Kitaev et al. 2020, "Reformer", section 2 (equations 2 to 6, without the correction for
keys met in several rounds; there, causal attention hides later keys of the same chunks).
Shape letters: B batch, H heads, G groups (B H), L length, R rounds, C queries of a chunk, D head
width, F directions, M keys laid out (C + L).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.key_tiles import HIDDEN
from genomeformer_cli.core.attention.kernels.lsh import (
    directions_of,
    hash_buckets,
    hash_directions,
    random_rotations,
    sorted_rounds,
)
from genomeformer_cli.core.attention.kernels.lsh_attention import ITSELF, HashRounds, lsh_softmax
from genomeformer_cli.core.attention.kernels.rms_norm import EPSILON, rms_norm
from genomeformer_cli.core.errors import ConfigError


def reformer_attention(
    q_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    rotations_RDF: Tensor,
    *,
    chunk: int,
    causal: bool,
) -> Tensor:
    """Attend to the positions with equal hashes; the output is 0 at padding.

    Causal rows are hashed by all directions given, others by a number that depends on their length.
    """
    dtype = torch.promote_types(v_BHLD.dtype, torch.float32)
    batch, heads, length, head_width = q_BHLD.shape
    real_BL = mask_BL
    if real_BL is None:
        real_BL = torch.ones(batch, length, dtype=torch.bool, device=q_BHLD.device)
    else:
        q_BHLD, v_BHLD = (x.masked_fill(~real_BL[:, None, :, None], 0) for x in (q_BHLD, v_BHLD))
    surplus = -length % chunk
    real_BL = functional.pad(real_BL, (0, surplus), value=False)
    # In one piece: rows are picked out of them again and again.
    q_BHLD, padded_v_BHLD = (
        functional.pad(x.to(dtype), (0, 0, 0, surplus)) if surplus else x.to(dtype).contiguous()
        for x in (q_BHLD, v_BHLD)
    )
    with torch.autocast(q_BHLD.device.type, enabled=False):
        k_BHLD = rms_norm(q_BHLD, q_BHLD.new_ones(head_width))
        if causal:
            rounds = _causal_rounds(q_BHLD.detach(), real_BL, rotations_RDF, chunk)
        else:
            hide = mask_BL is not None or surplus > 0
            extremes = None
            if mask_BL is None:
                extremes = (directions_of(length, chunk, rotations_RDF.shape[-1]),) * 2
            rounds = _rounds(q_BHLD.detach(), real_BL, rotations_RDF, (chunk, extremes), hide=hide)
    q_GLD, k_GLD, v_GLD = (x.flatten(0, 1) for x in (q_BHLD, k_BHLD, padded_v_BHLD))
    out_GLD = lsh_softmax(q_GLD, k_GLD, v_GLD, rounds)
    out_BHLD = out_GLD.view(batch, heads, -1, head_width)[:, :, :length].to(v_BHLD.dtype)
    return out_BHLD if mask_BL is None else out_BHLD.masked_fill(~mask_BL[:, None, :, None], 0)


def _rounds(
    q_BHLD: Tensor,
    real_BL: Tensor,
    rotations_RDF: Tensor,
    dials: tuple[int, tuple[int, int] | None],
    *,
    hide: bool,
) -> HashRounds:
    """Sort every round and place it after the last real chunk of the previous round."""
    chunk, extremes = dials
    num_real_B = real_BL.sum(dim=1)
    num_directions_B = hash_directions(num_real_B, chunk, rotations_RDF.shape[-1])
    order_RBHL, _ = sorted_rounds(q_BHLD, real_BL, rotations_RDF, num_directions_B, extremes)
    last_chunk_B = (num_real_B - 1).clamp_min(0).div(chunk, rounding_mode="floor")
    last_BC = last_chunk_B[:, None] * chunk + torch.arange(chunk, device=q_BHLD.device)
    before_RBHC = order_RBHL.roll(1, dims=0).take_along_dim(last_BC[None, :, None], dim=3)
    position_RBHM = torch.cat((before_RBHC, order_RBHL), dim=3)
    hidden_GL = None
    if hide:
        hidden_BL = q_BHLD.new_zeros(real_BL.shape).masked_fill(~real_BL, HIDDEN)
        hidden_GL = hidden_BL.repeat_interleave(q_BHLD.shape[1], dim=0)
    return HashRounds(position_RGM=position_RBHM.flatten(1, 2), hidden_GL=hidden_GL, chunk=chunk)


def _causal_rounds(
    q_BHLD: Tensor, real_BL: Tensor, rotations_RDF: Tensor, chunk: int
) -> HashRounds:
    """Sort every round and place it after an empty chunk; padding has a bucket of its own."""
    most = rotations_RDF.shape[-1]
    num_directions_B = torch.full((len(q_BHLD),), most, device=q_BHLD.device)
    order_RBHL, bucket_RBHL = sorted_rounds(
        q_BHLD, real_BL, rotations_RDF, num_directions_B, (most, most)
    )
    return HashRounds(
        position_RGM=functional.pad(order_RBHL, (chunk, 0)).flatten(1, 2),
        hidden_GL=None,
        chunk=chunk,
        bucket_RGM=functional.pad(bucket_RBHL, (chunk, 0), value=-1).flatten(1, 2),
    )


def reformer_attention_reference(
    q_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    rotations_RDF: Tensor,
    *,
    chunk: int,
    causal: bool,
) -> Tensor:
    """Attend through the L x L matrix of how often a query sees a key, row by row."""
    batch, heads, length, head_width = q_BHLD.shape
    outs = []
    for row in range(batch):
        real = torch.arange(length) if mask_BL is None else mask_BL[row].nonzero().flatten()
        for head in range(heads):
            q, v = q_BHLD[row, head, real], v_BHLD[row, head, real]
            out = torch.zeros_like(v_BHLD[row, head])
            if len(real):
                times = _times_seen(q, rotations_RDF, chunk, causal=causal)
                k = q * (q.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()
                scores = (q @ k.T / head_width**0.5).masked_fill(torch.eye(len(real)) > 0, ITSELF)
                out[real] = torch.softmax(scores + times.to(q.dtype).log(), dim=1) @ v
            outs.append(out)
    return torch.stack(outs).view(batch, heads, length, head_width)


def _times_seen(q_LD: Tensor, rotations_RDF: Tensor, chunk: int, *, causal: bool) -> Tensor:
    """Count by lists how often all rounds show a key (column) to a query (row)."""
    if causal:
        return _times_seen_causally(q_LD, rotations_RDF, chunk)
    length = len(q_LD)
    num_directions = hash_directions(torch.tensor([length]), chunk, rotations_RDF.shape[-1])
    chunks_of_rounds = []
    for rotation_DF in rotations_RDF:
        bucket = hash_buckets(q_LD[None, None], rotation_DF, num_directions)[0, 0].tolist()
        order = [position for _, position in sorted(zip(bucket, range(length), strict=True))]
        chunks_of_rounds.append([order[i : i + chunk] for i in range(0, length, chunk)])
    times = torch.zeros(length, length)
    for round_, chunks in enumerate(chunks_of_rounds):
        before = chunks_of_rounds[round_ - 1][-1]
        for queries in chunks:
            for query in queries:
                for key in before + queries:
                    times[query, key] += 1
            before = queries
    return times


def _times_seen_causally(q_LD: Tensor, rotations_RDF: Tensor, chunk: int) -> Tensor:
    """Count by lists how often all rounds show an earlier key (column) to a query (row)."""
    times = torch.zeros(len(q_LD), len(q_LD))
    num_directions = torch.tensor([rotations_RDF.shape[-1]])
    for rotation_DF in rotations_RDF:
        bucket = hash_buckets(q_LD[None, None], rotation_DF, num_directions)[0, 0].tolist()
        for query in range(len(q_LD)):
            alike = [key for key in range(query) if bucket[key] == bucket[query]]
            for key in [*alike[-chunk:], query]:
                times[query, key] += 1
    return times


class ReformerAttention(nn.Module):
    """Reformer attention; holds its rotations, drawn once and saved with the weights.

    Args:
        num_rounds: Number of hash rounds, R.
        chunk: Queries per chunk, C.
        head_width: Features per head, D.
        causal: True if no later position is visible.
        generator: Source of the rotations.
        context: Longest row supported by the model; gives the number of buckets of a causal
            mechanism, for every length of the row.
        num_buckets: Largest number of buckets of a row.

    Attributes:
        shares_query_key: True: the layer does not project keys, which are computed from the
            queries.

    Raises:
        ConfigError: An option is invalid.
    """

    shares_query_key = True
    rotations_RDF: Tensor

    def __init__(
        self,
        *,
        num_rounds: int,
        chunk: int,
        head_width: int,
        causal: bool,
        generator: torch.Generator,
        context: int,
        num_buckets: int = 256,
    ) -> None:
        super().__init__()
        if num_rounds < 1 or chunk < 2 or num_buckets < 2 or num_buckets % 2:
            raise ConfigError(
                f"invalid reformer: {num_rounds} rounds, chunks of {chunk}, {num_buckets} buckets",
                hint="at least 1 round, chunks of 2, an even number of buckets",
            )
        self.chunk, self.causal = chunk, causal
        most = num_buckets // 2
        self.num_directions = directions_of(context, chunk, most) if causal else most
        rotations_RDF = random_rotations(num_rounds, head_width, num_buckets, generator=generator)
        self.register_buffer("rotations_RDF", rotations_RDF)

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Attend; the keys given are ignored."""
        assert gates_BHLG is None
        del k_BHLD
        rotations_RDF = self.rotations_RDF[..., : self.num_directions]
        return reformer_attention(
            q_BHLD, v_BHLD, mask_BL, rotations_RDF, chunk=self.chunk, causal=self.causal
        )
