"""Outputs of a fine-tuned model for tiles that are read within longer stretches.

Shape letters: B stretches of a batch, L length, F their positions, N tiles, P positions of tiles
that count, E width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import Numbers, batch_windows
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.head import get_head, mean_of_strands
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.tile_contexts import SharedContexts
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.protocol import Model

# Positions of tiles that the head reads at once.
_POSITIONS_AT_ONCE = 16_384


class ContextOutputs:
    """Model with a head that reads the features of tiles from those of their stretches.

    Args:
        model: Model with a head.
        collator: Collator of the model.
        both_strands: Average the outputs of both strands.
        tokens_per_batch: Tokens computed at once, padding included.
    """

    def __init__(
        self, model: Model, collator: Collator, *, both_strands: bool, tokens_per_batch: int
    ) -> None:
        self._model = model
        self._collator = collator
        self._both_strands = both_strands
        self._tokens_per_batch = tokens_per_batch

    def outputs(self, shared: SharedContexts, progress: Callable[[int], None]) -> list[Tensor]:
        """Return the outputs (1, C) or (bases, C) of every tile, on the CPU.

        Args:
            shared: Stretches and tiles, each with a real base.
            progress: Receives the number of bases of the tiles of each finished batch.
        """
        length_D = np.array([codes.size for codes in shared.codes_D], dtype=np.int64)
        size_N, members_D = shared.stop_N - shared.start_N, shared.tiles_by_context()
        batches = batch_windows(length_D, self._tokens_per_batch)
        reverse = shared.reverse_complement if self._both_strands else None
        outputs: list[Tensor] = [torch.empty(0)] * size_N.size

        def compute(batch: Numbers) -> None:
            tiles = np.concatenate([members_D[context] for context in batch])
            rows = self._strand_outputs(shared, batch, tiles, reverse=False)
            if reverse is not None and not self._model.is_equivariant:
                rows = [
                    (row + reverse_row) / 2
                    for row, reverse_row in zip(
                        rows, self._strand_outputs(reverse, batch, tiles, reverse=True), strict=True
                    )
                ]
            for tile, row in zip(tiles, rows, strict=True):
                outputs[tile] = row

        def report(batch: Numbers) -> None:
            progress(sum(int(size_N[members_D[context]].sum()) for context in batch))

        cost = BatchCost.of_model(self._model)
        shapes = [(len(batch), int(length_D[batch[0]])) for batch in batches]
        run_tasks(
            compute,
            batches,
            device=self._model.device,
            demand=cost.demand(shapes),
            on_done=report,
        )
        return outputs

    def _strand_outputs(
        self, shared: SharedContexts, batch: Numbers, tiles: Numbers, *, reverse: bool
    ) -> list[Tensor]:
        """Return the outputs of tiles in some stretches, bases in the order of the tile."""
        tokenizer, model = self._collator.tokenizer, self._model
        length = max(shared.codes_D[context].size for context in batch)
        tokens_BL = np.full((len(batch), length), tokenizer.pad_id, dtype=np.int64)
        for index, context in enumerate(batch):
            ids = tokenizer.encode(shared.codes_D[context])
            tokens_BL[index, : ids.size] = ids
        tokens = torch.from_numpy(tokens_BL)
        mask_BL = padding_mask(tokens, tokenizer.pad_id)
        mask_BL = None if mask_BL is None else mask_BL.to(model.device)
        features_BLE = model.hidden(tokens.to(model.device), mask_BL).flatten(0, 1)
        row_of = {int(context): index for index, context in enumerate(batch)}
        first_N = [row_of[int(shared.context_N[tile])] * length for tile in tiles]
        size_N = (shared.stop_N - shared.start_N)[tiles]
        at_once = max(_POSITIONS_AT_ONCE // int(size_N.max()), 1)
        outputs: list[Tensor] = []
        for first in range(0, len(tiles), at_once):
            part = slice(first, first + at_once)
            outputs += self._head_outputs(
                shared, tiles[part], features_BLE, first_N[part], reverse=reverse
            )
        return outputs

    def _head_outputs(
        self,
        shared: SharedContexts,
        tiles: Numbers,
        features_FE: Tensor,
        first_N: Sequence[int],
        *,
        reverse: bool,
    ) -> list[Tensor]:
        """Return the outputs of tiles, from the features of all positions of the stretches."""
        spans = [slice(shared.start_N[tile], shared.stop_N[tile]) for tile in tiles]
        rows = [
            shared.codes_D[shared.context_N[tile]][span]
            for tile, span in zip(tiles, spans, strict=True)
        ]
        place_P = np.concatenate(
            [
                first + span.start + self._collator.counted_places(row)
                for first, span, row in zip(first_N, spans, rows, strict=True)
            ]
        )
        batch = self._collator.collate(rows).to(features_FE.device)
        features_PE = features_FE[torch.from_numpy(place_P).to(features_FE.device)]
        if self._both_strands and self._model.is_equivariant:
            outputs = mean_of_strands(self._model, features_PE, batch)
        else:
            outputs = get_head(self._model)(features_PE, batch)
        per_base = self._collator.per_base
        sizes = [row.size if per_base else 1 for row in rows]
        split = torch.split(outputs.cpu(), sizes)
        return [part.flip(0) for part in split] if reverse and per_base else list(split)
