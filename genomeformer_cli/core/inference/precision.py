"""Precision of the matrix products of a model in inference.

`int8` and `bf16` replace the weights of linear layers; norms, attention scores, small layers and
heads remain in float32. `auto` uses int8 only for vectors and heads on them, on a processor with
int8 instructions, if the record of the model shows that the error is harmless.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from genomeformer_cli.core.attention.kernel_choice import describe_kernels, first_failure
from genomeformer_cli.core.attention.kernels.fused import environment_kernels, set_kernels
from genomeformer_cli.core.attention.kernels.product_weights import ProductType, ProductWeight
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.reporting import Reporter

PrecisionName = Literal["auto", "fp32", "bf16", "int8"]
UsedPrecision = Literal["fp32", "bf16", "int8"]

# Smaller matrices are heads and gates: their products cost little, and their errors are visible.
SMALLEST = 32
_INSTRUCTIONS = {"int8": "AVX-512 VNNI", "bf16": "AVX-512 BF16 or AMX"}


def set_precision(
    loaded: LoadedModel, precision: PrecisionName, reporter: Reporter, *, vectors: bool = False
) -> UsedPrecision:
    """Set the precision of the products of a model, and return it.

    Args:
        loaded: The model, on its device.
        precision: Requested precision.
        reporter: Receives the choice, and a warning where the processor lacks instructions.
        vectors: Vectors, or a head on them, are computed; `auto` is float32 otherwise.

    Raises:
        ConfigError: The precision is unknown, or is int8 on a GPU.
    """
    device = loaded.model.device
    if precision not in get_args(PrecisionName):
        raise ConfigError(
            f"unknown precision `{precision}`",
            hint=f"precisions: {', '.join(get_args(PrecisionName))}",
        )
    if precision == "auto":
        used, reason = _choose(loaded, device, vectors=vectors)
        reporter.debug(f"precision: {used}: {reason}")
    else:
        used = precision
        if used == "int8" and device.type != "cpu":
            raise ConfigError(
                f"`--precision int8` on `{device}`: int8 products are for processors",
                hint="give `--precision bf16`, or `--device cpu`",
            )
        if device.type == "cpu" and used != "fp32" and not has_instructions(used):
            reporter.warn(
                f"this processor has no {_INSTRUCTIONS[used]} instructions: "
                f"`--precision {used}` may be slower than `fp32`"
            )
    if used != "fp32":
        convert_linear_layers(loaded.model, used)
    _set_kernels(loaded, used, reporter)
    return used


def _set_kernels(loaded: LoadedModel, precision: UsedPrecision, reporter: Reporter) -> None:
    """Set and report the kernels of the attention; in bfloat16 their products are too.

    Raises:
        ConfigError: The setting is invalid, or a mechanism cannot run in a fused kernel.
    """
    model, choice = loaded.model, environment_kernels()
    dtype = torch.bfloat16 if precision == "bf16" and model.device.type == "cuda" else None
    if choice == "auto" and (failure := first_failure(model, dtype or torch.float32)):
        reporter.warn(f"a fused kernel fails on this machine, continuing without it: {failure}")
        choice = "plain"
    kernels = describe_kernels(
        model,
        choice,
        device=model.device,
        dtype=dtype or torch.float32,
        length=model.config.context,
    )
    set_kernels(choice, dtype)
    reporter.debug(f"kernels: {kernels}")


def _choose(
    loaded: LoadedModel, device: torch.device, *, vectors: bool
) -> tuple[UsedPrecision, str]:
    if not vectors:
        return "fp32", "the result is numeric"
    if device.type != "cpu":
        return "fp32", "the device is no processor"
    if loaded.int8 is None:
        return "fp32", "the model has no record of its error in int8"
    if not loaded.int8.is_harmless:
        return "fp32", "the error of the model in int8 is too large"
    if not has_instructions("int8"):
        return "fp32", f"this processor has no {_INSTRUCTIONS['int8']} instructions"
    return "int8", "the record of the model shows a harmless error"


def has_instructions(product_type: ProductType) -> bool:
    """Return True if the processor has instructions for products of the type."""
    if product_type == "int8":
        return bool(torch.cpu._is_vnni_supported())
    return any(
        bool(getattr(torch.cpu, name, bool)())
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def convert_linear_layers(
    model: Model, product_type: ProductType, *, smallest: int = SMALLEST
) -> int:
    """Replace the weights of linear layers, and return the number of layers.

    Args:
        model: Model in float32, on its device.
        product_type: Type of the products.
        smallest: Fewest inputs and outputs of a replaced layer.
    """
    exact = {
        layer
        for module in model.modules()
        if getattr(module, "float32_products", False)
        for layer in module.modules()
    }
    num_layers = 0
    for module in model.modules():
        if not isinstance(module, nn.Linear) or module in exact:
            continue
        if min(module.weight.shape) >= smallest:
            # In place of the parameter, so that the weight is still counted and stored.
            weight = ProductWeight.of(module.weight, product_type)
            module._parameters["weight"] = weight  # type: ignore[assignment]
            num_layers += 1
    return num_layers
