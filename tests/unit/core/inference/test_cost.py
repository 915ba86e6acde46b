"""The cost model against recorded times of the default model."""

from __future__ import annotations

import pytest

from genomeformer_cli.api import load
from genomeformer_cli.core.inference.cost import BatchCost

# CPU milliseconds of one batch (rows, length) of the default model on one AVX-512 core.
RECORDED = {
    (25, 81): 123.3,
    (13, 150): 111.9,
    (4, 512): 116.4,
    (2, 1000): 116.7,
    (1, 2048): 123.8,
    (1, 3000): 184.4,
    (1, 4096): 261.8,
    (1, 8192): 582.9,
    (1, 16384): 1386.7,
}


@pytest.fixture(scope="module")
def cost() -> BatchCost:
    return BatchCost.of_model(load(device="cpu").loaded.model)


def test_costs_are_within_a_tenth_of_the_recorded_ones(cost: BatchCost) -> None:
    speeds = {shape: cost.operations(*shape) / time for shape, time in RECORDED.items()}
    mean = sum(speeds.values()) / len(speeds)
    assert {shape: speed / mean for shape, speed in speeds.items()} == pytest.approx(
        dict.fromkeys(speeds, 1.0), rel=0.1
    )


def test_padding_has_a_cost_and_memory(cost: BatchCost) -> None:
    assert cost.operations(2, 1000) == 2 * cost.operations(1, 1000)
    assert cost.operations(1, 8000) > 8 * cost.operations(1, 1000)
    assert cost.activation_bytes(2, 1000) == 2 * cost.activation_bytes(1, 1000)
    demand = cost.demand([(1, 500), (3, 80)])
    assert demand.costs == [cost.operations(1, 500), cost.operations(3, 80)]
    assert demand.num_bytes == [cost.activation_bytes(1, 500), cost.activation_bytes(3, 80)]
