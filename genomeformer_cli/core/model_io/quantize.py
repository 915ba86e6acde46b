"""Weights in whole numbers of eight bits: a matrix is a scale a row and numbers from -127 to 127.

`NAME` holds the numbers, `NAME.int8_scale` the scales, w[i] = scale[i] * number[i]. The largest of
a row decides its scale, so that no weight is cut; a row of zeros has scale 0. They become float32
again when they are loaded, so that everything computes with them as with any other weights.
Shape letters: R rows, C the rest.
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


def quantized(tensors: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """The tensors, those of `names` that are worth it in eight bits."""
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


def dequantized(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as float32 again, the scales gone.

    Raises:
        CheckpointError: Numbers and scales do not belong together.
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
                f"the scales of `{name}` are not those of its rows",
                hint="the weights are damaged; make or fetch them again",
            )
        result[name] = tensor.float() * scale_R.view(-1, *[1] * (tensor.dim() - 1))
    return result


def is_quantized(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some of the tensors are in eight bits."""
    return any(name.endswith(SCALE_SUFFIX) for name in tensors)
