"""The pseudo-inverse applied to a matrix against the iteration of the paper and against SVD."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.pseudo_inverse import (
    pseudo_inverse_reference,
    pseudo_inverse_times,
)


def draw(size: int, columns: int, *, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    scores = torch.randn(2, 3, size, size, generator=generator, dtype=torch.float64)
    w = torch.randn(2, 3, size, columns, generator=generator, dtype=torch.float64)
    return torch.softmax(scores * sharpness, dim=-1), w


@pytest.mark.parametrize("iterations", [0, 1, 2, 6])
@pytest.mark.parametrize("size", [1, 2, 9, 32])
def test_values_and_gradients_equal_the_iteration_written_out(size: int, iterations: int) -> None:
    a, w = (one.requires_grad_() for one in draw(size, 5))
    found = pseudo_inverse_times(a, w, iterations)
    wanted = pseudo_inverse_reference(a, iterations) @ w
    assert_near(found, wanted)
    weights = torch.randn_like(found)
    found_gradients = torch.autograd.grad((found * weights).sum(), (a, w))
    wanted_gradients = torch.autograd.grad((wanted * weights).sum(), (a, w))
    for ours, reference in zip(found_gradients, wanted_gradients, strict=True):
        assert_near(ours, reference)


def assert_near(found: Tensor, wanted: Tensor) -> None:
    """Relative to the largest entry; what should vanish may be as large as rounding."""
    scale = max(1.0, float(wanted.detach().abs().max()))
    assert float((found - wanted).detach().abs().max()) <= 1e-12 * scale


def test_gradients_equal_finite_differences() -> None:
    a, w = (one[:1, :1].clone().requires_grad_() for one in draw(4, 2))
    assert torch.autograd.gradcheck(lambda a, w: pseudo_inverse_times(a, w, 3), (a, w))


def test_more_iterations_come_closer_to_the_pseudo_inverse() -> None:
    a, w = draw(16, 4, sharpness=3.0)
    wanted = torch.linalg.pinv(a) @ w
    errors = [
        float((pseudo_inverse_times(a, w, iterations) - wanted).norm() / wanted.norm())
        for iterations in (2, 6, 10, 20)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9


def test_each_matrix_is_independent_of_the_others() -> None:
    a, w = draw(8, 3)
    together = pseudo_inverse_times(a, w, 6)
    a[0, 0] = torch.eye(8)[:, :1].T.double().expand(8, 8)
    assert torch.equal(pseudo_inverse_times(a, w, 6)[1], together[1])
    assert torch.equal(pseudo_inverse_times(a, w, 6)[0, 1], together[0, 1])


def test_zero_rows_and_columns_stay_zero() -> None:
    a, w = draw(6, 3)
    padded = torch.nn.functional.pad(a, (0, 2, 0, 2))
    padded_w = torch.nn.functional.pad(w, (0, 0, 0, 2), value=7.0)
    found = pseudo_inverse_times(padded, padded_w, 6)
    torch.testing.assert_close(found[:, :, :6], pseudo_inverse_times(a, w, 6))
    assert not found[:, :, 6:].any()


@pytest.mark.parametrize("sharpness", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("iterations", [6, 12, 30])
def test_single_precision_loses_no_more_than_it_must(iterations: int, sharpness: float) -> None:
    """Nearly equal rows: the condition number is beyond what a float32 can resolve."""
    a, w = (one.float() for one in draw(64, 16, sharpness=sharpness))
    found = pseudo_inverse_times(a, w, iterations)
    exact = pseudo_inverse_reference(a.double(), iterations) @ w.double()
    assert found.dtype == torch.float32
    assert float((found - exact).norm() / exact.norm()) < 1e-6


def test_autocast_does_not_touch_it() -> None:
    a, w = (one.float() for one in draw(8, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pseudo_inverse_times(a, w, 6)
    assert torch.equal(found, pseudo_inverse_times(a, w, 6))
