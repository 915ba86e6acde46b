"""Run a model over sequences and pool: one vector a sequence, rows in input order.

A vector is the mean of the final features over the sequence's real tokens (A C G T alone); N,
padding and the batch a sequence happens to be in do not enter. A sequence longer than the window
is cut (see `windows`), and the mean runs over all.
Shape letters: B batch, L length, E width, N sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.checkpoints.weights import LoadedModel
from genomeformer_cli.core.embedding.windows import Window, batch_windows, cut_windows
from genomeformer_cli.core.model.encoder import padding_mask
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Ids

TOKENS_PER_BATCH = 8_192


@torch.inference_mode()
def embed_tokens(
    loaded: LoadedModel,
    sequences: Sequence[Ids],
    *,
    window: int,
    reporter: Reporter,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> npt.NDArray[np.float32]:
    """Mean-pooled features of token sequences.

    Args:
        loaded: The model.
        sequences: Token ids, one array a sequence, any lengths.
        window: Longest stretch the model sees at once.
        reporter: Follows the work.
        tokens_per_batch: Largest batch, padding included; it changes speed and memory, not the
            vectors.

    Returns:
        (N, E) float32; a sequence without a single real base is a row of NaN.
    """
    sums_NE = np.zeros((len(sequences), loaded.model.feature_width), dtype=np.float64)
    counts_N = np.zeros(len(sequences), dtype=np.int64)
    windows = cut_windows([ids.size for ids in sequences], window)
    with reporter.track("embedding", sum(one.length for one in windows), "bases") as tracker:
        for batch in batch_windows(windows, tokens_per_batch):
            sums_BE, counts_B = _pool(loaded, sequences, batch)
            rows = [one.row for one in batch]
            np.add.at(sums_NE, rows, sums_BE)
            np.add.at(counts_N, rows, counts_B)
            tracker.advance(sum(one.length for one in batch))
    with np.errstate(invalid="ignore"):
        return (sums_NE / counts_N[:, None]).astype(np.float32)


def _pool(
    loaded: LoadedModel, sequences: Sequence[Ids], batch: Sequence[Window]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    tokens_BL = np.full((len(batch), batch[0].length), PAD_ID, dtype=np.int64)
    for row, window in enumerate(batch):
        tokens_BL[row, : window.length] = sequences[window.row][
            window.start : window.start + window.length
        ]
    device = loaded.model.device
    inputs_BL = torch.from_numpy(tokens_BL).to(device)
    features_BLE = loaded.model.hidden(inputs_BL, padding_mask(inputs_BL, PAD_ID))
    real_ids = loaded.tokenizer.real_ids
    real_BL = (inputs_BL >= real_ids.start) & (inputs_BL < real_ids.stop)
    sums_BE = torch.einsum("ble,bl->be", features_BLE.double(), real_BL.double())
    return sums_BE.cpu().numpy(), real_BL.sum(dim=1).cpu().numpy()
