"""Interface of training objectives.

Shape letters: B batch, L length, T queries of a batch, E features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor

    from genomeformer_cli.core.attention.positions import SelectedPositions
    from genomeformer_cli.core.models.protocol import Direction, Model

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Inputs, targets and loss weights of a batch of windows."""

    inputs_BL: Array  # Token ids given to the model.
    targets_BL: Array  # True id at the positions to predict, else `NOT_A_TARGET`.
    weights_BL: Array  # Loss weight of each target.


class Objective(Protocol):
    """Training objective: the tokens that a model predicts, and from which others."""

    @property
    def direction(self) -> Direction:
        """Direction of the models that are trained with this objective."""

    @property
    def context(self) -> str:
        """Positions visible to each position, for the model card."""

    @property
    def goal(self) -> str:
        """Predicted tokens, for the model card."""

    @property
    def hides_targets(self) -> bool:
        """True if tokens must be masked in the input to be predicted."""

    @property
    def is_causal(self) -> bool:
        """True if each token is predicted from the features of the position before it."""

    def make_targets(
        self,
        windows: Windows,
        real_ids: range,
        masking: MaskingConfig,
        generator: np.random.Generator,
    ) -> Targets:
        """Make inputs and targets of one training batch."""

    def query_features(
        self,
        model: Model,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        masked_BL: Tensor,
        queries: SelectedPositions,
    ) -> Tensor:
        """Return the features (T, E) from which the tokens at some positions are predicted.

        Args:
            model: Model to evaluate.
            tokens_BL: Token ids.
            mask_BL: False at padding; None without padding.
            masked_BL: Tokens to mask, if the objective hides targets.
            queries: Positions of the predicted tokens.
        """
