"""Prediction head: from features of positions to outputs for sequences or bases.

Inputs are standardised with the statistics of the features before the first step, so that one
learning rate suits models of any scale. Weights start near zero: all outputs are nearly equal.
Shape letters: P positions, E width, K input features of the head, B rows, N bases, C outputs,
H heads of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.finetuning.collate import CollatedBatch
from genomeformer_cli.core.finetuning.kmer_baseline import BaselineFeatures, KmerBaseline
from genomeformer_cli.core.finetuning.motif_network import MotifNetwork
from genomeformer_cli.core.finetuning.motif_scanner import (
    MotifBranch,
    MotifOptions,
    feature_statistics,
)
from genomeformer_cli.core.models.genomeformer.seeds import part_generator
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.sequence import Codes

NAME = "task"
_NUM_HEADS = 4
_NUM_PLACES = 64
_SMALL = 0.01


@dataclass(frozen=True, kw_only=True)
class SequenceModels:
    """Models that read the bases beside the encoder."""

    # Features of a linear model whose outputs are added to the head's; None without one.
    linear: BaselineFeatures | None = None
    # Shape of a motif scanner whose features join the pooled ones; None without one.
    motifs: MotifOptions | None = None
    # Shape of a network that was trained by itself and is stacked; None without one.
    network: MotifOptions | None = None


class TaskHead(nn.Module):
    """Pooling and linear output layer.

    Args:
        width: E.
        num_outputs: C.
        pool: `mean`, `max`, `mean-max` (both concatenated), `attention`, or `none` for labels of
            bases.
        beside: Models that read the bases.
        seed: Seed of the initial weights.
    """

    mean_K: Tensor
    spread_K: Tensor
    stack_2: Tensor  # Weights of the outputs without the network, and of the network.

    def __init__(
        self,
        width: int,
        num_outputs: int,
        pool: str,
        *,
        beside: SequenceModels = SequenceModels(),
        seed: int = 0,
    ) -> None:
        super().__init__()
        generator = part_generator(seed, "task head")
        self.pool = pool
        num_features = 2 * width if pool == "mean-max" else width
        if pool == "attention":
            num_features = width * _NUM_HEADS
            self.query_HE = nn.Parameter(
                torch.randn(_NUM_HEADS, width, generator=generator) * _SMALL
            )
            self.place_AH = nn.Parameter(
                torch.randn(_NUM_PLACES, _NUM_HEADS, generator=generator) * _SMALL
            )
        linear, motifs = beside.linear, beside.motifs
        # Only a training step is in training mode: `FinetuningTask.gradients`.
        self.motifs = None if motifs is None else MotifBranch(motifs, seed=seed).eval()
        num_features += 0 if self.motifs is None else self.motifs.width
        self.register_buffer("mean_K", torch.zeros(num_features))
        self.register_buffer("spread_K", torch.ones(num_features))
        self.out = nn.Linear(num_features, num_outputs)
        self.linear = None if linear is None else KmerBaseline(linear, num_outputs)
        self.network: MotifNetwork | None = None
        if beside.network is not None:
            self.stack(MotifNetwork(num_outputs, beside.network, seed=seed), Tensor([1.0, 0.0]))
        with torch.no_grad():
            self.out.weight.normal_(0.0, _SMALL * num_features**-0.5, generator=generator)
            self.out.bias.zero_()

    def stack(self, network: MotifNetwork, weights_2: Tensor) -> None:
        """Add a network, and the weights of the outputs without it and of its own."""
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.register_buffer("stack_2", weights_2)

    def complete_outputs(self, outputs: list[Tensor], codes: Sequence[Codes]) -> list[Tensor]:
        """Add the outputs of the models that read the bases of whole rows.

        Args:
            outputs: Outputs (1, C) of each row, from `forward`.
            codes: Base codes of each row.
        """
        if self.linear is not None:
            outputs = _add(outputs, self.linear.outputs(codes))
        if self.network is not None:
            model_weight, network_weight = self.stack_2.tolist()
            outputs = [model_weight * row_outputs for row_outputs in outputs]
            outputs = _add(outputs, network_weight * self.network.outputs(codes))
        return outputs

    def input_features(self, features_PE: Tensor, batch: CollatedBatch) -> Tensor:
        """Return the input features of the head (B, K), or (P, K) for labels of bases."""
        pooled_BK = self.pool_features(features_PE, batch)
        if self.motifs is None:
            return pooled_BK
        return torch.cat((pooled_BK, self.motifs(batch.base_rows)), dim=1)

    def pool_features(self, features_PE: Tensor, batch: CollatedBatch) -> Tensor:
        """Return the pooled features of the model.

        The features of a row without a position that counts are 0.
        """
        if batch.pooled_BK is not None:
            return batch.pooled_BK
        features_PE = features_PE.float()
        if self.pool == "none":
            return features_PE
        if self.pool == "attention":
            return self._attention_pool(features_PE, batch)
        pools = [_POOLS[name] for name in self.pool.split("-")]
        return torch.cat([pool(features_PE, batch) for pool in pools], dim=1)

    def _attention_pool(self, features_PE: Tensor, batch: CollatedBatch) -> Tensor:
        bin_P = (batch.relative_position_P * _NUM_PLACES).long().clamp_max(_NUM_PLACES - 1)
        scores_PH = features_PE @ self.query_HE.T + functional.embedding(bin_P, self.place_AH)
        index_PH = batch.row_P[:, None].expand_as(scores_PH)
        shape = (batch.num_rows, _NUM_HEADS)
        # The largest of a row is taken away for the exponential's sake, and cancels.
        with torch.no_grad():
            max_BH = scores_PH.new_full(shape, -torch.inf)
            max_BH = max_BH.scatter_reduce(0, index_PH, scores_PH, "amax")
        weight_PH = (scores_PH - max_BH.index_select(0, batch.row_P)).exp()
        sum_BH = weight_PH.new_zeros(shape).index_add(0, batch.row_P, weight_PH)
        weight_PH = weight_PH / sum_BH.index_select(0, batch.row_P)
        pooled = [
            features_PE.new_zeros(batch.num_rows, features_PE.shape[1]).index_add(
                0, batch.row_P, features_PE * weight_P1
            )
            for weight_P1 in torch.split(weight_PH, 1, dim=1)
        ]
        return torch.cat(pooled, dim=1)

    def forward(
        self, features_PE: Tensor, batch: CollatedBatch, dropout_mask: Tensor | None = None
    ) -> Tensor:
        """Return the outputs (B, C) or (P, C), in single precision.

        Outputs of the linear model are not included: it reads sequences, not features.

        Args:
            features_PE: Features of the positions that count.
            batch: Rows of these positions.
            dropout_mask: Dropout factors of the input features; None without dropout.
        """
        with torch.autocast(features_PE.device.type, enabled=False):
            features_BK = (self.input_features(features_PE, batch) - self.mean_K) / self.spread_K
            if dropout_mask is not None:
                features_BK = features_BK * dropout_mask
            return functional.linear(features_BK, self.out.weight, self.out.bias)

    @torch.no_grad()
    def standardise(self, features_BK: Tensor) -> None:
        """Set the input statistics so that these rows have mean 0 and standard deviation 1."""
        mean_K, spread_K = feature_statistics(features_BK)
        self.mean_K.copy_(mean_K)
        self.spread_K.copy_(spread_K)


def _add(outputs: list[Tensor], added_NC: Tensor) -> list[Tensor]:
    pairs = zip(outputs, added_NC[:, None], strict=True)
    return [row_outputs + added_1C for row_outputs, added_1C in pairs]


def _mean(features_PE: Tensor, batch: CollatedBatch) -> Tensor:
    if batch.is_rectangular:
        return _as_matrix(features_PE, batch).mean(dim=1)
    sum_BE = features_PE.new_zeros(batch.num_rows, features_PE.shape[1])
    sum_BE = sum_BE.index_add(0, batch.row_P, features_PE)
    return sum_BE / _counts(features_PE, batch).clamp_min(1)


def _max(features_PE: Tensor, batch: CollatedBatch) -> Tensor:
    if batch.is_rectangular:
        return _as_matrix(features_PE, batch).max(dim=1).values
    index_PE = batch.row_P[:, None].expand_as(features_PE)
    least_BE = features_PE.new_full((batch.num_rows, features_PE.shape[1]), -torch.inf)
    largest_BE = least_BE.scatter_reduce(0, index_PE, features_PE, "amax")
    return largest_BE.where(_counts(features_PE, batch) > 0, torch.zeros_like(largest_BE))


def _as_matrix(features_PE: Tensor, batch: CollatedBatch) -> Tensor:
    """Reshape rows of equal length to (B, L, E)."""
    return features_PE.view(batch.num_rows, -1, features_PE.shape[1])


def _counts(features_PE: Tensor, batch: CollatedBatch) -> Tensor:
    """Return the number of positions of each row that count, shape (B, 1)."""
    # `bincount` would make a GPU wait: it looks at the numbers first.
    ones_P = features_PE.new_ones(len(features_PE))
    return ones_P.new_zeros(batch.num_rows).index_add(0, batch.row_P, ones_P)[:, None]


_POOLS = {"mean": _mean, "max": _max}


def attach_head(model: Model, head: TaskHead) -> None:
    """Add the head to the model as a submodule, so that operations on all weights include it."""
    model.add_module(NAME, head)


def get_head(model: Model) -> TaskHead:
    """Return the head of a model."""
    return cast("TaskHead", model.get_submodule(NAME))


@contextmanager
def training_mode(model: Model) -> Iterator[None]:
    """Normalise by the batch in the motif scanner of a model, if it has one."""
    motifs = get_head(model).motifs
    if motifs is None:
        yield
        return
    motifs.train()
    try:
        yield
    finally:
        motifs.eval()


def position_features(model: Model, batch: CollatedBatch, tokens_at_once: int = 0) -> Tensor:
    """Return the features (P, E) of the positions that count.

    Args:
        model: The model.
        batch: Collated rows.
        tokens_at_once: Tokens computed at once, padding included; 0: all.
    """
    return torch.cat(list(_feature_chunks(model, batch, tokens_at_once)))


def _feature_chunks(model: Model, batch: CollatedBatch, tokens_at_once: int) -> Iterator[Tensor]:
    number, length = batch.tokens_WL.shape
    step = max(tokens_at_once // length, 1) if tokens_at_once else number
    for first in range(0, number, step):
        rows = slice(first, first + step)
        mask_WL = None if batch.mask_WL is None else batch.mask_WL[rows]
        hidden_WLE = model.hidden(batch.tokens_WL[rows], mask_WL).flatten(0, 1)
        if step >= number:
            # Nothing to look for, so a GPU need not wait; and each place is taken once.
            yield hidden_WLE if batch.is_full else hidden_WLE.index_select(0, batch.flat_index_P)
            return
        low, high = first * length, first * length + len(hidden_WLE)
        inside_P = (batch.flat_index_P >= low) & (batch.flat_index_P < high)
        yield hidden_WLE[batch.flat_index_P[inside_P] - low]


def head_outputs(
    model: Model, batch: CollatedBatch, dropout_mask: Tensor | None = None, tokens_at_once: int = 0
) -> Tensor:
    """Return the outputs (B, C), or (N, C) for labels of bases.

    Args:
        model: Model with a head.
        batch: Collated rows.
        dropout_mask: Dropout factors of the input features; requires `tokens_at_once` 0.
        tokens_at_once: Tokens computed at once, padding included; 0: all.
    """
    head = get_head(model)
    return _apply_head(model, batch, tokens_at_once, lambda chunk: head(chunk, batch, dropout_mask))


def both_strand_outputs(model: Model, batch: CollatedBatch, tokens_at_once: int = 0) -> Tensor:
    """Return the mean outputs of rows and of their reverse complements, in one pass.

    Args:
        model: Equivariant model, see `is_equivariant`.
        batch: Collated rows, one window per row.
        tokens_at_once: Tokens computed at once, padding included; 0: all.
    """
    return _apply_head(
        model, batch, tokens_at_once, lambda chunk: mean_of_strands(model, chunk, batch)
    )


def mean_of_strands(model: Model, features_PE: Tensor, batch: CollatedBatch) -> Tensor:
    """Return the mean outputs of features and of those of the reverse complements.

    Args:
        model: Equivariant model with a head.
        features_PE: Features of the positions that count.
        batch: Collated rows.
    """
    head = get_head(model)
    reversed_batch = replace(batch, relative_position_P=1 - batch.relative_position_P)
    swapped_PE = model.swap_strands(features_PE)
    mean_BC: Tensor = (head(features_PE, batch) + head(swapped_PE, reversed_batch)) / 2
    return mean_BC


def _apply_head(
    model: Model, batch: CollatedBatch, tokens_at_once: int, compute: Callable[[Tensor], Tensor]
) -> Tensor:
    if batch.pooled_BK is not None:
        return compute(batch.pooled_BK)
    if get_head(model).pool != "none":
        return compute(position_features(model, batch, tokens_at_once))
    # The features of a chromosome need many times the memory of its outputs.
    chunks = _feature_chunks(model, batch, tokens_at_once)
    outputs_PC = torch.cat([compute(chunk) for chunk in chunks])
    return outputs_PC if batch.base_index_N is None else outputs_PC[batch.base_index_N]
