"""How many steps a training may take: as many as a budget of time, tokens or arithmetic buys.

The number of steps is fixed before the first, because the learning rate falls towards the last, and
so that a run goes on after a kill to the bits it would have had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What each training may cost.

    Attributes:
        kind: `minutes` of training, validations and checkpoints apart; `tokens` seen; `flops`.
        amount: How many.
    """

    kind: Literal["minutes", "tokens", "flops"]
    amount: float

    def __post_init__(self) -> None:
        if not 0 < self.amount < float("inf"):
            raise ConfigError(
                f"a budget of {self.amount:g} {self.kind} buys nothing", hint="give more than 0"
            )

    def steps(self, *, tokens: int, flops: int | None, seconds: float | None) -> int:
        """How many steps it buys.

        Args:
            tokens: Of a step.
            flops: Of a step, if that is what the budget is of.
            seconds: Of a step, likewise.

        Raises:
            ConfigError: It does not buy a single one.
        """
        costs = {"tokens": tokens, "flops": flops, "minutes": seconds and seconds / 60}
        cost = costs[self.kind]
        assert cost, "what the budget is of was measured"
        # Minutes are measured and so never exact; a tenth of a step is neither here nor there.
        bought = int(self.amount / cost + 1e-9)
        if bought < 1:
            raise ConfigError(
                f"{self.amount:g} {self.kind} do not buy a single step, which takes {cost:g}",
                hint="raise the budget, or choose smaller steps with `--batch-size`",
            )
        return bought


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a budget buys of a training.

    Attributes:
        steps: Optimizer steps.
        tokens: Of a step.
        flops: Of a step; None where they were not counted.
        seconds: Of a step, as measured beforehand; None where it was not.
    """

    steps: int
    tokens: int
    flops: int | None = None
    seconds: float | None = None
