"""Prediction and evaluation with a fine-tuned model.

Shape letters: C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.batch_runner import CPU_TOKENS
from genomeformer_cli.core.embedding.windows import Numbers, batch_windows
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.finetuning.batches import stack_targets
from genomeformer_cli.core.finetuning.collate import CollatedBatch, Collator, FrozenFeatures
from genomeformer_cli.core.finetuning.context_outputs import ContextOutputs
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.head import both_strand_outputs, get_head, head_outputs
from genomeformer_cli.core.finetuning.labels import LabelSpace
from genomeformer_cli.core.finetuning.losses import Loss, to_predictions
from genomeformer_cli.core.finetuning.metrics import Floats, TaskScore, task_metrics
from genomeformer_cli.core.formats.sequences import TileContext
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.distinct import DistinctRows
from genomeformer_cli.core.inference.tile_contexts import SharedContexts
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import has_real_token

Progress = Callable[[int], None]


def ignore_progress(num_bases: int) -> None:
    """Ignore the progress."""
    del num_bases


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Predictor of a fine-tuned model."""

    model: Model  # Model with a head.
    collator: Collator  # Collator of the model.
    label_space: LabelSpace  # Classes or quantities.
    both_strands: bool  # Average the outputs of both strands.
    tokens_per_batch: int  # Tokens computed at once, padding included.
    frozen: FrozenFeatures | None = None  # Features of all sequences; None: the model's own.

    @torch.inference_mode()
    def outputs(
        self,
        codes: Sequence[Codes],
        progress: Progress = ignore_progress,
        contexts: Sequence[TileContext] = (),
    ) -> list[Tensor]:
        """Return the outputs of each sequence, (1, C) or (bases, C), in order.

        Args:
            codes: Base codes, each with a real base.
            progress: Receives the number of bases of each finished batch.
            contexts: Stretches in which the sequences are read; empty: each by itself.
        """
        outputs = (
            self._outputs_in_context(contexts, progress)
            if contexts
            else self._outputs_alone(codes, progress)
        )
        return get_head(self.model).complete_outputs(outputs, codes)

    def _outputs_in_context(
        self, contexts: Sequence[TileContext], progress: Progress
    ) -> list[Tensor]:
        computed = ContextOutputs(
            self.model,
            self.collator,
            both_strands=self.both_strands,
            tokens_per_batch=self._tokens_per_task,
        )
        shared = SharedContexts.of_tiles(contexts, self.collator.tokenizer)
        return computed.outputs(shared, progress)

    def _outputs_alone(self, codes: Sequence[Codes], progress: Progress) -> list[Tensor]:
        distinct = DistinctRows.of_sequences(codes)
        progress(sum(codes[row].size for row in distinct.repeats))
        lengths = np.array([codes[row].size for row in distinct.first_D], dtype=np.int64)
        batches = batch_windows(lengths, self._tokens_per_task)
        cost = BatchCost.of_model(self.model)
        # One array for all rows: many small ones between the activations would fragment the heap.
        sizes = lengths.tolist() if self.label_space.is_per_base else [1] * len(lengths)
        out = get_head(self.model).out
        all_outputs = torch.empty(sum(sizes), out.out_features, dtype=out.weight.dtype)
        outputs_D = torch.split(all_outputs, sizes) if sizes else ()

        def compute(batch: Numbers) -> None:
            rows = self._outputs_of_batch([codes[row] for row in distinct.first_D[batch]])
            for index, row_outputs in zip(batch, rows, strict=True):
                outputs_D[index].copy_(row_outputs)

        def report(batch: Numbers) -> None:
            progress(int(lengths[batch].sum()))

        run_tasks(
            compute,
            batches,
            device=self.model.device,
            demand=cost.demand((len(batch), int(lengths[batch[0]])) for batch in batches),
            on_done=report,
        )
        return [outputs_D[index] for index in distinct.distinct_N]

    @property
    def _tokens_per_task(self) -> int:
        """Tokens of a task; small ones fit into the cache of a core."""
        is_cpu = self.model.device.type == "cpu"
        return min(self.tokens_per_batch, CPU_TOKENS) if is_cpu else self.tokens_per_batch

    def _outputs_of_batch(self, rows: Sequence[Codes]) -> list[Tensor]:
        batch = self._collate(rows)
        if not self.both_strands:
            return self._split_by_row(
                head_outputs(self.model, batch, None, self.tokens_per_batch), rows
            )
        is_whole = len(batch.tokens_WL) == len(rows) and self.frozen is None
        if self.model.is_equivariant and is_whole:
            mean_outputs = both_strand_outputs(self.model, batch, self.tokens_per_batch)
            return self._split_by_row(mean_outputs, rows)
        reverse_batch = self._collate([reverse_complement_codes(row) for row in rows])
        forward, reverse = (
            self._split_by_row(
                head_outputs(self.model, strand_batch, None, self.tokens_per_batch), rows
            )
            for strand_batch in (batch, reverse_batch)
        )
        per_base = self.label_space.is_per_base
        return [
            (outputs_of_row + (reverse_of_row.flip(0) if per_base else reverse_of_row)) / 2
            for outputs_of_row, reverse_of_row in zip(forward, reverse, strict=True)
        ]

    def _collate(self, rows: Sequence[Codes]) -> CollatedBatch:
        batch = self.collator.collate(rows)
        if self.frozen is not None:
            batch = self.frozen.attach(batch, rows)
        return batch.to(self.model.device)

    def _split_by_row(self, outputs: Tensor, rows: Sequence[Codes]) -> list[Tensor]:
        sizes = [row.size for row in rows] if self.label_space.is_per_base else [1] * len(rows)
        return list(torch.split(outputs.cpu(), sizes))

    def predict(
        self,
        codes: Sequence[Codes],
        progress: Progress = ignore_progress,
        contexts: Sequence[TileContext] = (),
    ) -> list[Floats]:
        """Return probabilities or quantities, (1, C) or (bases, C); NaN without a real token.

        Args:
            codes: Base codes.
            progress: Receives the number of bases of each finished batch.
            contexts: Stretches in which the sequences are read; empty: each by itself.
        """
        real_rows = [
            row
            for row, row_codes in enumerate(codes)
            if has_real_token(self.collator.tokenizer, row_codes)
        ]
        width = len(self.label_space.names)
        predictions = [
            np.full((row_codes.size if self.label_space.is_per_base else 1, width), np.nan)
            for row_codes in codes
        ]
        real_contexts = [contexts[row] for row in real_rows] if contexts else ()
        outputs = self.outputs([codes[row] for row in real_rows], progress, real_contexts)
        for row, row_outputs in zip(real_rows, outputs, strict=True):
            predictions[row] = to_predictions(self.label_space, row_outputs)
            if not np.isfinite(predictions[row]).all():
                raise CheckpointError(
                    "the model computes values that are not finite for a sequence with bases",
                    hint="its weights are too large or damaged; fetch or fine-tune it again",
                )
        return predictions

    def predict_distinct(
        self, codes: Sequence[Codes], progress: Progress = ignore_progress
    ) -> list[Floats]:
        """Return the predictions of `predict`, computed once per distinct sequence.

        Sequences that are reverse complements of each other count as one where the model averages
        both strands: repeats of a genome, and its second strand, cost nothing.
        """
        is_symmetric = self.both_strands and not self.label_space.is_per_base
        index: dict[bytes, int] = {}
        distinct: list[Codes] = []
        places: list[int] = []
        repeated = 0
        for row_codes in codes:
            key = row_codes.tobytes()
            if is_symmetric:
                key = min(key, reverse_complement_codes(row_codes).tobytes())
            place = index.setdefault(key, len(distinct))
            places.append(place)
            if place == len(distinct):
                distinct.append(row_codes)
            else:
                repeated += row_codes.size
        predictions = self.predict(distinct, progress)
        progress(repeated)
        return [predictions[place] for place in places]

    def evaluate(
        self, rows: LabelledRows, split: str, loss: Loss
    ) -> tuple[TaskScore, list[Floats]]:
        """Return the score on a split of the rows, and the predictions."""
        outputs = self.outputs([rows.codes[row] for row in rows.splits[split]])
        return evaluate_predictions(outputs, rows, split, loss)


def evaluate_predictions(
    outputs: Sequence[Tensor], rows: LabelledRows, split: str, loss: Loss
) -> tuple[TaskScore, list[Floats]]:
    """Return the score of outputs on a split of the rows, and the predictions."""
    label_space = rows.label_space
    targets = [rows.targets[row] for row in rows.splits[split]]
    all_targets = stack_targets(label_space, targets)
    all_outputs = torch.cat(list(outputs)).double()
    total = float(
        loss.total(
            all_outputs, all_targets.double() if all_targets.is_floating_point() else all_targets
        )
    )
    ends = np.cumsum([len(row_outputs) for row_outputs in outputs])
    predictions = np.split(to_predictions(label_space, all_outputs), ends[:-1])
    score = TaskScore(
        loss=total / max(loss.weight(all_targets), 1e-9),
        measures=task_metrics(label_space, predictions, targets),
        num_rows=len(targets),
    )
    return score, predictions
