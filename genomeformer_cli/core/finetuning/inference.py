"""What a fine-tuned model says of sequences, and how good that is.

Shape letters: C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import batch_windows
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.finetuning.batches import joined_truth
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.head import head_of, outputs, outputs_of_both_strands
from genomeformer_cli.core.finetuning.labels import LabelSpace
from genomeformer_cli.core.finetuning.losses import Loss, answers
from genomeformer_cli.core.finetuning.metrics import Floats, TaskScore, measure
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

Progress = Callable[[int], None]


def _no_progress(done: int) -> None:
    del done


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Asks a model.

    Attributes:
        model: With its head.
        packer: Makes tensors.
        targets: What is asked.
        both_strands: Whether outputs are the mean of both strands'.
        tokens_per_batch: Computed at once, padding included.
    """

    model: Model
    packer: Collator
    targets: LabelSpace
    both_strands: bool
    tokens_per_batch: int

    @torch.inference_mode()
    def outputs(self, codes: Sequence[Codes], progress: Progress = _no_progress) -> list[Tensor]:
        """Outputs of each sequence, (1, C) or (bases, C), in their order.

        Args:
            codes: Base codes, each with a real base.
            progress: Is told of the bases that are done.
        """
        found: list[Tensor] = [torch.empty(0)] * len(codes)
        lengths = np.array([row.size for row in codes], dtype=np.int64)
        for batch in batch_windows(lengths, self.tokens_per_batch):
            rows = [codes[row] for row in batch]
            for row, one in zip(batch, self._said(rows), strict=True):
                found[row] = one
            progress(int(lengths[batch].sum()))
        linear = head_of(self.model).linear
        if linear is None:
            return found
        beside = linear.outputs(codes)
        return [one + other for one, other in zip(found, beside[:, None], strict=True)]

    def _said(self, rows: Sequence[Codes]) -> list[Tensor]:
        packed = self.packer.pack(rows).to(self.model.device)
        if not self.both_strands:
            return self._parted(outputs(self.model, packed, None, self.tokens_per_batch), rows)
        if self.model.is_equivariant and len(packed.tokens_WL) == len(rows):
            said = outputs_of_both_strands(self.model, packed, self.tokens_per_batch)
            return self._parted(said, rows)
        turned = self.packer.pack(rows, reverse=[True] * len(rows)).to(self.model.device)
        here, there = (
            self._parted(outputs(self.model, one, None, self.tokens_per_batch), rows)
            for one in (packed, turned)
        )
        per_base = self.targets.is_per_base
        return [
            (one + (other.flip(0) if per_base else other)) / 2
            for one, other in zip(here, there, strict=True)
        ]

    def _parted(self, said: Tensor, rows: Sequence[Codes]) -> list[Tensor]:
        sizes = [row.size for row in rows] if self.targets.is_per_base else [1] * len(rows)
        return list(torch.split(said.cpu(), sizes))

    def answers(self, codes: Sequence[Codes], progress: Progress = _no_progress) -> list[Floats]:
        """Probabilities or quantities, (1, C) or (bases, C); NaN where there is no real base."""
        real = [row for row, one in enumerate(codes) if (one < NUM_REAL_BASES).any()]
        width = len(self.targets.names)
        found = [
            np.full((one.size if self.targets.is_per_base else 1, width), np.nan) for one in codes
        ]
        for row, said in zip(real, self.outputs([codes[r] for r in real], progress), strict=True):
            found[row] = answers(self.targets, said)
            if not np.isfinite(found[row]).all():
                raise CheckpointError(
                    "the model gives no finite numbers for a sequence that has bases",
                    hint="its weights are too large or damaged; fetch or fine-tune it again",
                )
        return found

    def judged(self, rows: LabelledRows, part: str, loss: Loss) -> tuple[TaskScore, list[Floats]]:
        """A score on a part of the rows, and the answers it was made of."""
        said = self.outputs([rows.codes[row] for row in rows.parts[part]])
        return evaluate_predictions(said, rows, part, loss)


def evaluate_predictions(
    said: Sequence[Tensor], rows: LabelledRows, part: str, loss: Loss
) -> tuple[TaskScore, list[Floats]]:
    """A score of outputs for a part of the rows, and the answers they are."""
    targets = rows.targets
    truth = [rows.truth[row] for row in rows.parts[part]]
    true = joined_truth(targets, truth)
    joined = torch.cat(list(said)).double()
    total = float(loss.total(joined, true.double() if true.is_floating_point() else true))
    ends = np.cumsum([len(one) for one in said])
    found = np.split(answers(targets, joined), ends[:-1])
    score = TaskScore(
        loss=total / max(loss.weight(true), 1e-9),
        measures=measure(targets, found, truth),
        num_rows=len(truth),
    )
    return score, found
