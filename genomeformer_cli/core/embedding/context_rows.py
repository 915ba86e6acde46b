"""Vectors of tiles that are read within longer stretches of their record.

Every distinct stretch is one window of the model, read once; a tile is pooled from its positions.
Shape letters: B batch, L length, S columns of the state, K columns, N tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.batch_runner import Progress, Tokens, no_progress
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.pooling import PooledRows, base_of_token, pool_spans, words_of
from genomeformer_cli.core.embedding.windows import Numbers, WindowBatch
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.formats.sequences import TileContext
from genomeformer_cli.core.inference.tile_contexts import SharedContexts


def embed_in_context(
    embedder: Embedder, tiles: Sequence[TileContext], progress: Progress = no_progress
) -> npt.NDArray[np.float32]:
    """Return one row per tile, shape (N, width); NaN without a real token.

    Args:
        embedder: Model and options.
        tiles: Tiles and the stretches in which they are read.
        progress: Receives the number of bases of the tiles of each finished batch.

    Raises:
        ConfigError: The options ask for rows of bases or for other windows, or tokens are longer
            than a base.
    """
    if embedder.options.per_base or embedder.options.window is not None:
        raise ConfigError(
            "`regions.context` is the window of tiles, of which each has one vector",
            hint="leave out `--window` and `--pool none`, or `--set regions.context`",
        )
    shared = SharedContexts.of_tiles(tiles, embedder.loaded.tokenizer)
    return embedder.rows_of_strands(
        lambda: _pool(embedder, shared, progress),
        lambda: _pool(embedder, shared.reverse_complement, progress),
        [tile.codes[tile.start : tile.stop] for tile in tiles],
    )


@torch.inference_mode()
def _pool(
    embedder: Embedder, shared: SharedContexts, progress: Progress
) -> npt.NDArray[np.float64]:
    """Return the pooled rows (N, K) of one strand."""
    pool, tokenizer = embedder.options.pool, embedder.loaded.tokenizer
    tokens = [tokenizer.encode(codes) for codes in shared.codes_D]
    members_D, spans = shared.tiles_by_context(), shared.spans
    size_N = shared.stop_N - shared.start_N
    tile_bases_D = np.array([int(size_N[members].sum()) for members in members_D], dtype=np.int64)
    length_D = np.array([ids.size for ids in tokens], dtype=np.int64)
    row_D = np.arange(len(tokens))
    # Progress counts the owned positions of windows: here, the bases of tiles.
    windows = WindowBatch(row_D, 0 * row_D, length_D, 0 * row_D, tile_bases_D)
    rows = PooledRows.empty(size_N.size, embedder.features, pool)
    values_NS = np.zeros(rows.values_NS.shape, dtype=np.float32)
    counts_N = np.zeros(size_N.size, dtype=np.int64)

    def use(batch: Numbers, tokens_BL: Tokens, features_BLK: Tensor) -> None:
        real_BL = torch.from_numpy(tokenizer.is_real[tokens_BL]).to(features_BLK.device)
        for index, window in enumerate(batch):
            members = members_D[window]
            words = None
            if pool == "words":
                bases = base_of_token(tokenizer)[tokens_BL[index]]
                words = torch.from_numpy(words_of(bases)).to(features_BLK.device)
            values, counts_N[members] = pool_spans(
                features_BLK[index], real_BL[index], [spans[tile] for tile in members], pool, words
            )
            values_NS[members] = values.float().cpu().numpy()

    embedder.run_batches(tokens, windows, set(), use, progress)
    rows.add(np.arange(size_N.size), values_NS, counts_N)
    return rows.result()
