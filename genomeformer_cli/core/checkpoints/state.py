"""Training state beside the weights: the optimizer as safetensors, the step as JSON.

Data order, masks and strands are functions of (seed, step), so no generator state needs saving.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from genomeformer_cli.core.checkpoints.tensors import read_tensors, read_weights, write_tensors
from genomeformer_cli.core.checkpoints.weights import load_weights, write_model
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.seal import check_seal
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

OPTIMIZER_FILE = "optimizer.safetensors"
AVERAGE_FILE = "ema.safetensors"
STATE_FILE = "state.json"


def write_checkpoint(
    folder: Path,
    *,
    model: Model,
    tokenizer: Tokenizer,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
) -> None:
    """Write all that training needs to go on after `step` into a folder the caller seals.

    Args:
        folder: Empty.
        model: What is trained.
        tokenizer: Its tokenizer.
        optimizers: Whose states are kept; no two share a parameter.
        step: Steps taken.
    """
    write_model(model, tokenizer, folder)
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for optimizer in optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{name}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    write_tensors(tensors, folder / OPTIMIZER_FILE)
    write_json(folder / STATE_FILE, {"step": step})


def read_checkpoint(
    folder: Path, *, model: Model, optimizers: Sequence[torch.optim.Optimizer]
) -> int:
    """Restore model and optimizers from a sealed checkpoint; return the steps it has seen.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: The state does not fit the model.
    """
    check_seal(folder)
    load_weights(model, read_weights(folder), folder)
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
                f"`{folder / OPTIMIZER_FILE}` is of another model",
                hint="resume with the same settings",
            )
        parameter = parameters[parameter_name]
        device = parameter.device if tensor.dim() else tensor.device
        owners[id(parameter)].state[parameter][key] = tensor.to(device).clone()
    step = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["step"]
    assert isinstance(step, int)
    return step


def write_average(average: Mapping[str, Tensor], folder: Path) -> None:
    """Write the weights' moving average beside the weights."""
    averaged = {name: tensor.cpu().contiguous() for name, tensor in average.items()}
    write_tensors(averaged, folder / AVERAGE_FILE)


def read_average(folder: Path) -> dict[str, Tensor]:
    """The weights' moving average in a checkpoint.

    Raises:
        CheckpointError: It has none, or it is damaged.
    """
    return read_tensors(folder / AVERAGE_FILE)
