"""Batches of a training: epochs, mutations and shifts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.finetuning.batches import TaskBatches, crop, mutate, steps_per_epoch
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.unit.core.finetuning.test_run import examples, rows_of


def test_an_epoch_has_every_row_once_beside_rows_of_like_length() -> None:
    rows = rows_of(examples(200))
    packer = Collator(tokenizer=CharTokenizer(), window=48, per_base=False)

    def made(step: int, seed: int = 0) -> list[bytes]:
        tuning = TuningConfig(tokens_per_batch=256)
        batches = TaskBatches(rows, packer, tuning, batch_size=8, seed=seed)
        return [
            part.inputs.tokens_WL.numpy().tobytes() for part in batches.make(step).micro_batches
        ]

    assert made(3) == made(3)
    assert made(3) != made(3, seed=1)
    batches = TaskBatches(rows, packer, TuningConfig(), batch_size=8, seed=0)
    per_epoch = steps_per_epoch(rows.splits["train"].size, 8)
    for epoch in (0, 1):
        steps = [batches.make(epoch * per_epoch + n) for n in range(per_epoch)]
        assert sum(step.num_rows for step in steps) == rows.splits["train"].size
        bases = sum(rows.codes[row].size for row in rows.splits["train"])
        assert sum(step.num_bases for step in steps) == bases
    assert made(0) != made(per_epoch)


def test_mutated_bases_are_others_and_n_stays() -> None:
    codes = np.tile(np.arange(5, dtype=np.uint8), 4_000)
    found = mutate(codes, 0.2, np.random.default_rng(0))
    real = codes < 4
    assert found.dtype == codes.dtype
    assert (found[~real] == 4).all()
    assert found[real].max() < 4
    changed = (found != codes)[real]
    assert 0.18 < changed.mean() < 0.22
    # An A becomes each of the others a third of the time.
    shares = np.bincount(found[(codes == 0) & (found != 0)], minlength=4) / changed[::4].sum()
    np.testing.assert_allclose(shares, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.08)


def test_each_step_mutates_anew_and_any_step_alike() -> None:
    rows = rows_of(examples(60))
    packer = Collator(tokenizer=CharTokenizer(), window=48, per_base=False)

    def tokens(step: int, share: float) -> Tensor:
        batches = TaskBatches(rows, packer, TuningConfig(mutation=share), batch_size=64, seed=0)
        return batches.make(step).micro_batches[0].inputs.tokens_WL

    assert torch.equal(tokens(0, 0.1), tokens(0, 0.1))
    assert 0 < float((tokens(0, 0.1) != tokens(0, 0.0)).float().mean()) < 0.1


def test_a_shift_leaves_out_as_many_bases_at_any_place() -> None:
    rows = rows_of(examples(60))
    packer = Collator(tokenizer=CharTokenizer(), window=128, per_base=False)

    def bases(step: int, shift: int) -> list[bytes]:
        tuning = TuningConfig(shift=shift)
        (part,) = TaskBatches(rows, packer, tuning, batch_size=64, seed=0).make(step).micro_batches
        return [row[row > 0].numpy().tobytes() for row in part.inputs.tokens_WL]

    assert bases(0, 5) == bases(0, 5)
    places = set()
    for part, whole in zip(bases(0, 5), bases(0, 0), strict=True):
        assert len(part) == len(whole) - 5 * 8
        places |= {whole[start * 8 :].startswith(part) and start for start in range(6)}
    assert places >= {0, 1, 2, 3, 4, 5}
    assert crop(np.zeros(5, np.uint8), 2, 5).size == 5
