"""Operations of a step, counted, beside what arithmetic says of them."""

from __future__ import annotations

from typing import Any

import pytest

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.gradients.flops import count_flops
from genomeformer_cli.core.gradients.forecast import Step
from genomeformer_cli.core.model.build import build_model
from genomeformer_cli.core.model.config import ModelConfig

WIDTH, DEPTH, HEADS, MLP, VOCABULARY = 32, 2, 2, 48, 10


def flops(name: str, length: int, batch: int = 1, **model: Any) -> int:
    config = ModelConfig(
        vocabulary_size=VOCABULARY,
        context=length,
        width=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_width=MLP,
        attention=AttentionConfig(name=name),
        **model,
    )
    return count_flops(build_model(config), Step(batch=batch, length=length, real_ids=range(5, 9)))


def test_softmax_takes_what_its_formula_says() -> None:
    length = 64
    matrices = 4 * WIDTH**2 + 3 * WIDTH * MLP
    # Forward, and the gradients of inputs and of weights; the scores forward and backward.
    expected = DEPTH * length * (6 * matrices + (4 + 10) * length * WIDTH)
    head = 6 * length * WIDTH * VOCABULARY
    found = flops("softmax", length)
    assert expected < found <= expected + head
    assert flops("softmax", length, batch=3) == 3 * found


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_mechanism_is_counted_alike_each_time(name: str) -> None:
    found = flops(name, 64)
    assert found == flops(name, 64)
    assert found > DEPTH * 64 * 6 * (3 * WIDTH**2 + 3 * WIDTH * MLP)


def test_softmax_grows_with_the_square_and_linear_does_not() -> None:
    growth = {name: flops(name, 1024) / flops(name, 512) for name in ("softmax", "linear")}
    assert growth["softmax"] > 2.5
    assert growth["linear"] == pytest.approx(2, rel=0.05)
