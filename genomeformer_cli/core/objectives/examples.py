"""What a model is asked of a batch of windows: which tokens are hidden, which are targets.

`masked`: some are hidden and to be found from both sides. `causal`: each from those before it.
`surrounding`: each from all the others, by a model that does not see it.
"""

from __future__ import annotations

import numpy as np
import torch

from genomeformer_cli.core.data.masking import NOT_A_TARGET, MaskingConfig, mask_windows
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.model.encoder import padding_mask
from genomeformer_cli.core.objectives.prediction import Examples
from genomeformer_cli.core.tokenizers.protocol import PAD_ID


def ask(
    windows: Windows,
    real_ids: range,
    model: ModelConfig,
    masking: MaskingConfig,
    generator: np.random.Generator,
) -> Examples:
    """What a model of that direction is asked."""
    if model.direction == "bidirectional":
        batch = mask_windows(windows, real_ids, masking, generator)
        return _examples(batch.inputs_BL, batch.targets_BL, batch.weights_BL, real_ids)
    tokens_BL = windows.tokens_BL
    real_BL = (tokens_BL >= real_ids.start) & (tokens_BL < real_ids.stop)
    targets_BL = np.where(real_BL, tokens_BL, NOT_A_TARGET)
    weights_BL = np.where(windows.soft_mask_BL, masking.soft_mask_weight, 1.0).astype(np.float32)
    if model.direction == "causal":
        targets_BL, weights_BL = np.roll(targets_BL, -1, axis=1), np.roll(weights_BL, -1, axis=1)
        targets_BL[:, -1] = NOT_A_TARGET
    return _examples(tokens_BL, targets_BL, weights_BL, real_ids)


def _examples(
    inputs_BL: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    targets_BL: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    weights_BL: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    real_ids: range,
) -> Examples:
    inputs = torch.from_numpy(np.ascontiguousarray(inputs_BL))
    return Examples(
        inputs_BL=inputs,
        targets_BL=torch.from_numpy(np.ascontiguousarray(targets_BL)),
        weights_BL=torch.from_numpy(np.ascontiguousarray(weights_BL)),
        real_ids=real_ids,
        mask_BL=padding_mask(inputs, PAD_ID),
    )
