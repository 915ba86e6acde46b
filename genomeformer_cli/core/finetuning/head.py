"""The head: from features of positions to answers about sequences or bases.

Its inputs are standardised by what the features were before the first step, so that one learning
rate serves models of any scale. It begins near zero: every answer is as likely as any other.
Shape letters: P positions, E width, K features that the head sees, B rows, N bases, C outputs,
H heads of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.finetuning.collate import Collated
from genomeformer_cli.core.finetuning.kmer_baseline import BaselineFeatures, KmerBaseline
from genomeformer_cli.core.models.genomeformer.seeds import part_generator
from genomeformer_cli.core.models.protocol import Model

NAME = "task"
_NUM_HEADS = 4
_NUM_PLACES = 64
_SMALL = 0.01
# Of the mean deviation: what hardly varies is not blown up.
_LEAST_SPREAD = 0.1


class TaskHead(nn.Module):
    """Pools positions and answers.

    Args:
        width: E.
        num_outputs: C.
        pool: `mean`, `max`, `mean-max` (both, side by side), `attention`, or `none` where every
            base has an answer.
        linear: What a linear model sees whose outputs are added to the head's; None: there is none.
        seed: Of the initial weights.
    """

    mean_K: Tensor
    spread_K: Tensor

    def __init__(
        self,
        width: int,
        num_outputs: int,
        pool: str,
        *,
        linear: BaselineFeatures | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        generator = part_generator(seed, "task head")
        self.pool = pool
        seen = 2 * width if pool == "mean-max" else width
        if pool == "attention":
            seen = width * _NUM_HEADS
            self.query_HE = nn.Parameter(
                torch.randn(_NUM_HEADS, width, generator=generator) * _SMALL
            )
            self.place_AH = nn.Parameter(
                torch.randn(_NUM_PLACES, _NUM_HEADS, generator=generator) * _SMALL
            )
        self.register_buffer("mean_K", torch.zeros(seen))
        self.register_buffer("spread_K", torch.ones(seen))
        self.out = nn.Linear(seen, num_outputs)
        self.linear = None if linear is None else KmerBaseline(linear, num_outputs)
        with torch.no_grad():
            self.out.weight.normal_(0.0, _SMALL * seen**-0.5, generator=generator)
            self.out.bias.zero_()

    def pooled(self, features_PE: Tensor, packed: Collated) -> Tensor:
        """What the head sees (B, K), or (P, K) where every base has an answer.

        A row without a position that counts is seen as 0.
        """
        features_PE = features_PE.float()
        if self.pool == "none":
            return features_PE
        if self.pool == "attention":
            return self._attended(features_PE, packed)
        pools = [_POOLS[name] for name in self.pool.split("-")]
        return torch.cat([pool(features_PE, packed) for pool in pools], dim=1)

    def _attended(self, features_PE: Tensor, packed: Collated) -> Tensor:
        place_P = (packed.along_P * _NUM_PLACES).long().clamp_max(_NUM_PLACES - 1)
        scores_PH = features_PE @ self.query_HE.T + functional.embedding(place_P, self.place_AH)
        index_PH = packed.row_P[:, None].expand_as(scores_PH)
        shape = (packed.num_rows, _NUM_HEADS)
        # The largest of a row is taken away for the exponential's sake, and cancels.
        with torch.no_grad():
            most_BH = scores_PH.new_full(shape, -torch.inf)
            most_BH = most_BH.scatter_reduce(0, index_PH, scores_PH, "amax")
        weight_PH = (scores_PH - most_BH.index_select(0, packed.row_P)).exp()
        sum_BH = weight_PH.new_zeros(shape).index_add(0, packed.row_P, weight_PH)
        weight_PH = weight_PH / sum_BH.index_select(0, packed.row_P)
        mixed = [
            features_PE.new_zeros(packed.num_rows, features_PE.shape[1]).index_add(
                0, packed.row_P, features_PE * weight_P1
            )
            for weight_P1 in torch.split(weight_PH, 1, dim=1)
        ]
        return torch.cat(mixed, dim=1)

    def forward(self, features_PE: Tensor, packed: Collated, kept: Tensor | None = None) -> Tensor:
        """Outputs (B, C) or (P, C), in single precision whatever the model computes in.

        Those of the linear model are not in them: it sees sequences, not features.

        Args:
            features_PE: Of the positions that count.
            packed: Whose they are.
            kept: Factors of what the head sees: dropout; None: none.
        """
        with torch.autocast(features_PE.device.type, enabled=False):
            seen = (self.pooled(features_PE, packed) - self.mean_K) / self.spread_K
            if kept is not None:
                seen = seen * kept
            return functional.linear(seen, self.out.weight, self.out.bias)

    @torch.no_grad()
    def standardise(self, seen: Tensor) -> None:
        """Let what it sees have mean 0 and deviation 1 in these rows."""
        spread_K = seen.float().std(dim=0, correction=0)
        self.mean_K.copy_(seen.float().mean(dim=0))
        self.spread_K.copy_(spread_K.clamp_min(_LEAST_SPREAD * float(spread_K.mean()) + 1e-6))


def _mean(features_PE: Tensor, packed: Collated) -> Tensor:
    if packed.is_even:
        return _even(features_PE, packed).mean(dim=1)
    sum_BE = features_PE.new_zeros(packed.num_rows, features_PE.shape[1])
    sum_BE = sum_BE.index_add(0, packed.row_P, features_PE)
    return sum_BE / _counts(features_PE, packed).clamp_min(1)


def _largest(features_PE: Tensor, packed: Collated) -> Tensor:
    if packed.is_even:
        return _even(features_PE, packed).max(dim=1).values
    index_PE = packed.row_P[:, None].expand_as(features_PE)
    least_BE = features_PE.new_full((packed.num_rows, features_PE.shape[1]), -torch.inf)
    largest_BE = least_BE.scatter_reduce(0, index_PE, features_PE, "amax")
    return largest_BE.where(_counts(features_PE, packed) > 0, torch.zeros_like(largest_BE))


def _even(features_PE: Tensor, packed: Collated) -> Tensor:
    """Rows that are as long as each other (B, L, E)."""
    return features_PE.view(packed.num_rows, -1, features_PE.shape[1])


def _counts(features_PE: Tensor, packed: Collated) -> Tensor:
    """Positions (B, 1) of each row that count."""
    # `bincount` would make a GPU wait: it looks at the numbers first.
    one_P = features_PE.new_ones(len(features_PE))
    return one_P.new_zeros(packed.num_rows).index_add(0, packed.row_P, one_P)[:, None]


_POOLS = {"mean": _mean, "max": _largest}


def attach(model: Model, head: TaskHead) -> None:
    """Make the head a part of the model, so that what is done to weights is done to its own too."""
    model.add_module(NAME, head)


def head_of(model: Model) -> TaskHead:
    """The head of a model that has one."""
    return cast("TaskHead", model.get_submodule(NAME))


def features(model: Model, packed: Collated, tokens_at_once: int = 0) -> Tensor:
    """Features (P, E) of the positions that count.

    Args:
        model: The model.
        packed: Some rows.
        tokens_at_once: Padding included; 0: all of them.
    """
    return torch.cat(list(_feature_parts(model, packed, tokens_at_once)))


def _feature_parts(model: Model, packed: Collated, tokens_at_once: int) -> Iterator[Tensor]:
    number, length = packed.tokens_WL.shape
    step = max(tokens_at_once // length, 1) if tokens_at_once else number
    for first in range(0, number, step):
        some = slice(first, first + step)
        mask_WL = None if packed.mask_WL is None else packed.mask_WL[some]
        hidden_WLE = model.hidden(packed.tokens_WL[some], mask_WL).flatten(0, 1)
        if step >= number:
            # Nothing to look for, so a GPU need not wait; and each place is taken once.
            yield hidden_WLE if packed.is_full else hidden_WLE.index_select(0, packed.place_P)
            return
        low, high = first * length, first * length + len(hidden_WLE)
        inside_P = (packed.place_P >= low) & (packed.place_P < high)
        yield hidden_WLE[packed.place_P[inside_P] - low]


def outputs(
    model: Model, packed: Collated, kept: Tensor | None = None, tokens_at_once: int = 0
) -> Tensor:
    """Outputs (B, C), or (N, C) of every base.

    Args:
        model: With its head.
        packed: Some rows.
        kept: Factors of what the head sees; then all is computed at once.
        tokens_at_once: Padding included; 0: all of them.
    """
    head = head_of(model)
    return _answered(model, packed, tokens_at_once, lambda part: head(part, packed, kept))


def outputs_of_both_strands(model: Model, packed: Collated, tokens_at_once: int = 0) -> Tensor:
    """The mean of what is said of rows and of their other strands, in the order of the rows.

    Args:
        model: One that `is_equivariant`.
        packed: Some rows, none of them cut into windows.
        tokens_at_once: Padding included; 0: all of them.
    """
    head = head_of(model)
    turned = replace(packed, along_P=1 - packed.along_P)

    def mean(part_PE: Tensor) -> Tensor:
        here_PE, there_PE = part_PE.chunk(2, dim=-1)
        other_PE = torch.cat((there_PE, here_PE), dim=-1)
        both: Tensor = (head(part_PE, packed) + head(other_PE, turned)) / 2
        return both

    return _answered(model, packed, tokens_at_once, mean)


def _answered(
    model: Model, packed: Collated, tokens_at_once: int, answer: Callable[[Tensor], Tensor]
) -> Tensor:
    if head_of(model).pool != "none":
        return answer(features(model, packed, tokens_at_once))
    # Of a chromosome the features would be many times what is kept of them.
    parts = _feature_parts(model, packed, tokens_at_once)
    answer_PC = torch.cat([answer(part) for part in parts])
    return answer_PC if packed.base_N is None else answer_PC[packed.base_N]
