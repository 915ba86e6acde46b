"""Kernels that the attention layers of a model will run in, for messages and records."""

from __future__ import annotations

import torch
from torch import nn

from genomeformer_cli.core.attention.kernels.fused import (
    KernelChoice,
    Workload,
    no_fused_kernel,
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
    layers = {
        module.name: module for module in model.modules() if isinstance(module, AttentionLayer)
    }
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
