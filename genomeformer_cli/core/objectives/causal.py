"""Objective `causal`: each token is predicted from the tokens before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genomeformer_cli.core.data.masking import NOT_A_TARGET, MaskingConfig
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.objectives.protocol import Targets, every_base

if TYPE_CHECKING:
    from torch import Tensor

    from genomeformer_cli.core.attention.positions import SelectedPositions
    from genomeformer_cli.core.models.protocol import Direction, Model


@dataclass(frozen=True)
class Causal:
    """Next-token prediction by a causal model."""

    direction: Direction = "causal"
    context: str = "every position sees itself and the positions before it"
    goal: str = "the next base from those before it"
    hides_targets: bool = False
    is_causal: bool = True

    def make_targets(
        self,
        windows: Windows,
        real_ids: range,
        masking: MaskingConfig,
        generator: np.random.Generator,
    ) -> Targets:
        """Make a target of the base after each position, within documents."""
        del generator
        targets = every_base(windows, real_ids, masking)
        targets_BL = np.roll(targets.targets_BL, -1, axis=1)
        targets_BL[:, -1] = NOT_A_TARGET
        if windows.documents_BL is not None:
            ends_BL = windows.documents_BL[:, 1:] != windows.documents_BL[:, :-1]
            targets_BL[:, :-1][ends_BL] = NOT_A_TARGET
        weights_BL = np.roll(targets.weights_BL, -1, axis=1)
        return replace(targets, targets_BL=targets_BL, weights_BL=weights_BL)

    def query_features(
        self,
        model: Model,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        masked_BL: Tensor,
        queries: SelectedPositions,
    ) -> Tensor:
        """Return the features of the positions before the queries; nothing is masked."""
        del masked_BL
        return queries.gather(model.hidden(tokens_BL, mask_BL).roll(1, dims=1))
