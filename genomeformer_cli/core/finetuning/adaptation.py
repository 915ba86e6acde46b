"""Adaptation: the pretraining objective on the unlabelled training rows, before fine-tuning.

Gururangan et al. 2020, "Don't Stop Pretraining: Adapt Language Models to Domains and Tasks",
section 4. Validation and test rows are never read.
Shape letters: B rows, L tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning.batches import draw_epoch, steps_per_epoch
from genomeformer_cli.core.finetuning.run import FinetuningRun
from genomeformer_cli.core.finetuning.splits import TRAIN
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, write_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import prediction_loss
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.seal import check_seal, seal
from genomeformer_cli.core.tokenizers.protocol import require_ordered
from genomeformer_cli.core.training.batches import Batch, make_batch
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import Score

FOLDER = "adapted"
_RUN, _EXAMPLES = "adaptation", 47
_CHECKPOINTS = 10


class RowBatches:
    """Pretraining batches of rows, each a function of the seed and the step.

    Args:
        loaded: Model and tokenizer.
        codes: Bases of the training rows.
        batch_size: Rows per step.
        seed: Seed of order, windows, strands and masks.

    Raises:
        ConfigError: The model is not one of this program.
    """

    def __init__(
        self, loaded: LoadedModel, codes: Sequence[Codes], *, batch_size: int, seed: int
    ) -> None:
        config = loaded.model.config
        if not isinstance(config, ModelConfig):
            raise ConfigError(
                "only models of this program can be adapted with their pretraining objective",
                hint="leave out `--set adapt`",
            )
        self._codes, self._batch_size, self._seed = codes, batch_size, seed
        self._tokenizer, self._model = require_ordered(loaded.tokenizer), config
        lengths = np.array([row.size for row in codes])
        self._epoch = lru_cache(maxsize=2)(
            lambda epoch: draw_epoch(lengths, batch_size, seed, epoch)
        )

    def make(self, step: int) -> Batch:
        """Build the batch of a step; rows longer than the context are cut at random."""
        generator = np.random.default_rng([self._seed, _EXAMPLES, step])
        per_epoch = steps_per_epoch(len(self._codes), self._batch_size)
        ids = []
        for row in self._epoch(step // per_epoch)[step % per_epoch]:
            codes = self._codes[row]
            if generator.random() < 0.5:
                codes = reverse_complement_codes(codes)
            tokens = self._tokenizer.encode(codes)
            start = int(generator.integers(max(tokens.size - self._model.context, 0) + 1))
            ids.append(tokens[start : start + self._model.context])
        longest = max(tokens.size for tokens in ids)
        tokens_BL = np.full((len(ids), longest), self._tokenizer.pad_id, dtype=np.int64)
        for index, tokens in enumerate(ids):
            tokens_BL[index, : tokens.size] = tokens
        windows = Windows(tokens_BL=tokens_BL, soft_mask_BL=np.zeros(tokens_BL.shape, np.bool_))
        return make_batch(step, windows, self._tokenizer, (self._model, MaskingConfig()), generator)


def adapt(finetuning: FinetuningRun, run: Path, reporter: Reporter) -> FinetuningRun:
    """Train or resume the adaptation of a fine-tuning, if it is configured.

    Args:
        finetuning: Settings that all seeds share; the bases of the training rows are read.
        run: Folder of the run.
        reporter: Receives progress.

    Returns:
        Fine-tuning that starts from the adapted weights.

    Raises:
        ConfigError: The model is not one of this program.
        CorruptError: The adapted model is damaged.
    """
    folder = run / FOLDER
    if not finetuning.config.adapt:
        return finetuning
    if not folder.exists():
        loaded = _train(finetuning, run / _RUN, reporter)
        with atomic_folder(folder) as partial:
            write_model(loaded.model, loaded.tokenizer, partial)
            seal(partial)
    check_seal(folder)
    return replace(finetuning, adapted=folder)


def _train(finetuning: FinetuningRun, folder: Path, reporter: Reporter) -> LoadedModel:
    rows, config = finetuning.rows, finetuning.config
    loaded = read_model(finetuning.base)
    loaded.model.to(finetuning.device)
    codes = [rows.codes[row] for row in rows.splits[TRAIN]]
    batch_size = min(config.training.batch_size, len(codes))
    batches = RowBatches(loaded, codes, batch_size=batch_size, seed=config.training.seed)
    steps = math.ceil(config.adapt * steps_per_epoch(len(codes), batch_size))
    longest = min(max(row.size for row in codes), loaded.model.config.context)
    rows_at_once = max(config.tuning.tokens_per_batch // longest, 1)
    interval = max(steps // _CHECKPOINTS, 1)
    folder.mkdir(parents=True, exist_ok=True)
    reporter.note(f"adapting the model to {len(codes):,} unlabelled training rows: {steps:,} steps")
    # Masks that no step draws.
    scored = batches.make(steps)

    def score(model: Model) -> Score:
        examples = scored.examples.to(model.device)
        with torch.inference_mode():
            prediction = prediction_loss(model, examples)
        return Score(
            bits_per_base=prediction.bits.item() / max(scored.target_bases, 1),
            accuracy=prediction.accuracy.item(),
            num_bases=scored.target_bases,
        )

    train(
        TrainingRun(
            folder=folder,
            model=loaded.model,
            tokenizer=loaded.tokenizer,
            batches=batches,
            config=replace(
                config.training,
                steps=steps,
                learning_rate=config.adapt_rate,
                batch_size=batch_size,
                validate_every=interval,
                checkpoint_every=interval,
            ),
            memory=MemoryConfig(plan="full", rows=rows_at_once),
            compute=config.compute,
            validate=score,
        ),
        reporter,
    )
    return loaded
