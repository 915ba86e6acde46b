"""Learning rates against their formulae."""

from __future__ import annotations

import math

import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.schedule import learning_rate


def test_warmup_stable_decay() -> None:
    config = TrainingConfig(steps=100, learning_rate=1.0, warmup_share=0.1, decay_share=0.2)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])


def test_cosine() -> None:
    config = TrainingConfig(steps=100, learning_rate=2.0, warmup_share=0.1, schedule="cosine")
    for step in range(10, 100):
        expected = 1 + math.cos(math.pi * (step - 10) / 90)
        assert learning_rate(step, config) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_every_step_learns(schedule: str) -> None:
    for steps in (1, 2, 7):
        config = TrainingConfig(steps=steps, schedule=schedule)  # type: ignore[arg-type]
        assert all(learning_rate(step, config) > 0 for step in range(steps))


def test_impossible_settings_are_refused() -> None:
    for settings in (
        {"steps": 0},
        {"learning_rate": 0.0},
        {"warmup_share": 0.8, "decay_share": 0.3},
    ):
        with pytest.raises(ConfigError):
            TrainingConfig(**settings)
