"""Selective scan: equal to the recurrence, values and gradients, however it is cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels import selective_scan as kernel
from genomeformer_cli.core.attention.kernels.selective_scan import (
    recur_in_groups,
    selective_scan,
    selective_scan_reference,
)

SHAPES = [(3, 37, 10, 5), (1, 1, 4, 2), (2, 64, 6, 3), (5, 33, 70, 16)]


def random_inputs(
    shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Inputs and a state before them; some decays are so fast that their product is 0."""
    batch, length, channels, states = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=dtype).requires_grad_()

    rates = torch.rand(channels, states, generator=generator, dtype=dtype)
    a_DN = (-(rates * 9).exp()).requires_grad_()
    delta_BLD = draw(batch, length, channels).detach().abs().requires_grad_()
    return [
        draw(batch, length, channels),
        delta_BLD,
        a_DN,
        draw(batch, length, states),
        draw(batch, length, states),
        draw(batch, states, channels),
    ]


def gradients(function: object, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs of a scan, then the gradients of all inputs."""
    y_BLD, state_BND = function(*inputs)  # type: ignore[operator]
    weights = torch.linspace(-1, 1, y_BLD.numel(), dtype=y_BLD.dtype).view_as(y_BLD)
    total = (y_BLD * weights).sum() + (state_BND * state_BND).sum()
    return [y_BLD, state_BND, *torch.autograd.grad(total, inputs)]


@pytest.mark.parametrize("numbers", [2**18, 2**6], ids=["whole", "in parts"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_recurrence(
    shape: tuple[int, int, int, int], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_CPU_NUMBERS", numbers)
    inputs = random_inputs(shape)
    for result, expected in zip(
        gradients(selective_scan, inputs), gradients(selective_scan_reference, inputs), strict=True
    ):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 300, 3, 2)], ids=str)
def test_the_form_of_other_devices_is_the_recurrence(
    shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "on_cpu", lambda tensor: False)
    inputs = random_inputs(shape)
    for result, expected in zip(
        gradients(selective_scan, inputs), gradients(selective_scan_reference, inputs), strict=True
    ):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cut", [1, 16, 36])
def test_a_row_in_two_calls_is_the_row(cut: int) -> None:
    inputs = random_inputs(SHAPES[0])
    whole_BLD, last_BND = selective_scan(*inputs)
    x, delta, a, b, c, state = inputs
    first, state = selective_scan(x[:, :cut], delta[:, :cut], a, b[:, :cut], c[:, :cut], state)
    second, state = selective_scan(x[:, cut:], delta[:, cut:], a, b[:, cut:], c[:, cut:], state)
    torch.testing.assert_close(torch.cat((first, second), dim=1), whole_BLD)
    torch.testing.assert_close(state, last_BND)


@pytest.mark.parametrize("group", [0, 1, 2, 5])
def test_groups_give_the_states_of_the_recurrence(group: int) -> None:
    generator = torch.Generator().manual_seed(group)
    shape = (group**2, 2, 3, 4)
    added, decay = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    decay[group:] = 0.0
    state = first = torch.rand(shape[1:], generator=generator, dtype=torch.float64)
    expected = []
    for added_BND, decay_BND in zip(added, decay, strict=True):
        state = decay_BND * state + added_BND
        expected.append(state)
    last = recur_in_groups(added, decay, first)
    torch.testing.assert_close(last, state)
    if expected:
        torch.testing.assert_close(added, torch.stack(expected))


def test_half_precision_inputs_keep_a_state_of_single_precision() -> None:
    inputs = random_inputs(SHAPES[0], torch.float32)
    low = [*(one.detach().bfloat16() for one in inputs[:-1]), inputs[-1].detach()]
    y_BLD, state_BND = selective_scan(*low)
    expected_BLD, _ = selective_scan_reference(*(one.float() for one in low))
    assert y_BLD.dtype == state_BND.dtype == torch.float32
    torch.testing.assert_close(y_BLD.detach(), expected_BLD.detach(), rtol=1e-4, atol=1e-4)


def test_long_rows_keep_one_state_per_chunk() -> None:
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel()
        return tensor

    batch, length, channels, states = 1, 2_048, 8, 16
    inputs = random_inputs((batch, length, channels, states), torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        y_BLD, _ = selective_scan(*inputs)
    graph_states = y_BLD.grad_fn.firsts_CBND.numel()  # type: ignore[union-attr]
    assert (
        saved + graph_states
        < batch * length * (4 * channels + 2 * states)
        < (batch * length * channels * states)
    )
