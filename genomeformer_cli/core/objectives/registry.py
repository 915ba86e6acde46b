"""Registry of training objectives, keyed by the name that `pretrain --objective` takes."""

from __future__ import annotations

from genomeformer_cli.core.objectives.causal import Causal
from genomeformer_cli.core.objectives.masked import Masked
from genomeformer_cli.core.objectives.protocol import Objective
from genomeformer_cli.core.objectives.surrounding import Surrounding

OBJECTIVES: dict[str, Objective] = {
    "masked": Masked(),
    "causal": Causal(),
    "surrounding": Surrounding(),
}


def objective_for(direction: str) -> Objective:
    """Return the objective that trains and evaluates models of a direction."""
    return next(entry for entry in OBJECTIVES.values() if entry.direction == direction)
