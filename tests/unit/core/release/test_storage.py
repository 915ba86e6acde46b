"""Storing in fewer bits is measured on the same questions, and refused where it costs too much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.model_io.quantize import (
    SCALE_SUFFIX,
    dequantize_tensors,
    quantize_tensors,
)
from genomeformer_cli.core.model_io.tensors import WEIGHTS_FILE, read_tensors
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release.storage import (
    MOST_LOST,
    Storage,
    cost_of_storing,
    model_as_stored,
    stored_tensors,
)
from tests.bundles import make_bundle

CONFIG = ModelConfig(context=32, width=32, depth=1, num_heads=2, mlp_width=64)


def questions() -> Queries:
    tokens = np.random.default_rng(0).integers(5, 9, (8, 32))
    hidden = np.zeros((1, 8, 32), dtype=np.bool_)
    hidden[:, :, 7::9] = True
    return Queries(tokens_WL=tokens, hidden_PWL=hidden, real_ids=range(5, 9))


def test_eight_bits_are_within_half_a_step_of_every_row() -> None:
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    stored = quantize_tensors({"w": weight, "gain": torch.ones(64)}, {"w", "gain"})
    assert stored["w"].dtype == torch.int8
    assert stored["gain"].dtype == torch.float32
    back = dequantize_tensors(stored)
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    assert back.keys() == {"w", "gain"}
    assert ((back["w"] - weight).abs() <= step / 2 + 1e-7).all()
    assert torch.equal(back["w"][3], weight[3])


def test_other_tensors_than_weights_keep_their_bits() -> None:
    drawn = torch.randn(64, 64)
    assert torch.equal(quantize_tensors({"features": drawn}, set())["features"], drawn)


@pytest.mark.parametrize(
    "tensors",
    [
        {"w": torch.zeros(4, 4, dtype=torch.int8)},
        {"w": torch.zeros(4, 4, dtype=torch.int8), f"w{SCALE_SUFFIX}": torch.ones(3)},
        {"w": torch.zeros(4, 4), f"w{SCALE_SUFFIX}": torch.ones(4)},
    ],
)
def test_scales_that_are_not_those_of_the_rows_are_refused(
    tensors: dict[str, torch.Tensor],
) -> None:
    with pytest.raises(CheckpointError, match="scales"):
        dequantize_tensors(tensors)


def test_files_shrink_as_they_should(tmp_path: Path) -> None:
    sizes = {}
    for name, storage in {
        "fp32": Storage(),
        "bf16": Storage(dtype="bf16"),
        "int8": Storage(quantize="int8"),
    }.items():
        make_bundle(tmp_path / name, config=CONFIG, storage=storage)
        sizes[name] = (tmp_path / name / WEIGHTS_FILE).stat().st_size
    kinds = {tensor.dtype for tensor in read_tensors(tmp_path / "int8" / WEIGHTS_FILE).values()}
    assert kinds == {torch.int8, torch.float32}
    assert sizes["int8"] < sizes["bf16"] < sizes["fp32"]


def test_the_cost_is_that_of_the_same_questions() -> None:
    model = build_model(CONFIG, seed=0).eval()
    stored = model_as_stored(model, stored_tensors(model, Storage(quantize="int8")))
    cost = cost_of_storing(model, stored, questions())
    assert cost.exact.num_bases == cost.stored.num_bases
    assert 0 < cost.mean_change < 0.05
    assert cost.loss == cost.stored.bits_per_base - cost.exact.bits_per_base


def test_weights_that_answer_worse_are_refused() -> None:
    model, worse = build_model(CONFIG, seed=0).eval(), build_model(CONFIG, seed=0).eval()
    with torch.no_grad():
        worse.get_parameter("head.weight")[6:] *= 30
    with pytest.raises(CheckpointError, match=str(MOST_LOST)):
        cost_of_storing(model, worse, questions())


def test_a_weight_that_the_type_cannot_hold_is_refused() -> None:
    model = build_model(CONFIG, seed=0)
    with torch.no_grad():
        model.get_parameter("embedding.weight")[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"embedding\.weight"):
        stored_tensors(model, Storage(dtype="fp16"))
