"""The encoder as a whole: padding, seeds, shapes, and the gradients of its loss."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder, padding_mask
from genomeformer_cli.core.objectives.loss import (
    BITS_PER_NAT,
    Examples,
    Prediction,
    prediction_loss,
)
from genomeformer_cli.core.tokenizers.protocol import PAD_ID

REAL_IDS = range(5, 9)


def small(name: str = "softmax", conv_width: int = 0) -> ModelConfig:
    attention = AttentionConfig(name=name, num_features=16)
    return ModelConfig(
        context=32,
        width=16,
        depth=2,
        num_heads=2,
        mlp_width=24,
        attention=attention,
        conv_width=conv_width,
    )


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(5, 10, (batch, length), generator=torch.Generator().manual_seed(0))


def predicted(
    model: Encoder, rows: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> Prediction:
    examples = Examples(inputs_BL=rows, targets_BL=targets, weights_BL=weights, real_ids=REAL_IDS)
    return prediction_loss(model, examples)


@pytest.mark.parametrize("conv_width", [0, 5])
@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_a_batch_of_one_equals_a_batch_of_many(name: str, conv_width: int) -> None:
    model = Encoder(small(name, conv_width))
    rows = tokens(5, 31)
    for row, length in enumerate((31, 17, 1, 30, 2)):
        rows[row, length:] = PAD_ID
    together = model.hidden(rows, padding_mask(rows, PAD_ID))
    for row, length in enumerate((31, 17, 1, 30, 2)):
        alone = model.hidden(rows[row : row + 1, :length], None)
        torch.testing.assert_close(together[row : row + 1, :length], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_an_empty_row_is_finite_and_harmless(name: str) -> None:
    model = Encoder(small(name))
    rows = tokens(2, 8)
    rows[1] = PAD_ID
    hidden = model.hidden(rows, padding_mask(rows, PAD_ID))
    assert torch.isfinite(hidden).all()
    torch.testing.assert_close(hidden[:1], model.hidden(rows[:1], None), atol=1e-5, rtol=1e-5)


def test_no_mask_without_padding() -> None:
    assert padding_mask(tokens(2, 8), PAD_ID) is None


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_the_seed_decides_every_weight(name: str) -> None:
    one, same, other = (Encoder(small(name), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    fixed = ("norm", "gain", "bias", "rate")
    drawn = [key for key in one if not any(word in key for word in fixed)]
    assert all(not torch.equal(one[key], other[key]) for key in drawn)


def test_initial_weights_do_not_depend_on_the_global_generator() -> None:
    torch.manual_seed(0)
    one = Encoder(small("performer"), seed=1).state_dict()
    torch.manual_seed(9)
    two = Encoder(small("performer"), seed=1).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads of even width"):
        ModelConfig(width=18, num_heads=4)
    with pytest.raises(ConfigError, match="depth` cannot be 0"):
        ModelConfig(depth=0)
    with pytest.raises(ConfigError, match="conv_width` cannot be 4"):
        ModelConfig(conv_width=4)
    with pytest.raises(ConfigError) as failure:
        AttentionConfig(name="flash")
    assert "`softmax`" in (failure.value.hint or "")


def test_a_uniform_head_scores_two_bits() -> None:
    model = Encoder(small())
    torch.nn.init.zeros_(model.head.weight)
    rows = tokens(2, 16)
    targets = torch.where((rows < 9) & (torch.arange(16) % 3 == 0), rows, -100)
    result = predicted(model, rows, targets, torch.ones(rows.shape))
    assert result.bits_per_base.item() == pytest.approx(2.0, abs=1e-6)
    assert result.loss.item() * BITS_PER_NAT == pytest.approx(2.0, abs=1e-6)
    assert result.num_targets == int((targets >= 0).sum())


def test_weights_weigh_the_loss_and_not_the_bits() -> None:
    model = Encoder(small())
    rows = tokens(1, 16)
    rows[rows == 9] = 5
    first = torch.where(torch.arange(16) < 8, rows, -100)
    both = rows.clone()
    weights = (torch.arange(16) < 8).float().expand(1, 16)
    half = predicted(model, rows, first, torch.ones(1, 16))
    weighted = predicted(model, rows, both, weights)
    torch.testing.assert_close(half.loss, weighted.loss)
    assert weighted.num_targets == 16


def test_a_batch_without_targets_gives_no_gradient_and_no_nan() -> None:
    model = Encoder(small())
    rows = tokens(1, 8)
    result = predicted(model, rows, torch.full_like(rows, -100), torch.zeros(1, 8))
    torch.autograd.backward(result.loss)
    assert result.loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_gradients_of_the_loss_equal_finite_differences() -> None:
    model = Encoder(small("performer")).double()
    rows = tokens(1, 12)
    rows[rows == 9] = 6
    targets = torch.where(torch.arange(12) % 2 == 0, rows, -100)
    weights = torch.ones(1, 12, dtype=torch.float64)

    def loss() -> torch.Tensor:
        hidden = model.hidden(rows, None)[targets >= 0]
        logits = model.head(hidden)[:, REAL_IDS.start : REAL_IDS.stop]
        return torch.nn.functional.cross_entropy(logits, targets[targets >= 0] - REAL_IDS.start)

    result = predicted(model, rows, targets, weights)
    torch.testing.assert_close(result.loss.double(), loss(), rtol=1e-5, atol=1e-6)
    weight = model.get_parameter("blocks.0.attention.qkv.weight")
    (gradient,) = torch.autograd.grad(loss(), [weight])
    for place in ((0, 0), (17, 3), (40, 15)):
        with torch.no_grad():
            weight[place] += 1e-6
            up = loss()
            weight[place] -= 2e-6
            down = loss()
            weight[place] += 1e-6
        assert float(gradient[place]) == pytest.approx(float((up - down) / 2e-6), abs=1e-7)
