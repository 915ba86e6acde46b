"""Labels as the loop of `core/training` learns them: which weights move, and which are kept."""

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
from genomeformer_cli.core.finetuning.collate import Collated
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.head import NAME, head_of, outputs
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
    """A task of labels.

    Attributes:
        tuning: What is adapted.
        loss: Of the task.
        metric: What validation chooses by.
        seed: Of dropout.
        beside_NC: What a linear model says of the training rows, to which outputs are added; None:
            there is none.
    """

    tuning: TuningConfig
    loss: Loss
    metric: str
    seed: int
    beside_NC: Tensor | None = None

    def optimizers(self, model: Model, config: TrainingConfig) -> Optimizers:
        """AdamW over what is to move, a group for each rate; matrices decay."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                matrix = parameter.dim() >= 2 and "embedding." not in name
                decay = config.weight_decay if matrix else 0.0
                scale = self._scale(name, model.config.depth)
                groups.setdefault((scale, decay), []).append(parameter)
        return [
            torch.optim.AdamW(
                [
                    {"params": some, "weight_decay": decay, "scale": scale}
                    for (scale, decay), some in groups.items()
                ],
                lr=config.learning_rate,
                betas=(config.beta1, config.beta2),
                fused=True,
            )
        ]

    def _scale(self, name: str, depth: int) -> float:
        """Times the learning rate that a weight moves at."""
        if name.startswith(f"{NAME}."):
            return self.tuning.head_rate
        block = _BLOCK.search(name)
        height = int(block.group(1)) + 1 if block else 0 if "embedding." in name else depth + 1
        return float(self.tuning.layer_decay ** (depth + 1 - height))

    def gradients(
        self, model: Model, batch: StepBatch, memory: MemoryConfig, team: ProcessGroup
    ) -> StepResult:
        """By autograd, part after part, in one process."""
        del memory, team
        assert isinstance(batch, TaskBatch)
        weight = max(sum(self.loss.weight(part.truth) for part in batch.parts), 1e-9)
        found = 0.0
        for number, part in enumerate(batch.parts):
            truth = part.truth.to(model.device, non_blocking=True)
            kept = self._kept(model, batch.step, number, part.packed)
            with parametrize.cached():
                said = outputs(model, part.packed.to(model.device), kept)
                if self.beside_NC is not None:
                    said = said + self.beside_NC[part.chosen].to(model.device)
                total = self.loss.total(said, truth, self.tuning.smoothing) / weight
                torch.autograd.backward(total)
            found += total.item()
        return StepResult(loss=found, score=TaskScore(loss=found, num_rows=batch.num_rows))

    def _kept(self, model: Model, step: int, part: int, packed: Collated) -> Tensor | None:
        """Factors of dropout: a function of seed, step and part, on any device."""
        rate = self.tuning.dropout
        if not rate:
            return None
        words = np.random.SeedSequence([self.seed, _DROPOUT, step, part]).generate_state(1)
        generator = torch.Generator().manual_seed(int(words[0]))
        head = head_of(model)
        number = packed.place_P.numel() if head.pool == "none" else packed.num_rows
        shape = (number, head.out.in_features)
        kept = torch.rand(shape, generator=generator) >= rate
        return kept.to(model.device, non_blocking=True) / (1 - rate)

    def read_score(self, plain: Row) -> TaskScore:
        """A score as it stands in the metrics."""
        return TaskScore(**plain)

    def score_of(self, row: Row) -> TaskScore:
        """What validation says of the weights that a row of the metrics may keep."""
        return self.read_score(row.get("validation_average", row["validation"]))

    def keep(self, model: Model, folder: Path, validations: Sequence[Row]) -> None:
        """Put the weights aside if none before were better."""
        if self._best(validations) != len(validations) - 1:
            return
        with atomic_folder(folder / BEST, replace=True) as best:
            tensors = {
                name: tensor.detach().cpu().contiguous()
                for name, tensor in model.state_dict().items()
            }
            write_tensors(tensors, best / _WEIGHTS)
            seal(best)

    def ends(self, validations: Sequence[Row]) -> bool:
        """Whether too many validations in a row brought nothing better."""
        patience = self.tuning.patience
        return bool(
            patience and validations and len(validations) - 1 - self._best(validations) >= patience
        )

    def _best(self, validations: Sequence[Row]) -> int:
        """Which of them; the first where several are alike."""
        found = [self.score_of(row).by(self.metric) for row in validations]
        return found.index(max(found))

    def best_row(self, validations: Sequence[Row]) -> Row:
        """The row of the metrics whose weights are kept."""
        return validations[self._best(validations)]


def load_best(model: Model, folder: Path) -> None:
    """Go back to the weights that were kept.

    Raises:
        CorruptError: They are damaged.
    """
    check_seal(folder / BEST)
    model.load_state_dict(read_tensors(folder / BEST / _WEIGHTS))
