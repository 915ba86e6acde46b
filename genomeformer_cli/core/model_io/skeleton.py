"""Models to load: compared with the headers of their weights, then built without random numbers.

A `config.json` of a few bytes can ask for a model of any size. Its skeleton is built on the `meta`
device, where tensors have shapes and no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.quantize import SCALE_SUFFIX
from genomeformer_cli.core.model_io.tensors import DAMAGED, TensorEntry
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Model
from genomeformer_cli.core.models.registry import build_model

# Tables that a model computes for itself, such as the angles of its positions.
_COMPUTED_BYTES = 64 << 20
# Calls of torch that build one tensor of a model, with room for tables that are not stored.
_CALLS_PER_TENSOR, _MORE_CALLS = 64, 4096
# In-place functions that do more than change numbers.
_STRUCTURAL = {"requires_grad_", "resize_", "squeeze_", "unsqueeze_", "transpose_", "t_", "set_"}
# Functions that fill a tensor with random numbers, `torch.nn.init` among them.
_DRAWS = {
    *("uniform_", "normal_", "trunc_normal_"),
    *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
}


class _ShapesOnly(TorchFunctionMode):
    """Skip in-place operations, which change no shape, and drop generators, which `meta` lacks.

    On `meta`, most of these operations run as Python references that import torch's compiler, which
    takes longer than all else at the start of a command.

    Args:
        num_tensors: Number of stored tensors. A model with many more parts is not built to its end.
    """

    def __init__(self, num_tensors: int) -> None:
        super().__init__()
        self._calls_left = num_tensors * _CALLS_PER_TENSOR + _MORE_CALLS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self._calls_left -= 1
        if self._calls_left < 0:
            raise ValueError("it has more parts than the weights have tensors")
        options = {key: item for key, item in (kwargs or {}).items() if key != "generator"}
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name not in _STRUCTURAL:
            # `torch.nn.init` names its tensor; methods have it first.
            return args[0] if args else options["tensor"]
        return func(*args, **options)


class _WithoutDraws(TorchFunctionMode):
    """Leave parameters as they were allocated; tables that are not loaded are drawn as ever."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:
            tensor = args[0] if args else options.get("tensor")
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **options)


def build_unloaded(config: ArchitectureConfig) -> Model:
    """Build a model whose parameters are all about to be loaded, with arbitrary numbers."""
    with _WithoutDraws():
        return build_model(config)


def check_shapes(
    config: ArchitectureConfig, stored: Mapping[str, tuple[int, ...]], folder: Path
) -> None:
    """Check that a configuration has the tensors of the headers.

    Args:
        config: Configuration to build.
        stored: Shapes of the tensors in the files, by name; see `stored_shapes`.
        folder: Folder of configuration and files, named in errors.

    Raises:
        CheckpointError: Names or shapes differ, or the model computes tables that are too large.
    """
    # Every block has tensors of its own: more blocks than tensors are refused unbuilt.
    if config.depth > len(stored):
        raise _mismatch(folder, f"{config.depth:,} blocks, {len(stored):,} tensors")
    try:
        with torch.device("meta"), _ShapesOnly(len(stored)):
            model = build_model(config)
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as failure:
        reason = str(failure).partition("\n")[0]
        raise _mismatch(folder, f"no model can have such sizes: {reason}") from failure
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if own.keys() != stored.keys():
        name = min(own.keys() ^ stored.keys())
        raise _mismatch(folder, f"`{name}` is in {'the weights' if name in stored else 'it'} alone")
    for name, shape in own.items():
        if shape != stored[name]:
            raise _mismatch(folder, f"`{name}` has shape {stored[name]}, not {shape}")
    computed = [buffer for name, buffer in model.named_buffers() if name not in own]
    if sum(buffer.nbytes for buffer in computed) > _COMPUTED_BYTES:
        raise _mismatch(folder, "it would compute tables of more than 64 MiB")


def stored_shapes(entries: Mapping[str, TensorEntry]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors in the files, by name."""
    return {name: tuple(entry.shape) for name, entry in entries.items() if not is_scale(name)}


def is_scale(name: str) -> bool:
    """Return True if a tensor holds the scales of an 8-bit tensor."""
    return name.endswith(SCALE_SUFFIX)


def _mismatch(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the weights in `{folder}` do not fit their `config.json`: {reason}", hint=DAMAGED
    )
