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
from genomeformer_cli.core.finetuning.batches import joined_truth
from genomeformer_cli.core.finetuning.head import outputs
from genomeformer_cli.core.finetuning.losses import Loss, answers
from genomeformer_cli.core.finetuning.measures import Floats, TaskScore, measure
from genomeformer_cli.core.finetuning.packing import Packer
from genomeformer_cli.core.finetuning.rows import LabelledRows
from genomeformer_cli.core.finetuning.targets import Targets
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

Progress = Callable[[int], None]


def _no_progress(done: int) -> None:
    del done


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Asks a model.

    Attributes:
        model: With its head.
        packer: Makes tensors.
        targets: What is asked.
        both_strands: Whether outputs are the mean of both strands'.
        tokens_per_batch: Computed at once, padding included.
    """

    model: Model
    packer: Packer
    targets: Targets
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
            said = self._asked(rows, reverse=False)
            if self.both_strands:
                other = self._asked(rows, reverse=True)
                said = [(one + two) / 2 for one, two in zip(said, other, strict=True)]
            for row, one in zip(batch, said, strict=True):
                found[row] = one
            progress(int(lengths[batch].sum()))
        return found

    def _asked(self, rows: Sequence[Codes], *, reverse: bool) -> list[Tensor]:
        packed = self.packer.pack(rows, reverse=[reverse] * len(rows)).to(self.model.device)
        said = outputs(self.model, packed, tokens_at_once=self.tokens_per_batch).cpu()
        if not self.targets.is_per_base:
            return list(torch.split(said, 1))
        parts = torch.split(said, [row.size for row in rows])
        return [part.flip(0) if reverse else part for part in parts]

    def answers(self, codes: Sequence[Codes], progress: Progress = _no_progress) -> list[Floats]:
        """Probabilities or quantities, (1, C) or (bases, C); NaN where there is no real base."""
        real = [row for row, one in enumerate(codes) if (one < NUM_REAL_BASES).any()]
        width = len(self.targets.names)
        found = [
            np.full((one.size if self.targets.is_per_base else 1, width), np.nan) for one in codes
        ]
        for row, said in zip(real, self.outputs([codes[r] for r in real], progress), strict=True):
            found[row] = answers(self.targets, said)
        return found

    def judged(self, rows: LabelledRows, part: str, loss: Loss) -> tuple[TaskScore, list[Floats]]:
        """A score on a part of the rows, and the answers it was made of."""
        chosen = rows.parts[part]
        said = self.outputs([rows.codes[row] for row in chosen])
        truth = [rows.truth[row] for row in chosen]
        true = joined_truth(self.targets, truth)
        joined = torch.cat(said).double()
        total = float(loss.total(joined, true.double() if true.is_floating_point() else true))
        ends = np.cumsum([len(one) for one in said])
        found = np.split(answers(self.targets, joined), ends[:-1])
        score = TaskScore(
            loss=total / max(loss.weight(true), 1e-9),
            measures=measure(self.targets, found, truth),
            num_rows=chosen.size,
        )
        return score, found
