"""Fused kernels on a GPU beside the plain path: values, gradients, lengths, compiled models.

Relative in norm, bfloat16: within 3 %, or twice as far as the plain path, from the plain path in
float64. float32 (FlexAttention): within 1e-3. Deselected unless asked for: `pytest -m gpu`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.fused import FLASH_LINEAR, FLEX, using_kernels
from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from tests.fused_kernels import FUSED, HEADS, LENGTH, computed, layouts, make_layer
from tests.gradient_cases import gradients, worst

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
    pytest.mark.filterwarnings("ignore"),
]

WIDTH, TIMES = 64, 7
NEAR = 0.03


def distances(tensors: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Relative in norm; to all together where a gradient is nearly 0."""
    scale = torch.stack([one.norm() for one in exact]).norm()
    return [
        float((one.double() - other).norm() / (other.norm() + 1e-3 * scale))
        for one, other in zip(tensors, exact, strict=True)
    ]


def test_all_kernels_are_installed() -> None:
    assert (FLASH_LINEAR.missing, FLEX.missing) == ("", "")


@pytest.mark.parametrize("rows", ["whole", "padded", "holes", "packed"])
@pytest.mark.parametrize("which", FUSED, ids="-".join)
def test_bfloat16_is_as_near_as_the_plain_path(which: tuple[str, str], rows: str) -> None:
    layer, layout = make_layer(which, WIDTH).cuda(), layouts(WIDTH, TIMES, "cuda")[rows]
    if which[0] == "softmax" and rows != "packed":
        return  # torch's own kernel in either case
    exact = computed(layer, layout, "plain")
    layer.float()
    with torch.autocast("cuda", torch.bfloat16):
        plain = distances(computed(layer, layout, "plain"), exact)
        fused = distances(computed(layer, layout, "fused"), exact)
    for mine, other in zip(fused, plain, strict=True):
        assert mine <= max(NEAR, 2 * other)


@pytest.mark.parametrize(
    "which", [one for one in FUSED if ATTENTIONS[one[0]].fused is FLEX], ids="-".join
)
def test_float32_is_near_in_flex_attention(which: tuple[str, str]) -> None:
    for layout in layouts(WIDTH, TIMES, "cuda").values():
        layer = make_layer(which, WIDTH).cuda()
        exact = computed(layer, layout, "plain")
        assert max(distances(computed(layer.float(), layout, "fused"), exact)) <= 1e-3


def test_rows_of_many_lengths_share_kernels() -> None:
    layer = make_layer(("local", "bidirectional"), WIDTH).cuda().float()
    for times in range(3, 40):
        layout = layouts(WIDTH, times, "cuda")["padded"]
        with torch.no_grad(), using_kernels("fused"):
            x = torch.randn(3, LENGTH * times, HEADS * WIDTH, device="cuda")
            assert torch.isfinite(layer(x, layout)[0]).all()


@pytest.mark.parametrize("name", ["local", "gated-delta"])
def test_a_compiled_model_has_the_gradients_of_a_plain_one(name: str) -> None:
    config = ModelConfig(
        context=512,
        width=128,
        depth=2,
        num_heads=2,
        mlp_width=128,
        attention=AttentionConfig(name=name),
    )
    model = build_model(config).cuda()
    examples = random_examples(model, Step(batch=2, length=512, real_ids=range(5, 9)))
    ways = (
        ComputeConfig(precision="bf16", compile="off", kernels="plain"),
        ComputeConfig(precision="bf16", compile="on", kernels="fused"),
    )
    plain: dict[str, Tensor] = {}
    fused: dict[str, Tensor] = {}
    for way, computed_gradients in zip(ways, (plain, fused), strict=True):
        with computing(way, model):
            computed_gradients |= gradients(model, examples, MemoryConfig(plan="full"))[1]
    assert worst(fused, plain) <= 2 * NEAR
