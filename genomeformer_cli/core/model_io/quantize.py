"""Weights as 8-bit integers: one scale per row of a matrix, and values from -127 to 127.

`NAME` holds the integers q, `NAME.int8_scale` the scales: w[i] = scale[i] * q[i]. The largest
absolute weight of a row sets its scale, so that no weight is clipped; rows of zeros have scale 0.
Loading converts to float32.
Shape letters: R rows, C columns and further dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError

METHOD = "int8-rows"
SCALE_SUFFIX = ".int8_scale"
_LARGEST = 127
# Smaller tensors are gains and the like: they would save nothing.
_SMALLEST = 1_024


def quantize_tensors(tensors: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors, with those of `names` that become smaller as 8-bit integers."""
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        worth = tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel() >= _SMALLEST
        if name not in names or not worth:
            result[name] = tensor
            continue
        flat_RC = tensor.float().reshape(tensor.shape[0], -1)
        scale_R1 = flat_RC.abs().amax(dim=1, keepdim=True) / _LARGEST
        # A row of zeros: any divisor gives zeros.
        numbers_RC = (flat_RC / scale_R1.where(scale_R1 > 0, torch.ones_like(scale_R1))).round()
        result[name] = numbers_RC.to(torch.int8).reshape(tensor.shape).contiguous()
        result[name + SCALE_SUFFIX] = scale_R1[:, 0].contiguous()
    return result


def dequantize_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in float32, without scales.

    Raises:
        CheckpointError: Integers and scales do not match.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        scale_R = tensors.get(name + SCALE_SUFFIX)
        if scale_R is None and tensor.dtype != torch.int8:
            result[name] = tensor
            continue
        if scale_R is None or tensor.dtype != torch.int8 or scale_R.shape != tensor.shape[:1]:
            raise CheckpointError(
                f"the scales of `{name}` do not match its rows",
                hint="the weights are damaged; make or fetch them again",
            )
        result[name] = tensor.float() * scale_R.view(-1, *[1] * (tensor.dim() - 1))
    return result
