"""Training batches: rows of similar length, a pure function of the seed and the step.

An epoch is a permutation of the rows; within chunks of it rows are sorted by length, and the
resulting batches are shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import batch_windows
from genomeformer_cli.core.finetuning.collate import CollatedBatch, Collator, FrozenFeatures
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.labels import LabelSpace, TargetArray
from genomeformer_cli.core.finetuning.splits import TRAIN, RowIndices
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes
from genomeformer_cli.core.training.batches import StepBatch

_ORDER, _STRANDS, _MUTATION, _SHIFT = 17, 19, 31, 37
_BATCHES_SORTED = 32


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Rows of a step that are computed together."""

    rows: RowIndices  # Indices into the training rows.
    inputs: CollatedBatch  # Collated bases.
    targets: Tensor  # Labels.

    def pinned(self) -> MicroBatch:
        """Return a copy in pinned memory."""
        return replace(self, inputs=self.inputs.pinned(), targets=self.targets.pin_memory())


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """Batch of one training step."""

    step: int  # Step number, from 0.
    micro_batches: tuple[MicroBatch, ...]  # Parts that are computed one after the other.
    num_rows: int  # Rows of all parts.
    num_bases: int  # Bases of all parts.

    def pinned(self) -> StepBatch:
        """Return a copy in pinned memory."""
        return replace(
            self, micro_batches=tuple(micro_batch.pinned() for micro_batch in self.micro_batches)
        )


def stack_targets(label_space: LabelSpace, targets: Sequence[TargetArray]) -> Tensor:
    """Combine the labels of rows into the tensor of the loss."""
    combine = np.concatenate if label_space.is_exclusive else np.stack
    return torch.from_numpy(combine(targets))


def mutate(codes: Codes, rate: float, generator: np.random.Generator) -> Codes:
    """Replace a random fraction of the bases by other bases, uniformly; N is kept."""
    is_mutated = (generator.random(codes.size) < rate) & (codes < NUM_REAL_BASES)
    steps = generator.integers(1, NUM_REAL_BASES, codes.size, dtype=np.uint8)
    return np.where(is_mutated, (codes + steps) % NUM_REAL_BASES, codes).astype(np.uint8)


def crop(codes: Codes, num_removed_at_start: int, num_removed: int) -> Codes:
    """Remove bases from both ends; return a row without enough bases unchanged.

    Args:
        codes: Base codes.
        num_removed_at_start: Bases to remove at the start, at most `num_removed`.
        num_removed: Bases to remove in total.
    """
    return (
        codes[num_removed_at_start : codes.size - num_removed + num_removed_at_start]
        if codes.size > num_removed
        else codes
    )


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Return the number of steps of one pass over the rows."""
    return -(-num_rows // batch_size)


def draw_epoch(lengths: RowIndices, batch_size: int, seed: int, epoch: int) -> list[RowIndices]:
    """Return the rows of each step of an epoch, rows of similar length together."""
    generator = np.random.default_rng([seed, _ORDER, epoch])
    order = generator.permutation(lengths.size)
    chunk_size = batch_size * _BATCHES_SORTED
    for first in range(0, order.size, chunk_size):
        chunk = order[first : first + chunk_size]
        order[first : first + chunk_size] = chunk[np.argsort(lengths[chunk], kind="stable")]
    batches = np.split(order, np.arange(batch_size, order.size, batch_size))
    return [batches[number] for number in generator.permutation(len(batches))]


@dataclass(eq=False)
class TaskBatches:
    """Factory of the batch of any step."""

    rows: LabelledRows  # Labelled rows; batches are drawn from the split `train`.
    collator: Collator  # Collator of the model.
    tuning: TuningConfig  # Strands, augmentation and tokens per micro batch.
    _: KW_ONLY
    batch_size: int  # Rows per step.
    seed: int  # Seed of the order, the strands and the augmentation.
    frozen: FrozenFeatures | None = None  # Features of all rows; None: the model computes them.

    def __post_init__(self) -> None:
        self._train = self.rows.splits[TRAIN]
        self._lengths = np.array([self.rows.codes[row].size for row in self._train])
        self._epoch = lru_cache(maxsize=2)(
            lambda epoch: draw_epoch(self._lengths, self.batch_size, self.seed, epoch)
        )

    def make(self, step: int) -> TaskBatch:
        """Return the batch of a step."""
        per_epoch = steps_per_epoch(self._train.size, self.batch_size)
        rows = self._epoch(step // per_epoch)[step % per_epoch]
        is_reversed = np.zeros(rows.size, dtype=np.bool_)
        if self.tuning.strands != "given":
            is_reversed = np.random.default_rng([self.seed, _STRANDS, step]).random(rows.size) < 0.5
        codes = self._codes(rows, step)
        micro_batches = [
            self._make_micro_batch(
                rows[micro_batch],
                [codes[position] for position in micro_batch],
                is_reversed[micro_batch].tolist(),
            )
            for micro_batch in batch_windows(self._lengths[rows], self.tuning.tokens_per_batch)
        ]
        return TaskBatch(
            step=step,
            micro_batches=tuple(micro_batches),
            num_rows=rows.size,
            num_bases=int(self._lengths[rows].sum()),
        )

    def _codes(self, rows: RowIndices, step: int) -> list[Codes]:
        """Return the bases of rows, augmented as configured."""
        codes = [self.rows.codes[row] for row in self._train[rows]]
        if self.tuning.shift:
            generator = np.random.default_rng([self.seed, _SHIFT, step])
            starts = generator.integers(0, self.tuning.shift + 1, len(codes))
            codes = [
                crop(codes_of_row, start, self.tuning.shift)
                for codes_of_row, start in zip(codes, starts.tolist(), strict=True)
            ]
        if not self.tuning.mutation:
            return codes
        generator = np.random.default_rng([self.seed, _MUTATION, step])
        flat = mutate(np.concatenate(codes), self.tuning.mutation, generator)
        return np.split(flat, np.cumsum([codes_of_row.size for codes_of_row in codes])[:-1])

    def _make_micro_batch(
        self, rows: RowIndices, codes: Sequence[Codes], is_reversed: Sequence[bool]
    ) -> MicroBatch:
        read = [
            reverse_complement_codes(row) if is_row_reversed else row
            for row, is_row_reversed in zip(codes, is_reversed, strict=True)
        ]
        inputs = self.collator.collate(read)
        if self.frozen is not None:
            inputs = self.frozen.attach(inputs, read)
        targets = [self.rows.targets[row] for row in self._train[rows]]
        if self.rows.label_space.is_per_base:
            targets = [
                target[::-1] if is_row_reversed else target
                for target, is_row_reversed in zip(targets, is_reversed, strict=True)
            ]
        return MicroBatch(
            rows=rows, inputs=inputs, targets=stack_targets(self.rows.label_space, targets)
        )
