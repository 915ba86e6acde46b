"""Precision of stored weights, and its cost on held-out bases.

All computation is in float32; fewer bits lose information. The same queries are scored with both,
and weights that lose more than `MOST_LOST` bits per base are not released.
Shape letters: L length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.evaluation.likelihood import score_windows
from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.model_io.model_folder import whole_tensors
from genomeformer_cli.core.model_io.quantize import METHOD, dequantize_tensors, quantize_tensors
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.metrics import Score

StoredType = Literal["fp32", "bf16", "fp16"]

MOST_LOST = 0.002
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Precision of stored weights."""

    dtype: StoredType = "fp32"  # Type of the numbers.
    # `int8`: matrices in 8 bits with one scale per row, other tensors as `dtype`.
    quantize: Literal["int8"] | None = None

    @property
    def is_exact(self) -> bool:
        """True if no precision is lost."""
        return self.dtype == "fp32" and self.quantize is None

    @property
    def name(self) -> str:
        """Description in words."""
        type_name = str(_TYPES[self.dtype]).removeprefix("torch.")
        if self.quantize is None:
            return type_name
        return f"int8 with a float32 scale a row of each matrix, the rest {type_name}"

    def plain(self) -> dict[str, object]:
        """Return the entries of `config.json`."""
        plain: dict[str, object] = {"dtype": str(_TYPES[self.dtype]).removeprefix("torch.")}
        if self.quantize is not None:
            plain["quantization"] = {"method": METHOD, "bits": 8}
        return plain


@dataclass(frozen=True, kw_only=True)
class StorageCost:
    """Cost of storing, on the same held-out queries."""

    exact: Score  # Score of the weights as trained.
    stored: Score  # Score of the weights as stored.
    mean_change: float  # Mean absolute difference of the bits of a query.

    @property
    def loss(self) -> float:
        """Bits per base lost; negative if the stored weights score better."""
        return self.stored.bits_per_base - self.exact.bits_per_base


def stored_tensors(model: Model, storage: Storage) -> dict[str, Tensor]:
    """Return the tensors of a model as stored.

    Raises:
        CheckpointError: A weight exceeds the range of the type.
    """
    kind = _TYPES[storage.dtype]
    weights = {name for name, _ in model.named_parameters()}
    tensors = whole_tensors(model)
    if storage.quantize is not None:
        tensors = quantize_tensors(tensors, weights)
    for name in weights & tensors.keys():
        if tensors[name].is_floating_point():
            tensors[name] = tensors[name].to(kind)
            if not bool(tensors[name].isfinite().all()):
                raise CheckpointError(
                    f"`{name}` holds weights that `{storage.dtype}` cannot", hint="choose `bf16`"
                )
    return tensors


def model_as_stored(model: Model, tensors: Mapping[str, Tensor]) -> Model:
    """Return the model as loaded from the stored tensors."""
    copy = build_model(model.config).to(model.device)
    copy.load_state_dict(dequantize_tensors(tensors))
    return copy.eval()


def cost_of_storing(exact: Model, stored: Model, queries: Queries) -> StorageCost:
    """Score the same queries with both models.

    Raises:
        CheckpointError: The stored weights lose more than `MOST_LOST`.
    """
    before, after = score_windows(exact, queries), score_windows(stored, queries)
    cost = StorageCost(
        exact=before.score(),
        stored=after.score(),
        mean_change=float(np.abs(after.bits_N - before.bits_N).mean()),
    )
    if not cost.loss <= MOST_LOST:
        raise CheckpointError(
            f"stored weights of this precision score held-out bases worse by {cost.loss:.4f} "
            "bits per "
            f"base; {MOST_LOST} is the most that is released",
            hint="store them in `--dtype bf16`, or as they are",
        )
    return cost
