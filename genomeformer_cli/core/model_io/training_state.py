"""Training state beside the weights: the optimizer as safetensors, the step as JSON.

Data order, masks and strands are functions of (seed, step), so no generator state needs saving.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.model_folder import (
    Placement,
    load_weights,
    unsharded,
    whole_tensor,
    whole_tensors,
    write_model,
)
from genomeformer_cli.core.model_io.tensors import read_tensors, read_weights, write_tensors
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.seal import check_seal
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

OPTIMIZER_FILE = "optimizer.safetensors"
AVERAGE_FILE = "ema.safetensors"
STATE_FILE = "state.json"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """State needed to resume training, gathered in CPU memory."""

    weights: dict[str, Tensor]  # State of the model.
    optimizer: dict[str, Tensor]  # State of the optimizers, by weight and kind.
    average: dict[str, Tensor] | None = None  # Moving average of the weights, if there is one.


def gather_state(
    model: Model,
    optimizers: Sequence[torch.optim.Optimizer],
    average: Mapping[str, Tensor] | None = None,
    whole: Callable[[Tensor], Tensor] = unsharded,
) -> TrainingState:
    """Gather the state of a training.

    Args:
        model: Model in training.
        optimizers: Optimizers; no two share a parameter.
        average: Moving average of the weights, if there is one.
        whole: Function that gathers a sharded tensor; every process with a shard must call it.
    """

    def to_cpu(value: Any) -> Tensor:
        return whole(torch.as_tensor(value).detach()).cpu().contiguous()

    return TrainingState(
        weights=whole_tensors(model, whole),
        optimizer={
            f"{name}/{key}": to_cpu(value)
            for name, parameter in model.named_parameters()
            for optimizer in optimizers
            for key, value in optimizer.state.get(parameter, {}).items()
        },
        average=None
        if average is None
        else {name: to_cpu(tensor) for name, tensor in average.items()},
    )


def write_checkpoint(
    folder: Path, *, model: Model, tokenizer: Tokenizer, state: TrainingState, step: int
) -> None:
    """Write the state after `step` into a folder, which the caller seals.

    Args:
        folder: Empty folder.
        model: Model in training.
        tokenizer: Tokenizer of the model.
        state: Gathered state.
        step: Number of optimizer steps.
    """
    write_model(model, tokenizer, folder, state.weights)
    write_tensors(state.optimizer, folder / OPTIMIZER_FILE)
    if state.average is not None:
        write_tensors(state.average, folder / AVERAGE_FILE)
    write_json(folder / STATE_FILE, {"step": step})


def read_checkpoint(
    folder: Path,
    *,
    model: Model,
    optimizers: Sequence[torch.optim.Optimizer],
    place: Placement = whole_tensor,
) -> int:
    """Restore model and optimizers from a sealed checkpoint; return its number of steps.

    Args:
        folder: Sealed folder.
        model: Model to restore.
        optimizers: Optimizers to restore.
        place: Function that returns the part of a tensor that this process holds.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: The state does not fit the model.
    """
    check_seal(folder)
    load_weights(model, read_weights(folder), folder, place)
    tensors = read_tensors(folder / OPTIMIZER_FILE)
    parameters = dict(model.named_parameters())
    owners = {
        id(parameter): optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, tensor in tensors.items():
        parameter_name, _, key = name.rpartition("/")
        if parameter_name not in parameters:
            raise CheckpointError(
                f"`{folder / OPTIMIZER_FILE}` belongs to another model",
                hint="resume with the same settings",
            )
        parameter = parameters[parameter_name]
        owner = owners[id(parameter)]
        moved = tensor.to(device_of_state(tensor, parameter, owner)).clone()
        owner.state[parameter][key] = place(moved, parameter) if tensor.dim() else moved
    return read_step(folder)


class _State(TypedDict):
    step: int


def read_step(folder: Path) -> int:
    """Return the number of optimizer steps that a checkpoint has seen.

    Raises:
        DocumentError: The file of the step is missing or damaged.
    """
    state: _State = read_json(folder / STATE_FILE, _State)
    return state["step"]


def device_of_state(
    tensor: Tensor, parameter: Tensor, optimizer: torch.optim.Optimizer
) -> torch.device:
    """Return the device on which an optimizer keeps a tensor of its state.

    Fused optimizers count steps on the device of the weights, others in CPU memory.
    """
    beside = bool(tensor.dim()) or bool(optimizer.defaults.get("fused"))
    return parameter.device if beside else torch.device("cpu")


def read_average(folder: Path) -> dict[str, Tensor]:
    """Read the moving average of the weights of a checkpoint.

    Raises:
        CheckpointError: The checkpoint has no average, or it is damaged.
    """
    return read_tensors(folder / AVERAGE_FILE)
