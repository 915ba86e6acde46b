"""Seeds of initial weights."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.finetuning.head import TaskHead
from genomeformer_cli.core.finetuning.lora import add_lora
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
DRAWN = 60
SHAPES = {
    "one stack": ModelConfig(width=16, depth=2, num_heads=2, mlp_width=24),
    "patches": ModelConfig(width=16, depth=2, num_heads=2, mlp_width=24, patch=4),
    "two tied stacks": ModelConfig(
        width=16, depth=2, num_heads=2, mlp_width=24, direction="two-stack", complement=COMPLEMENT
    ),
    "two untied stacks": ModelConfig(
        width=16, depth=2, num_heads=2, mlp_width=24, direction="two-stack", tied=False
    ),
}


def random_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the first numbers of every matrix that was drawn, by name."""
    return {
        name: parameter.detach().flatten()[:DRAWN]
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1 and bool(parameter.any())
    }


def assert_unrelated(drawn: dict[str, Tensor]) -> None:
    """Check that no two vectors are equal up to a factor, as draws of one generator would be."""
    for (name, one), (other_name, other) in itertools.combinations(drawn.items(), 2):
        cosine = torch.cosine_similarity(one, other, dim=0).abs()
        assert cosine < 0.7, f"{name} and {other_name} are drawn alike"


@pytest.mark.parametrize("shape", SHAPES)
def test_models_of_adjacent_seeds_share_no_initial_weights(shape: str) -> None:
    drawn = {
        f"{name} of seed {seed}": weight
        for seed in range(3)
        for name, weight in random_weights(build_model(SHAPES[shape], seed=seed)).items()
    }
    assert_unrelated(drawn)


def test_head_and_low_rank_changes_share_no_initial_weights_with_the_model() -> None:
    model = build_model(SHAPES["one stack"], seed=5)
    drawn = random_weights(model)
    add_lora(model, rank=4, alpha=8.0, seed=5)
    names = {name: name.endswith(".down") for name, _ in model.named_parameters()}
    drawn |= {name: one for name, one in random_weights(model).items() if names[name]}
    for seed in (5, 6):
        head = TaskHead(16, 8, "attention", seed=seed)
        drawn |= {f"head {seed} {name}": one for name, one in random_weights(head).items()}
    assert_unrelated(drawn)


def test_a_seed_gives_its_weights_again() -> None:
    first, again = (build_model(SHAPES["two untied stacks"], seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
