"""Pooled features of an encoder that is not trained, computed once before the first step.

Shape letters: D distinct sequences, B rows of a batch, K pooled features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.batch_runner import CPU_TOKENS
from genomeformer_cli.core.embedding.windows import Numbers, batch_windows
from genomeformer_cli.core.finetuning.collate import Collator, FrozenFeatures, digest
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.head import get_head, position_features
from genomeformer_cli.core.finetuning.splits import TRAIN, VALIDATION
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes

# A constant, so that a resumed run computes on the same numbers whatever memory is free.
MOST_BYTES = 1 << 30
_FLOAT_BYTES = 4


def features_of_training(
    model: Model, collator: Collator, rows: LabelledRows, config: FinetuneConfig, reporter: Reporter
) -> FrozenFeatures | None:
    """Compute the pooled features that training and validation read, equal sequences once.

    Args:
        model: Model with a head.
        collator: Collator of the model.
        rows: Labelled rows.
        config: Resolved configuration.
        reporter: Receives progress, and a note if the features need too much memory.

    Returns:
        Features; None if the encoder is trained, its sequences or pooling change from step to step,
        the steps read fewer rows, or the features would take more than `MOST_BYTES`.
    """
    tuning, pools = config.tuning, get_head(model).pool.split("-")
    if tuning.method != "head" or not {*pools} <= {"mean", "max"}:
        return None
    if tuning.mutation or tuning.shift:
        return None
    validation = [rows.codes[row] for row in rows.splits[VALIDATION]]
    if tuning.strands == "average":
        validation += [reverse_complement_codes(row) for row in validation]
    training = [rows.codes[row] for row in rows.splits[TRAIN]]
    if tuning.strands != "given":
        training += [reverse_complement_codes(row) for row in training]
    if len(training) > config.training.steps * config.training.batch_size:
        return None
    index: dict[bytes, int] = {}
    distinct: list[Codes] = []
    for sequence in (*training, *validation):
        if index.setdefault(digest(sequence), len(distinct)) == len(distinct):
            distinct.append(sequence)
    num_bytes = len(distinct) * len(pools) * model.feature_width * _FLOAT_BYTES
    if num_bytes > MOST_BYTES:
        reporter.note(
            f"features of {len(distinct):,} sequences would take {num_bytes / 1e9:.1f} GB, more "
            f"than {MOST_BYTES / 1e9:.1f}: every step computes its own"
        )
        return None
    tokens = tuning.tokens_per_batch
    if model.device.type == "cpu":
        tokens = min(tokens, CPU_TOKENS)
    return FrozenFeatures(_compute(model, collator, distinct, tokens, reporter), index)


def _compute(
    model: Model,
    collator: Collator,
    sequences: Sequence[Codes],
    tokens_per_batch: int,
    reporter: Reporter,
) -> Tensor:
    """Return the pooled features (D, K) of sequences, computed on all cores."""
    head = get_head(model)
    lengths = np.array([sequence.size for sequence in sequences], dtype=np.int64)
    batches = batch_windows(lengths, tokens_per_batch)
    features_DK = torch.empty(len(sequences), model.feature_width * len(head.pool.split("-")))

    def compute(batch: Numbers) -> None:
        inputs = collator.collate([sequences[row] for row in batch]).to(model.device)
        pooled_BK = head.pool_features(position_features(model, inputs, tokens_per_batch), inputs)
        features_DK[torch.from_numpy(batch)] = pooled_BK.cpu()

    shapes = [(len(batch), int(lengths[batch[0]])) for batch in batches]
    with reporter.track("features", int(lengths.sum()), "bases") as tracker:
        run_tasks(
            compute,
            batches,
            device=model.device,
            demand=BatchCost.of_model(model).demand(shapes),
            on_done=lambda batch: tracker.advance(int(lengths[batch].sum())),
        )
    return features_DK
