"""Number of training steps for a budget of time, tokens or operations.

The number is fixed before the first step, because the learning rate decreases towards the last one,
and so that a resumed run gives bitwise equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Budget of each training."""

    # `minutes` of training without validations and checkpoints; `tokens`; `flops`.
    kind: Literal["minutes", "tokens", "flops"]
    amount: float  # Amount in this unit.

    def __post_init__(self) -> None:
        if not 0 < self.amount < float("inf"):
            raise ConfigError(
                f"invalid budget: {self.amount:g} {self.kind}", hint="give more than 0"
            )

    def steps(self, *, tokens: int, flops: int | None, seconds: float | None) -> int:
        """Return the number of steps within the budget.

        Args:
            tokens: Tokens per step.
            flops: Operations per step, for a budget of operations.
            seconds: Seconds per step, for a budget of time.

        Raises:
            ConfigError: The budget is smaller than one step.
        """
        costs = {"tokens": tokens, "flops": flops, "minutes": seconds and seconds / 60}
        cost = costs[self.kind]
        assert cost, "what the budget is of was measured"
        # Minutes are measured and so never exact; a tenth of a step is neither here nor there.
        bought = int(self.amount / cost + 1e-9)
        if bought < 1:
            raise ConfigError(
                f"{self.amount:g} {self.kind} are less than a single step, which takes {cost:g}",
                hint="raise the budget, or choose smaller steps with `--batch-size`",
            )
        return bought


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Number and cost of the steps of a training."""

    steps: int  # Optimizer steps.
    tokens: int  # Tokens per step.
    flops: int | None = None  # Operations per step; None if not counted.
    seconds: float | None = None  # Measured seconds per step; None if not measured.
