"""Budgets of training."""

from __future__ import annotations

import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.training.budget import Budget
from genomeformer_cli.core.training.metrics import pace


@pytest.mark.parametrize(
    ("kind", "amount", "steps"),
    [
        ("tokens", 2048, 1),
        ("tokens", 100_000, 48),
        ("flops", 1e9, 10),
        ("flops", 1.99e8, 1),
        ("minutes", 1, 240),
        ("minutes", 0.1, 24),
    ],
)
def test_a_budget_gives_whole_steps(kind: str, amount: float, steps: int) -> None:
    budget = Budget(kind=kind, amount=amount)  # type: ignore[arg-type]
    assert budget.steps(tokens=2048, flops=10**8, seconds=0.25) == steps


def test_what_is_not_of_the_budget_need_not_be_measured() -> None:
    assert Budget(kind="tokens", amount=99).steps(tokens=33, flops=None, seconds=None) == 3


@pytest.mark.parametrize("amount", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_is_a_positive_number(amount: float) -> None:
    with pytest.raises(ConfigError, match="invalid budget"):
        Budget(kind="tokens", amount=amount)


def test_less_than_a_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="a single step") as caught:
        Budget(kind="flops", amount=5).steps(tokens=1, flops=6, seconds=None)
    assert "--batch-size" in str(caught.value.hint)


def test_a_pause_of_the_machine_does_not_move_the_speed() -> None:
    def row(seconds: float, speed: float, peak: int) -> dict[str, float]:
        return {
            "training_seconds": seconds,
            "training_bases_per_second": speed,
            "peak_bytes": peak,
        }

    taken = pace([row(1, 100, 5), row(2, 102, 9), row(3600, 0.01, 7), row(3601, 101, 7)])
    assert taken.bases_per_second == pytest.approx(100.5)
    assert (taken.seconds, taken.peak_bytes) == (3601, 9)
