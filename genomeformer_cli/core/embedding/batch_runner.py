"""Run a model over windows, batch by batch, and hand its features on.

Batches run in worker threads of one core each, see `core.inference.worker_threads`; a window or
state longer than `SLICE` uses all cores.
Shape letters: B batch, L length, K columns, C positions of a slice, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.product_weights import ProductWeight
from genomeformer_cli.core.embedding.features import check_layers, combine_layers
from genomeformer_cli.core.embedding.windows import (
    Numbers,
    WindowBatch,
    batch_windows,
    slice_sequences,
)
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.tokenizers.protocol import Ids

CPU_TOKENS, DEVICE_TOKENS = 2_048, 65_536
# Products in int8 or bfloat16 are so fast that the cost of every operation beside them counts.
REDUCED_TOKENS = 8_192
SLICE = 16_384

Tokens = npt.NDArray[np.integer[Any]]
Progress = Callable[[int], None]
# Function of the windows of a batch, their tokens (B, L) and their features (B, L, K).
UseFeatures = Callable[[Numbers, Tokens, Tensor], None]


def no_progress(num_bases: int) -> None:
    """Ignore progress."""
    del num_bases


def _default_tokens(model: Model) -> int:
    """Return the batch size that suits the device and the precision of the products."""
    if model.device.type != "cpu":
        return DEVICE_TOKENS
    is_reduced = any(isinstance(weight, ProductWeight) for weight in model.parameters())
    return REDUCED_TOKENS if is_reduced else CPU_TOKENS


class BatchRunner:
    """Model, with the layers that it gives and the size of its batches.

    Args:
        loaded: The model, on its device.
        layers: Layer numbers.
        mean: Average the layers.
        tokens_per_batch: Maximum batch size, padding included; None: that of the device.

    Raises:
        ConfigError: The model cannot combine the layers.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        layers: tuple[int, ...],
        *,
        mean: bool,
        tokens_per_batch: int | None,
    ) -> None:
        model = loaded.model
        self.loaded = loaded
        self.layers = layers
        self._mean_of_layers = mean
        check_layers(model, layers, mean=mean)
        self._tokens_per_batch = tokens_per_batch or _default_tokens(model)
        self._cost = BatchCost.of_model(model)

    def run_batches(
        self,
        sequences: Sequence[Ids],
        windows: WindowBatch,
        streamed_rows: set[int],
        use: UseFeatures,
        progress: Progress,
    ) -> None:
        """Compute the features of all windows and use them, batch by batch, on all cores.

        Args:
            sequences: Token ids.
            windows: Windows of the sequences.
            streamed_rows: Sequences that are read with a passed state.
            use: Receives the features of each batch, in several threads at once.
            progress: Receives the number of owned tokens of each finished batch.
        """
        owned_W = windows.own_stop - windows.own_start

        def report(batch: Numbers) -> None:
            progress(int(owned_W[batch].sum()))

        def compute(batch: Numbers) -> None:
            for part in self._run(sequences, windows, batch):
                use(*part)

        for row in sorted(streamed_rows.intersection(windows.row.tolist())):
            for part in self._stream(sequences[row], windows, row):
                use(*part)
                report(part[0])
        batched = np.flatnonzero(~np.isin(windows.row, list(streamed_rows)))
        batches = [
            batched[selected]
            for selected in batch_windows(windows.length[batched], self._tokens_per_batch)
        ]
        shapes = [(len(batch), int(windows.length[batch[0]])) for batch in batches]
        num_long = sum(length > SLICE for _, length in shapes)
        for batch in batches[:num_long]:
            compute(batch)
            report(batch)
        run_tasks(
            compute,
            batches[num_long:],
            device=self.loaded.model.device,
            demand=self._cost.demand(shapes[num_long:]),
            on_done=report,
        )

    def _run(
        self, sequences: Sequence[Ids], windows: WindowBatch, batch: Numbers
    ) -> Iterator[tuple[Numbers, Tokens, Tensor]]:
        """Run a batch; if memory is short, its halves one after the other."""
        tokens_BL = _padded(sequences, windows, batch, self.loaded.tokenizer.pad_id)
        features_BLK: Tensor | None = None
        try:
            features_BLK = self._forward(tokens_BL)
        except (torch.OutOfMemoryError, RuntimeError) as failure:
            if not is_out_of_memory(failure):
                raise
        if features_BLK is not None:
            yield batch, tokens_BL, features_BLK
            return
        if len(batch) == 1:
            raise InputError(
                f"a window of {tokens_BL.shape[1]} tokens does not fit into memory",
                hint="choose a shorter `--window`, or `--device cpu`",
            )
        self._tokens_per_batch = max(1, tokens_BL.size // 2)
        half = len(batch) // 2
        yield from self._run(sequences, windows, batch[:half])
        yield from self._run(sequences, windows, batch[half:])

    def _forward(self, tokens_BL: npt.NDArray[np.int64]) -> Tensor:
        model = self.loaded.model
        inputs_BL = torch.from_numpy(tokens_BL)
        mask_BL = padding_mask(inputs_BL, self.loaded.tokenizer.pad_id)
        inputs_BL = inputs_BL.to(model.device)
        mask_BL = None if mask_BL is None else mask_BL.to(model.device)
        features = model.hidden_layers(inputs_BL, mask_BL, self.layers)
        return combine_layers(features, mean=self._mean_of_layers)

    def _stream(
        self, ids: Ids, windows: WindowBatch, row: int
    ) -> Iterator[tuple[Numbers, Tokens, Tensor]]:
        """Yield the slices of one row, with the model's state passed along."""
        model = self.loaded.model
        row_windows = np.flatnonzero(windows.row == row)
        tokens_1L = ids[None]
        inputs_1L = torch.from_numpy(tokens_1L).to(model.device)
        slices = model.features_by_slices(inputs_1L, SLICE)
        by_start = {int(windows.start[window]): window for window in row_windows}
        for start, stop, features_1CE in slices:
            yield np.array([by_start[start]]), tokens_1L[:, start:stop], features_1CE


def cut_slices(lengths: Sequence[int]) -> tuple[WindowBatch, set[int]]:
    """Return slices of whole sequences, and the rows that are read with a passed state."""
    streamed_rows = {row for row, length in enumerate(lengths) if length > SLICE}
    return slice_sequences(lengths, SLICE), streamed_rows


def is_out_of_memory(failure: Exception) -> bool:
    """Return True for an out-of-memory error of torch on any device."""
    text = str(failure)
    return isinstance(failure, torch.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )


def _padded(
    sequences: Sequence[Ids], windows: WindowBatch, batch: Numbers, pad_id: int
) -> npt.NDArray[np.int64]:
    tokens_BL = np.full((len(batch), int(windows.length[batch[0]])), pad_id, dtype=np.int64)
    for index, window in enumerate(batch):
        start, length = windows.start[window], windows.length[window]
        tokens_BL[index, :length] = sequences[windows.row[window]][start : start + length]
    return tokens_BL
