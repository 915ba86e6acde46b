"""What each step is asked: rows of like length, a pure function of the seed and the step.

An epoch is a permutation of the rows; within stretches of it rows are put beside rows of like
length, and the batches that this makes come in an order drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import batch_windows
from genomeformer_cli.core.finetuning.collate import Collated, Collator
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.labels import LabelSpace, Truth
from genomeformer_cli.core.finetuning.splits import TRAIN, Rows
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.training.batches import StepBatch

_ORDER, _STRANDS, _MUTATION, _SHIFT = 17, 19, 31, 37
_BATCHES_SORTED = 32


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a step that are computed together.

    Attributes:
        chosen: Which of the training rows they are.
        packed: Their bases.
        truth: Their labels.
    """

    chosen: Rows
    packed: Collated
    truth: Tensor

    def pinned(self) -> Part:
        """The same where a GPU can read it by itself."""
        return replace(self, packed=self.packed.pinned(), truth=self.truth.pin_memory())


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """What a step is asked.

    Attributes:
        step: Which one, from 0.
        parts: Computed one after the other.
        num_rows: In all parts.
        num_bases: In all parts.
    """

    step: int
    parts: tuple[Part, ...]
    num_rows: int
    num_bases: int

    def pinned(self) -> StepBatch:
        """The same where a GPU can read it by itself."""
        return replace(self, parts=tuple(part.pinned() for part in self.parts))


def joined_truth(targets: LabelSpace, truth: Sequence[Truth]) -> Tensor:
    """Labels of some rows as the loss takes them."""
    join = np.concatenate if targets.is_exclusive else np.stack
    return torch.from_numpy(join(truth))


def mutated(codes: Codes, share: float, generator: np.random.Generator) -> Codes:
    """Some of the bases are others, each as likely; N stays."""
    drawn = (generator.random(codes.size) < share) & (codes < NUM_REAL_BASES)
    steps = generator.integers(1, NUM_REAL_BASES, codes.size, dtype=np.uint8)
    return np.where(drawn, (codes + steps) % NUM_REAL_BASES, codes).astype(np.uint8)


def shifted(codes: Codes, start: int, shift: int) -> Codes:
    """All but `shift` bases, `start` of them missing at the start; a row as short as that stays."""
    return codes[start : codes.size - shift + start] if codes.size > shift else codes


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Steps that see every row once."""
    return -(-num_rows // batch_size)


class TaskBatches:
    """Makes the batch of any step.

    Args:
        rows: Whose part `train` is drawn from.
        packer: Makes tensors.
        tuning: Strands, and how much is computed at once.
        batch_size: Rows of a step.
        seed: Of order and strands.
    """

    def __init__(
        self,
        rows: LabelledRows,
        packer: Collator,
        tuning: TuningConfig,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self._rows = rows
        self._train = rows.parts[TRAIN]
        self._lengths = np.array([rows.codes[row].size for row in self._train])
        self._packer = packer
        self._tuning = tuning
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = lru_cache(maxsize=2)(self._drawn)

    def make(self, step: int) -> TaskBatch:
        """The batch of a step."""
        per_epoch = steps_per_epoch(self._train.size, self._batch_size)
        chosen = self._epoch(step // per_epoch)[step % per_epoch]
        turned = np.zeros(chosen.size, dtype=np.bool_)
        if self._tuning.strands != "given":
            turned = np.random.default_rng([self._seed, _STRANDS, step]).random(chosen.size) < 0.5
        codes = self._codes(chosen, step)
        parts = [
            self._part(chosen[some], [codes[one] for one in some], turned[some].tolist())
            for some in batch_windows(self._lengths[chosen], self._tuning.tokens_per_batch)
        ]
        return TaskBatch(
            step=step,
            parts=tuple(parts),
            num_rows=chosen.size,
            num_bases=int(self._lengths[chosen].sum()),
        )

    def _codes(self, chosen: Rows, step: int) -> list[Codes]:
        """What stands in rows, or nearly so."""
        codes = [self._rows.codes[row] for row in self._train[chosen]]
        if self._tuning.shift:
            generator = np.random.default_rng([self._seed, _SHIFT, step])
            starts = generator.integers(0, self._tuning.shift + 1, len(codes))
            codes = [
                shifted(one, start, self._tuning.shift)
                for one, start in zip(codes, starts.tolist(), strict=True)
            ]
        if not self._tuning.mutation:
            return codes
        generator = np.random.default_rng([self._seed, _MUTATION, step])
        flat = mutated(np.concatenate(codes), self._tuning.mutation, generator)
        return np.split(flat, np.cumsum([one.size for one in codes])[:-1])

    def _part(self, chosen: Rows, codes: Sequence[Codes], turned: Sequence[bool]) -> Part:
        packed = self._packer.pack(codes, reverse=turned)
        truth = [self._rows.truth[row] for row in self._train[chosen]]
        if self._rows.targets.is_per_base:
            truth = [one[::-1] if turn else one for one, turn in zip(truth, turned, strict=True)]
        return Part(chosen=chosen, packed=packed, truth=joined_truth(self._rows.targets, truth))

    def _drawn(self, epoch: int) -> list[Rows]:
        generator = np.random.default_rng([self._seed, _ORDER, epoch])
        order = generator.permutation(self._train.size)
        stretch = self._batch_size * _BATCHES_SORTED
        for first in range(0, order.size, stretch):
            some = order[first : first + stretch]
            order[first : first + stretch] = some[np.argsort(self._lengths[some], kind="stable")]
        batches = np.split(order, np.arange(self._batch_size, order.size, self._batch_size))
        return [batches[number] for number in generator.permutation(len(batches))]
