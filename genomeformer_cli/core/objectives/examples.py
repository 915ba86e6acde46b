"""Build the examples of a batch of windows with the objective of a model.

In rows with several documents, no document is predicted from another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.objectives.protocol import Array
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.tokenizers.protocol import PAD_ID


def make_examples(
    windows: Windows,
    real_ids: range,
    model: ModelConfig,
    masking: MaskingConfig,
    generator: np.random.Generator,
) -> Examples:
    """Build the inputs and targets for a model of the given direction."""
    targets = objective_for(model.direction).make_targets(windows, real_ids, masking, generator)
    inputs_BL = _tensor(targets.inputs_BL)
    documents_BL = windows.documents_BL
    return Examples(
        inputs_BL=inputs_BL,
        targets_BL=_tensor(targets.targets_BL),
        weights_BL=_tensor(targets.weights_BL),
        real_ids=real_ids,
        mask_BL=padding_mask(inputs_BL, PAD_ID) if documents_BL is None else None,
        documents_BL=None if documents_BL is None else torch.from_numpy(documents_BL),
    )


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
