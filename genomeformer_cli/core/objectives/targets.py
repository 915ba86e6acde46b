"""Build inputs and targets of a batch of windows.

`masked`: hidden tokens are predicted from both sides. `causal`: each token is predicted from those
before it. `surrounding`: each token is predicted from all others by a model that does not see it.
In rows with several documents, no document is predicted from another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.data.masking import NOT_A_TARGET, MaskingConfig, mask_windows
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.tokenizers.protocol import PAD_ID

Array = npt.NDArray[Any]


def make_targets(
    windows: Windows,
    real_ids: range,
    model: ModelConfig,
    masking: MaskingConfig,
    generator: np.random.Generator,
) -> Examples:
    """Build the inputs and targets for a model of the given direction."""
    if model.direction == "bidirectional":
        batch = mask_windows(windows, real_ids, masking, generator)
        return _examples(windows, (batch.inputs_BL, batch.targets_BL, batch.weights_BL), real_ids)
    tokens_BL = windows.tokens_BL
    real_BL = (tokens_BL >= real_ids.start) & (tokens_BL < real_ids.stop)
    targets_BL = np.where(real_BL, tokens_BL, NOT_A_TARGET)
    weights_BL = np.where(windows.soft_mask_BL, masking.soft_mask_weight, 1.0).astype(np.float32)
    if model.direction == "causal":
        targets_BL, weights_BL = np.roll(targets_BL, -1, axis=1), np.roll(weights_BL, -1, axis=1)
        targets_BL[:, -1] = NOT_A_TARGET
        if windows.documents_BL is not None:
            ends_BL = windows.documents_BL[:, 1:] != windows.documents_BL[:, :-1]
            targets_BL[:, :-1][ends_BL] = NOT_A_TARGET
    return _examples(windows, (tokens_BL, targets_BL, weights_BL), real_ids)


def _examples(windows: Windows, arrays: tuple[Array, Array, Array], real_ids: range) -> Examples:
    inputs, targets, weights = (torch.from_numpy(np.ascontiguousarray(one)) for one in arrays)
    return Examples(
        inputs_BL=inputs,
        targets_BL=targets,
        weights_BL=weights,
        real_ids=real_ids,
        mask_BL=padding_mask(inputs, PAD_ID) if windows.documents_BL is None else None,
        documents_BL=(
            None if windows.documents_BL is None else torch.from_numpy(windows.documents_BL)
        ),
    )
