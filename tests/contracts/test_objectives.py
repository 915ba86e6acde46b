"""Contract of all objectives: what is predicted cannot be read from the input, and is the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.protocol import Objective
from genomeformer_cli.core.objectives.registry import OBJECTIVES, objective_for
from genomeformer_cli.core.tokenizers.char import CharTokenizer

REAL_IDS = CharTokenizer().real_ids
HIDE_ALL = MaskingConfig(rate=0.5, mask_share=1.0, random_share=0.0, soft_mask_weight=0.25)


@pytest.fixture(params=OBJECTIVES)
def each(request: pytest.FixtureRequest) -> Objective:
    return OBJECTIVES[request.param]


def windows_of(seed: int) -> Windows:
    generator = np.random.default_rng(seed)
    tokens_BL = generator.integers(REAL_IDS.start, REAL_IDS.stop + 1, (3, 20))
    return Windows(tokens_BL=tokens_BL, soft_mask_BL=tokens_BL % 2 == 0)


def test_direction_leads_back_to_the_objective(each: Objective) -> None:
    assert objective_for(each.direction) is each


def test_targets_are_real_tokens_of_the_window(each: Objective) -> None:
    windows = windows_of(0)
    targets = each.make_targets(windows, REAL_IDS, HIDE_ALL, np.random.default_rng(1))
    rows, columns = np.nonzero(targets.targets_BL >= 0)
    assert rows.size > 10
    true = windows.tokens_BL[rows, columns + each.is_causal]
    assert np.array_equal(targets.targets_BL[rows, columns], true)
    assert set(true) <= set(REAL_IDS)
    soft = windows.soft_mask_BL[rows, columns + each.is_causal]
    assert np.array_equal(targets.weights_BL[rows, columns], np.where(soft, 0.25, 1.0))


@torch.no_grad()
def test_prediction_does_not_depend_on_the_predicted_token(each: Objective) -> None:
    config = ModelConfig(width=32, depth=2, direction=each.direction, tied=False)
    model = build_model(config, seed=1).double().eval()
    tokens_BL = torch.from_numpy(windows_of(2).tokens_BL)
    queries_BL = torch.zeros_like(tokens_BL, dtype=torch.bool)
    queries_BL[:, 7] = True
    queries = SelectedPositions.from_mask(queries_BL)
    others_BL = torch.where(queries_BL, REAL_IDS.start + (tokens_BL + 1) % 4, tokens_BL)
    assert bool((others_BL != tokens_BL).any())
    features, changed = (
        each.query_features(model, ids_BL, None, queries_BL, queries)
        for ids_BL in (tokens_BL, others_BL)
    )
    torch.testing.assert_close(features, changed)
