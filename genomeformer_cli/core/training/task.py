"""Interface between the training loop and a task.

One loop trains every task: it counts steps, sets the learning rate, clips, skips spikes, averages,
writes metrics and checkpoints, and resumes. Everything else is part of a `TrainingTask`: that of
pretraining is here, that of labels in `core/finetuning`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.memory_plans.sequence_parallel import sequence_parallel_gradients
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.training.batches import Batch, StepBatch
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import ProcessGroup
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.optimizer import Optimizers, build_optimizers

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Loss and score of the gradients of a step."""

    loss: float  # Loss, checked to be finite.
    score: Any  # Score of the targets of the step, a dataclass of plain values.


class TrainingTask(Protocol):
    """Training task."""

    def optimizers(self, model: Model, config: TrainingConfig) -> Optimizers:
        """Return the optimizers of the weights."""

    def gradients(
        self, model: Model, batch: StepBatch, memory: MemoryConfig, group: ProcessGroup
    ) -> StepResult:
        """Compute the gradients of a step over all processes of the group."""

    def read_score(self, plain: Row) -> Any:
        """Return a score from its form in the metrics."""

    def keep(self, model: Model, folder: Path, validations: Sequence[Row]) -> None:
        """Inspect the validations so far, the last of which scores the current weights.

        Args:
            model: Model being trained, with the averaged weights if there is an average.
            folder: Run folder.
            validations: Rows of the metrics with a validation.
        """

    def ends(self, validations: Sequence[Row]) -> bool:
        """Return True if the run stops here, before its last step."""


@dataclass(frozen=True, kw_only=True)
class PretrainingTask:
    """Prediction of bases: every step is taken, and the last weights are the result."""

    per_token: bool = False  # True if scores are also per token, for tokens of several bases.
    # Function that adds the targets of a teacher to the examples of a step; None: no teacher.
    add_targets: Callable[[Examples, int], Examples] | None = None
    auxiliary: nn.Module | None = None  # Weights beside those of the model, such as a projection.

    def optimizers(self, model: Model, config: TrainingConfig) -> Optimizers:
        """Return AdamW, or Muon and AdamW."""
        return build_optimizers(model, config)

    def gradients(
        self, model: Model, batch: StepBatch, memory: MemoryConfig, group: ProcessGroup
    ) -> StepResult:
        """Compute gradients with the memory plan of the run, or with sequence parallelism."""
        assert isinstance(batch, Batch)
        examples = batch.examples.to(model.device)
        weight = batch.total_weight.to(model.device)
        if self.add_targets is not None:
            examples = self.add_targets(examples, batch.step)
        if group.sequence_group is not None:
            part = sequence_parallel_gradients(
                model, examples, memory, weight, group.sequence_group
            )
        else:
            part = accumulate_gradients(model, examples, memory, weight)
        trained = model if self.auxiliary is None else nn.ModuleList([model, self.auxiliary])
        result = group.all_reduce(trained, part)
        score = Score(
            bits_per_base=result.bits.item() / max(batch.target_bases, 1),
            accuracy=result.accuracy.item(),
            num_bases=batch.target_bases,
            num_tokens=result.num_targets if self.per_token else None,
        )
        return StepResult(loss=result.loss.item(), score=score)

    def read_score(self, plain: Row) -> Score:
        """Return a score from its form in the metrics."""
        return Score(**plain)

    def keep(self, model: Model, folder: Path, validations: Sequence[Row]) -> None:
        """Keep nothing besides the checkpoints."""
        del model, folder, validations

    def ends(self, validations: Sequence[Row]) -> bool:
        """Return False: a pretraining run never stops early."""
        del validations
        return False
