"""Training objectives, keyed by the name that `pretrain --objective` takes.

Shape letters: B batch, L length, T queries of a batch, E features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genomeformer_cli.core.data.masking import NOT_A_TARGET, MaskingConfig, mask_windows
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.objectives.protocol import Objective, Targets
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
        targets = _every_base(windows, real_ids, masking)
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
        return _every_base(windows, real_ids, masking)

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


def _every_base(windows: Windows, real_ids: range, masking: MaskingConfig) -> Targets:
    """Make a target of every real base, at its own position."""
    tokens_BL = windows.tokens_BL
    real_BL = (tokens_BL >= real_ids.start) & (tokens_BL < real_ids.stop)
    weights_BL = np.where(windows.soft_mask_BL, masking.soft_mask_weight, 1.0)
    return Targets(
        inputs_BL=tokens_BL,
        targets_BL=np.where(real_BL, tokens_BL, NOT_A_TARGET),
        weights_BL=weights_BL.astype(np.float32),
    )


OBJECTIVES: dict[str, Objective] = {
    "masked": Masked(),
    "causal": Causal(),
    "surrounding": Surrounding(),
}


def objective_for(direction: str) -> Objective:
    """Return the objective that trains and evaluates models of a direction."""
    return next(entry for entry in OBJECTIVES.values() if entry.direction == direction)
