"""Choice of the next token from probabilities: temperature, top-k and top-p.

Sources: top-k, Fan et al. 2018, "Hierarchical Neural Story Generation", section 3.4; top-p,
Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
Shape letters: B rows, R candidate tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genomeformer_cli.core.configuration import check_range


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Options of the choice of tokens."""

    temperature: float = 1.0  # Divisor of the logits; 0 chooses the most probable token.
    top_k: int | None = None  # Choose among this many most probable tokens only.
    # Choose among the fewest most probable tokens whose probabilities reach this sum.
    top_p: float | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("temperature", self.temperature, 0, 100)
        check_range("top_k", self.top_k, 1)
        check_range("top_p", self.top_p, 1e-9, 1)


def filtered_probabilities(nats_BR: Tensor, options: SamplingOptions) -> Tensor:
    """Return the probabilities (B, R) to choose from, given log-probabilities in float64.

    The filters apply to the probabilities after the temperature, top-k first. Of equally probable
    tokens at a limit, the one with the lower index is kept.
    """
    if options.temperature == 0:
        return torch.nn.functional.one_hot(nats_BR.argmax(dim=-1), nats_BR.shape[-1]).double()
    probability_BR = torch.softmax(nats_BR / options.temperature, dim=-1)
    if options.top_k is None and options.top_p is None:
        return probability_BR
    order_BR = probability_BR.sort(dim=-1, descending=True, stable=True).indices
    sorted_BR = probability_BR.gather(-1, order_BR)
    if options.top_k is not None:
        sorted_BR[:, options.top_k :] = 0
        sorted_BR = sorted_BR / sorted_BR.sum(dim=-1, keepdim=True)
    if options.top_p is not None:
        # A token is kept if those before it do not reach the sum yet.
        before_BR = sorted_BR.cumsum(dim=-1) - sorted_BR
        sorted_BR = sorted_BR.where(before_BR < options.top_p, torch.zeros_like(sorted_BR))
        sorted_BR = sorted_BR / sorted_BR.sum(dim=-1, keepdim=True)
    return torch.zeros_like(sorted_BR).scatter(-1, order_BR, sorted_BR)


def draw(probability_BR: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Return the index (B,) of a candidate per row, each drawn with the row's own generator.

    A row's choice thus does not depend on the other rows of the batch.
    """
    uniform_B1 = torch.stack(
        [torch.rand(1, generator=generator, dtype=torch.float64) for generator in generators]
    ).to(probability_BR.device)
    sums_BR = probability_BR.cumsum(dim=-1)
    index_B = (sums_BR <= uniform_B1 * sums_BR[:, -1:]).sum(dim=-1)
    # Rounding may leave the last candidates without any probability.
    last_B = probability_BR.shape[-1] - 1 - (probability_BR > 0).int().flip(-1).argmax(dim=-1)
    return torch.minimum(index_B, last_B)


def row_generators(seed: int, record: int, first: int, number: int) -> list[torch.Generator]:
    """Return one generator per copy of a record, independent of all others.

    Args:
        seed: Seed of the run.
        record: Index of the prompt.
        first: Index of the first copy.
        number: Number of copies.
    """
    modulus = (1 << 63) - 1
    generators = []
    for copy in range(first, first + number):
        mixed = seed * 0x9E3779B97F4A7C15 + record * 0xBF58476D1CE4E5B9 + copy * 0x94D049BB133111EB
        generators.append(torch.Generator().manual_seed(mixed % modulus))
    return generators
