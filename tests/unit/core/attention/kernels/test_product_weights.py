"""Products of reduced precision: exact integers, one scale per row, parts of a weight.

Shape letters: N rows, E inputs, M outputs.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.product_weights import ProductWeight, as_factor


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_int8_products_are_those_of_the_rounded_rows() -> None:
    x_NE, weight_ME, bias_M = draw(7, 40), draw(24, 40, seed=1), draw(24, seed=2)
    rounded = []
    for rows in (x_NE, weight_ME):
        scale = rows.abs().amax(dim=1, keepdim=True).double() / 127
        rounded.append((rows.double() / scale).round() * scale)
    expected = rounded[0] @ rounded[1].T + bias_M
    result = functional.linear(x_NE, ProductWeight.of(weight_ME, "int8"), bias_M)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    assert type(result) is torch.Tensor


@torch.inference_mode()
def test_a_row_does_not_depend_on_the_others() -> None:
    weight = ProductWeight.of(draw(24, 40, seed=1), "int8")
    x_NE = draw(9, 40) * torch.logspace(-6, 6, 9)[:, None]
    together = functional.linear(x_NE, weight)
    for row in range(9):
        assert torch.equal(functional.linear(x_NE[row : row + 1], weight)[0], together[row])


@torch.inference_mode()
def test_zeros_remain_zeros_and_what_is_not_finite_remains_so() -> None:
    weight = ProductWeight.of(draw(24, 40, seed=1), "int8")
    x_NE = draw(4, 40)
    x_NE[0], x_NE[1, 3], x_NE[2, 5] = 0, torch.nan, torch.inf
    result = functional.linear(x_NE, weight)
    assert not result[0].any()
    assert not result[1].isfinite().any()
    assert not result[2].isfinite().any()
    assert result[3].isfinite().all()


@pytest.mark.parametrize("product_type", ["int8", "bf16"])
@torch.inference_mode()
def test_parts_and_joins_of_rows_keep_their_products(product_type: str) -> None:
    weight = ProductWeight.of(draw(24, 40, seed=1), product_type)  # type: ignore[arg-type]
    x_NE = draw(5, 40)
    whole = functional.linear(x_NE, weight)
    other = draw(8, 40, seed=2)
    parts = {
        "slice": (weight[4:10], whole[:, 4:10]),
        "split": (torch.split(weight, [8, 16])[1], whole[:, 8:]),
        "chunk": (weight.chunk(2)[1], whole[:, 12:]),
        "cat": (torch.cat((weight, other))[:24], whole),
    }
    for name, (part, expected) in parts.items():
        assert isinstance(part, ProductWeight), name
        assert torch.equal(functional.linear(x_NE, part), expected), name
    assert type(weight.T) is torch.Tensor
    assert type(weight[0]) is torch.Tensor


def test_gradients_are_refused() -> None:
    x_NE = draw(4, 40).requires_grad_()
    with pytest.raises(RuntimeError, match="no gradients"):
        functional.linear(x_NE, ProductWeight.of(draw(24, 40), "int8"))


def test_weights_on_a_grid_of_8_bits_are_not_rounded_again() -> None:
    numbers_ME = torch.randint(-127, 128, (24, 40), generator=torch.Generator().manual_seed(0))
    numbers_ME[:, 0] = 127
    weight_ME = numbers_ME * draw(24, 1).abs()
    assert torch.equal(as_factor(weight_ME, "int8").numbers_NE.long(), numbers_ME)
