"""Targets of each direction, on rows of several documents."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.objectives.examples import make_examples
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import PAD_ID

A, C, G, T, N = range(5, 10)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        # The next base of the same document; nothing at its end, before N, and at the row's end.
        ("causal", [C, None, A, None, T, None, None, None]),
        # Every real base itself.
        ("two-stack", [G, C, T, A, None, T, None, None]),
    ],
)
def test_no_base_is_queried_across_documents(
    direction: Literal["causal", "two-stack"], expected: list[int | None]
) -> None:
    windows = Windows(
        tokens_BL=np.array([[G, C, T, A, N, T, PAD_ID, PAD_ID]]),
        soft_mask_BL=np.array([[False, True, False, False, False, True, False, False]]),
        documents_BL=np.array([[0, 0, 1, 1, 1, 1, -1, -1]]),
    )
    masking = MaskingConfig(soft_mask_weight=0.25)
    model = ModelConfig(direction=direction, tied=False)
    generator = np.random.default_rng(0)
    batch = make_examples(windows, CharTokenizer().real_ids, model, masking, generator)
    targets = [target if target >= 0 else None for target in batch.targets_BL[0].tolist()]
    assert targets == expected
    shift = 1 if direction == "causal" else 0
    for place, target in enumerate(expected):
        if target is not None:
            soft = windows.soft_mask_BL[0, place + shift]
            assert batch.weights_BL[0, place] == (0.25 if soft else 1.0)
