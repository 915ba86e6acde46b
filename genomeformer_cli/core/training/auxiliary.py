"""Weights that are trained beside a model and not released, such as a projection of features."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.training.config import TrainingConfig

AUXILIARY_FILE = "auxiliary.safetensors"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class AuxiliaryWeights:
    """Auxiliary module with its AdamW.

    Args:
        module: Module to train, on its device.
        config: Rates and decays of the optimizer.
    """

    def __init__(self, module: nn.Module, config: TrainingConfig) -> None:
        self._module, self._config = module, config
        self._parameters = dict(module.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self._parameters.values(),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )

    def clip(self) -> None:
        """Clip the gradients to the norm of the run."""
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._config.clip_norm)

    def write(self, folder: Path) -> None:
        """Write weights and moments into a checkpoint."""
        tensors = {name: value.detach().cpu() for name, value in self._parameters.items()}
        for name, value in self._parameters.items():
            for key, moment in self.optimizer.state.get(value, {}).items():
                tensors[f"{name}/{key}"] = torch.as_tensor(moment).cpu().contiguous()
        write_tensors(tensors, folder / AUXILIARY_FILE)

    def read(self, folder: Path) -> None:
        """Restore weights and moments from a checkpoint.

        Raises:
            CheckpointError: The file is missing or belongs to other weights.
        """
        tensors = read_tensors(folder / AUXILIARY_FILE)
        for name, value in self._parameters.items():
            if name not in tensors or tensors[name].shape != value.shape:
                raise CheckpointError(
                    f"`{folder / AUXILIARY_FILE}` belongs to other weights",
                    hint="resume with the same teacher",
                )
            with torch.no_grad():
                value.copy_(tensors[name])
            state = self.optimizer.state[value]
            for key in _MOMENTS:
                if (moment := tensors.get(f"{name}/{key}")) is not None:
                    # The optimizer counts its steps in CPU memory.
                    state[key] = moment.clone() if key == "step" else moment.to(value.device)
