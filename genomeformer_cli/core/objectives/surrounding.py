"""Objective `surrounding`: each token is predicted from all others by a model blind to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.objectives.protocol import Targets, every_base

if TYPE_CHECKING:
    from torch import Tensor

    from genomeformer_cli.core.attention.positions import SelectedPositions
    from genomeformer_cli.core.models.protocol import Direction, Model


@dataclass(frozen=True)
class Surrounding:
    """Prediction of every base from its surroundings, by two opposite causal stacks."""

    direction: Direction = "two-stack"
    context: str = "every position sees all others, but not itself"
    goal: str = "each base from all the others"
    hides_targets: bool = False
    is_causal: bool = False

    def make_targets(
        self,
        windows: Windows,
        real_ids: range,
        masking: MaskingConfig,
        generator: np.random.Generator,
    ) -> Targets:
        """Make a target of every real base."""
        del generator
        return every_base(windows, real_ids, masking)

    def query_features(
        self,
        model: Model,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        masked_BL: Tensor,
        queries: SelectedPositions,
    ) -> Tensor:
        """Return the features of the queries; nothing is masked."""
        del masked_BL
        return queries.gather(model.hidden(tokens_BL, mask_BL))
