"""Long convolution by FFT: values and gradients of its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.models import long_convolution as module
from genomeformer_cli.core.models.long_convolution import (
    fast_length,
    long_convolution,
    long_convolution_reference,
    next_step,
)


def inputs(
    batch: int, length: int, width: int, kernel_length: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return (
        torch.randn(batch, length, width, generator=generator, dtype=torch.float64),
        torch.randn(kernel_length, width, generator=generator, dtype=torch.float64),
        torch.randn(width, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize(("length", "kernel_length"), [(1, 1), (2, 2), (7, 7), (9, 14), (131, 160)])
def test_values_and_gradients_are_those_of_the_definition(length: int, kernel_length: int) -> None:
    results = []
    for function in (long_convolution, long_convolution_reference):
        x_BLE, kernel_KE, direct_E = (
            tensor.requires_grad_() for tensor in inputs(3, length, 5, kernel_length)
        )
        used_KE = kernel_KE if function is long_convolution else kernel_KE[:length]
        y_BLE = function(x_BLE, used_KE, direct_E)
        torch.autograd.backward(torch.cos(y_BLE).sum())
        results.append((y_BLE.detach(), x_BLE.grad, kernel_KE.grad, direct_E.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_groups_of_channels_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = inputs(2, 40, 7, 48)
    whole = long_convolution(*arguments)
    for numbers in (1, 500):
        monkeypatch.setattr(module, "_GROUP_NUMBERS", numbers)
        with torch.no_grad():
            torch.testing.assert_close(long_convolution(*arguments), whole)


def test_half_precision_is_computed_in_float32() -> None:
    arguments = inputs(1, 30, 4, 32)
    half = [tensor.bfloat16() for tensor in arguments]
    y_BLE = long_convolution(*half)
    assert y_BLE.dtype == torch.float32
    torch.testing.assert_close(y_BLE, long_convolution(*(tensor.float() for tensor in half)))


@given(st.integers(min_value=1, max_value=2_000_000))
def test_steps_are_at_most_a_quarter_apart(length: int) -> None:
    step = next_step(length)
    assert length <= step <= max(length, length * 1.25)
    assert next_step(step) == step
    assert next_step(length + 1) >= step
    size = fast_length(2 * step)
    assert size >= 2 * step
    assert size % 2 == 0
