"""Fine-tuning task for the loop of `core/training`: trained weights, gradients, model selection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genomeformer_cli.core.finetuning.batches import TaskBatch
from genomeformer_cli.core.finetuning.collate import CollatedBatch
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.head import NAME, get_head, head_outputs, training_mode
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.metrics import TaskScore
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.seal import check_seal, seal
from genomeformer_cli.core.training.batches import StepBatch
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import ProcessGroup
from genomeformer_cli.core.training.optimizer import Optimizers
from genomeformer_cli.core.training.task import Row, StepResult

BEST = "best"
_WEIGHTS = "weights.safetensors"
_DROPOUT = 23
_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class FinetuningTask:
    """Task of learning labels."""

    tuning: TuningConfig  # Trained weights, head and regularisation.
    loss: Loss  # Loss of the task.
    metric: str  # Metric of model selection.
    seed: int  # Seed of dropout.
    # Outputs of a linear model for the training rows, which are added; None without one.
    linear_outputs_NC: Tensor | None = None

    def optimizers(self, model: Model, config: TrainingConfig) -> Optimizers:
        """Return AdamW with one group per learning rate and weight decay; only matrices decay."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                is_matrix = parameter.dim() >= 2 and "embedding." not in name
                decay = config.weight_decay if is_matrix else 0.0
                scale = self._learning_rate_scale(name, model.config.depth)
                groups.setdefault((scale, decay), []).append(parameter)
        return [
            torch.optim.AdamW(
                [
                    {"params": parameters, "weight_decay": decay, "scale": scale}
                    for (scale, decay), parameters in groups.items()
                ],
                lr=config.learning_rate,
                betas=(config.beta1, config.beta2),
                fused=True,
            )
        ]

    def _learning_rate_scale(self, name: str, depth: int) -> float:
        """Return the factor of the learning rate of a parameter."""
        if name.startswith(f"{NAME}."):
            return self.tuning.head_rate
        block = _BLOCK.search(name)
        level = int(block.group(1)) + 1 if block else 0 if "embedding." in name else depth + 1
        return float(self.tuning.layer_decay ** (depth + 1 - level))

    def gradients(
        self, model: Model, batch: StepBatch, memory: MemoryConfig, group: ProcessGroup
    ) -> StepResult:
        """Compute gradients by autograd, one micro batch after another, in one process."""
        del memory, group
        assert isinstance(batch, TaskBatch)
        weight = max(
            sum(self.loss.weight(micro_batch.targets) for micro_batch in batch.micro_batches), 1e-9
        )
        loss = 0.0
        for number, micro_batch in enumerate(batch.micro_batches):
            targets = micro_batch.targets.to(model.device, non_blocking=True)
            dropout_mask = self._dropout_mask(model, batch.step, number, micro_batch.inputs)
            with parametrize.cached():
                with training_mode(model):
                    inputs = micro_batch.inputs.to(model.device)
                    outputs = head_outputs(model, inputs, dropout_mask)
                if self.linear_outputs_NC is not None:
                    outputs = outputs + self.linear_outputs_NC[micro_batch.rows].to(model.device)
                total = self.loss.total(outputs, targets, self.tuning.smoothing) / weight
                torch.autograd.backward(total)
            loss += total.item()
        return StepResult(loss=loss, score=TaskScore(loss=loss, num_rows=batch.num_rows))

    def _dropout_mask(
        self, model: Model, step: int, micro_batch: int, inputs: CollatedBatch
    ) -> Tensor | None:
        """Return the dropout factors: a function of seed, step and micro batch, on any device."""
        rate = self.tuning.dropout
        if not rate:
            return None
        state = np.random.SeedSequence([self.seed, _DROPOUT, step, micro_batch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        head = get_head(model)
        number = inputs.flat_index_P.numel() if head.pool == "none" else inputs.num_rows
        shape = (number, head.out.in_features)
        dropout_mask = torch.rand(shape, generator=generator) >= rate
        return dropout_mask.to(model.device, non_blocking=True) / (1 - rate)

    def read_score(self, plain: Row) -> TaskScore:
        """Parse a score of the metrics file."""
        return TaskScore(**plain)

    def score_of(self, row: Row) -> TaskScore:
        """Return the validation score of the weights of a metrics row."""
        return self.read_score(row.get("validation_average", row["validation"]))

    def keep(self, model: Model, folder: Path, validations: Sequence[Row]) -> None:
        """Save the weights if they have the best validation score so far."""
        if self._best_index(validations) != len(validations) - 1:
            return
        with atomic_folder(folder / BEST, replace=True) as best:
            tensors = {
                name: tensor.detach().cpu().contiguous()
                for name, tensor in model.state_dict().items()
            }
            write_tensors(tensors, best / _WEIGHTS)
            seal(best)

    def ends(self, validations: Sequence[Row]) -> bool:
        """Return True after too many validations without improvement."""
        patience = self.tuning.patience
        return bool(
            patience
            and validations
            and len(validations) - 1 - self._best_index(validations) >= patience
        )

    def _best_index(self, validations: Sequence[Row]) -> int:
        """Return the index of the best validation; the first of equal ones."""
        keys = [self.score_of(row).sort_key(self.metric) for row in validations]
        return keys.index(max(keys))

    def best_row(self, validations: Sequence[Row]) -> Row:
        """Return the metrics row of the selected weights."""
        return validations[self._best_index(validations)]


def load_best(model: Model, folder: Path) -> None:
    """Load the selected weights.

    Raises:
        CorruptError: The file is damaged.
    """
    check_seal(folder / BEST)
    model.load_state_dict(read_tensors(folder / BEST / _WEIGHTS))
