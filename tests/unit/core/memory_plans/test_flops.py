"""Operations of a step, counted, beside what arithmetic says of them."""

from __future__ import annotations

from typing import Any

import pytest

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.memory_plans.flops import count_flops
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model

WIDTH, DEPTH, HEADS, MLP, VOCABULARY = 32, 2, 2, 48, 10


def model_of(name: str, length: int, **dials: Any) -> Model:
    config = ModelConfig(
        vocabulary_size=VOCABULARY,
        context=length,
        width=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_width=MLP,
        attention=AttentionConfig(name=name),
        **dials,
    )
    return build_model(config)


def step(length: int, batch: int = 1) -> Step:
    return Step(batch=batch, length=length, real_ids=range(5, 9))


def flops(name: str, length: int, batch: int = 1, **dials: Any) -> int:
    return count_flops(model_of(name, length, **dials), step(length, batch))


def num_asked(length: int) -> int:
    examples = random_examples(model_of("softmax", length), step(length))
    return len(examples.target_positions.index_T)


def test_softmax_takes_what_its_formula_says() -> None:
    length = 64
    keys_and_values, others = 2 * WIDTH**2, 2 * WIDTH**2 + 3 * WIDTH * MLP
    # Forward, and the gradients of inputs and of weights; the scores forward and backward.
    asked = num_asked(length)
    whole = length * (6 * (keys_and_values + others) + (4 + 10) * length * WIDTH)
    # The last block answers where it is asked, and nowhere else.
    last = 6 * (length * keys_and_values + asked * others) + (4 + 10) * asked * length * WIDTH
    expected = (DEPTH - 1) * whole + last
    head = 6 * asked * WIDTH * VOCABULARY
    found = flops("softmax", length)
    assert expected < found <= expected + head
    assert flops("softmax", length, batch=3) == 3 * found


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_mechanism_is_counted_alike_each_time(name: str) -> None:
    found = flops(name, 64)
    assert found == flops(name, 64)
    assert found > (DEPTH - 1) * 64 * 6 * (3 * WIDTH**2 + 3 * WIDTH * MLP)


def test_softmax_grows_with_the_square_and_linear_does_not() -> None:
    growth = {name: flops(name, 1024) / flops(name, 512) for name in ("softmax", "linear")}
    assert growth["softmax"] > 2.5
    assert growth["linear"] == pytest.approx(2, rel=0.05)
