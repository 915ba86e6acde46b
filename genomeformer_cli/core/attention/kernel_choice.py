"""Kernels that the attention layers of a model will run in: for messages, and tried beforehand."""

from __future__ import annotations

import torch
from torch import nn

from genomeformer_cli.core.attention.batch_layout import Rotary
from genomeformer_cli.core.attention.kernels.fused import (
    KernelChoice,
    Workload,
    no_fused_kernel,
    using_kernels,
)
from genomeformer_cli.core.attention.layer import AttentionLayer

PLAIN = "plain"
_SDPA = "torch's fused softmax"


def describe_kernels(
    model: nn.Module,
    choice: KernelChoice,
    *,
    device: torch.device,
    dtype: torch.dtype,
    length: int,
    packed: bool = False,
) -> str:
    """Return the kernel of every mechanism of a model, and the reason for each plain path.

    Args:
        model: Model with attention layers, or without any.
        choice: Setting.
        device: Device to compute on.
        dtype: Type of the matrix products.
        length: Positions per row.
        packed: True if rows hold several documents.

    Raises:
        ConfigError: The setting is `fused`, and a mechanism has no fused kernel for such rows.
    """
    layers = _layers(model)
    if not layers and choice == "fused":
        raise no_fused_kernel("this model's", "its layers have none")
    kernels = {
        name: _kernel_of(
            layer,
            choice,
            Workload(
                device_type=device.type,
                dtype=dtype,
                head_width=layer.head_width,
                length=length,
            ),
            packed=packed,
        )
        for name, layer in layers.items()
    }
    return ", ".join(f"{name}: {kernel}" for name, kernel in kernels.items()) or PLAIN


def first_failure(model: nn.Module, dtype: torch.dtype, *, packed: bool = False) -> str:
    """Try the fused kernel of every mechanism on one short row, forward and backward.

    Args:
        model: Model on its device.
        dtype: Type of the matrix products.
        packed: True if rows hold several documents.

    Returns:
        Name of the first kernel that fails, and the reason; empty if all compute.
    """
    for name, layer in _layers(model).items():
        kernel = layer.fused
        if kernel is None or (name == "softmax" and not packed):
            continue
        weight, length = layer.out.weight, 2 * kernel.shortest
        workload = Workload(
            device_type=weight.device.type,
            dtype=dtype,
            head_width=layer.head_width,
            length=length,
        )
        if kernel.obstacle(workload):
            continue
        documents_1L = torch.arange(length, device=weight.device)[None] // kernel.shortest
        rotary = Rotary(head_width=layer.head_width, base=100.0)
        layout = rotary.packed_layout(documents_1L)
        if not packed:
            layout = rotary.layout(length, None, device=weight.device)
        try:
            with torch.enable_grad(), using_kernels("fused", dtype):
                x_1LE = weight.new_zeros(1, length, len(weight)).requires_grad_()
                torch.autograd.grad(layer(x_1LE, layout).sum(), x_1LE)
        except Exception as failure:  # noqa: BLE001 - compilers and drivers fail in many ways
            lines = str(failure).strip().splitlines()
            return f"{kernel.name}: {lines[0] if lines else type(failure).__name__}"
    return ""


def _layers(model: nn.Module) -> dict[str, AttentionLayer]:
    """Return one layer per mechanism."""
    return {module.name: module for module in model.modules() if isinstance(module, AttentionLayer)}


def _kernel_of(
    layer: AttentionLayer, choice: KernelChoice, workload: Workload, *, packed: bool
) -> str:
    if layer.name == "softmax" and not packed:
        return _SDPA
    if choice == "plain":
        return PLAIN
    reason = "it has no fused kernel for this direction"
    if layer.fused is not None:
        reason = layer.fused.obstacle(workload)
        if choice == "auto" and not reason and workload.length < layer.fused.shortest:
            reason = f"rows are shorter than {layer.fused.shortest}"
        if not reason:
            return layer.fused.name
        reason = f"{layer.fused.name}: {reason}"
    if choice == "fused":
        raise no_fused_kernel(layer.name, reason)
    return f"{PLAIN} ({reason})"
