"""Objective `masked`: hidden tokens are predicted from both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genomeformer_cli.core.data.masking import MaskingConfig, mask_windows
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.objectives.protocol import Targets
from genomeformer_cli.core.tokenizers.protocol import MASK_ID

if TYPE_CHECKING:
    from torch import Tensor

    from genomeformer_cli.core.attention.positions import SelectedPositions
    from genomeformer_cli.core.models.protocol import Direction, Model


@dataclass(frozen=True)
class Masked:
    """Masked prediction by a bidirectional model."""

    direction: Direction = "bidirectional"
    context: str = "every position sees both sides"
    goal: str = "hidden bases"
    hides_targets: bool = True
    is_causal: bool = False

    def make_targets(
        self,
        windows: Windows,
        real_ids: range,
        masking: MaskingConfig,
        generator: np.random.Generator,
    ) -> Targets:
        """Hide some of the real bases, and make a target of each."""
        batch = mask_windows(windows, real_ids, masking, generator)
        return Targets(
            inputs_BL=batch.inputs_BL, targets_BL=batch.targets_BL, weights_BL=batch.weights_BL
        )

    def query_features(
        self,
        model: Model,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        masked_BL: Tensor,
        queries: SelectedPositions,
    ) -> Tensor:
        """Return the features of the queries after masking the input."""
        inputs_BL = tokens_BL.masked_fill(masked_BL, MASK_ID)
        return model.hidden_at(inputs_BL, mask_BL, None, queries)
