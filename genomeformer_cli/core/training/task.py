"""What a run learns, as far as the loop must know it.

One loop trains everything: it counts steps, sets the learning rate, clips, guards, averages, writes
metrics and checkpoints, resumes. What depends on the task it asks of a `TrainingTask`: here that of
pretraining, in `core/finetuning` that of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.memory_plans.sequence_parallel import sequence_parallel_gradients
from genomeformer_cli.core.models.genomeformer.build import Model
from genomeformer_cli.core.training.batches import Batch, StepBatch
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import ProcessGroup
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.optimizer import Optimizers, build_optimizers

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What the gradients of a step were of.

    Attributes:
        loss: To see that it is a number.
        score: On the step's targets, a dataclass of plain values.
    """

    loss: float
    score: Any


class TrainingTask(Protocol):
    """A task."""

    def optimizers(self, model: Model, config: TrainingConfig) -> Optimizers:
        """What moves the weights."""

    def gradients(
        self, model: Model, batch: StepBatch, memory: MemoryConfig, team: ProcessGroup
    ) -> StepResult:
        """Give the weights the gradients of a step, of all processes of the team together."""

    def read_score(self, plain: Row) -> Any:
        """A score as it stands in the metrics."""

    def keep(self, model: Model, folder: Path, validations: Sequence[Row]) -> None:
        """Look at the validations so far, the last of them of the weights as they are now.

        Args:
            model: What is trained; if there is an average of its weights, with that in it.
            folder: Of the run.
            validations: Rows of the metrics that have one.
        """

    def ends(self, validations: Sequence[Row]) -> bool:
        """Whether the run ends here, before its last step."""


@dataclass(frozen=True, kw_only=True)
class PretrainingTask:
    """Prediction of bases; every step is taken, the last weights are the result.

    Attributes:
        per_token: Whether scores are told per token too: tokens are more than single bases.
    """

    per_token: bool = False

    def optimizers(self, model: Model, config: TrainingConfig) -> Optimizers:
        """AdamW, or Muon beside it."""
        return build_optimizers(model, config)

    def gradients(
        self, model: Model, batch: StepBatch, memory: MemoryConfig, team: ProcessGroup
    ) -> StepResult:
        """By the run's memory plan, or along the processes that hold stretches of a row."""
        assert isinstance(batch, Batch)
        examples = batch.examples.to(model.device)
        weight = batch.total_weight.to(model.device)
        if team.line is not None:
            part = sequence_parallel_gradients(model, examples, memory, weight, team.line)
        else:
            part = accumulate_gradients(model, examples, memory, weight)
        result = team.all_reduce(model, part)
        score = Score(
            bits_per_base=result.bits.item() / max(batch.target_bases, 1),
            accuracy=result.accuracy.item(),
            num_bases=batch.target_bases,
            num_tokens=result.num_targets if self.per_token else None,
        )
        return StepResult(loss=result.loss.item(), score=score)

    def read_score(self, plain: Row) -> Score:
        """A score as it stands in the metrics."""
        return Score(**plain)

    def keep(self, model: Model, folder: Path, validations: Sequence[Row]) -> None:
        """Nothing but the checkpoints."""
        del model, folder, validations

    def ends(self, validations: Sequence[Row]) -> bool:
        """Never."""
        del validations
        return False
