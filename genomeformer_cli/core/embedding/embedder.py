"""Run a model over sequences: one row per sequence or base, in input order.

A pooled row depends on the sequence's real tokens (A C G T) alone, not on N, padding or the other
sequences of a batch; equal sequences are computed once. `batch_runner` runs the batches.
A sequence longer than the window is cut (see `windows`); with `whole` the model's state is passed
from slice to slice, which is exact.
Shape letters: B batch, L length, K columns, N sequences, W windows, T bases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.batch_runner import (
    BatchRunner,
    Progress,
    Tokens,
    cut_slices,
    no_progress,
)
from genomeformer_cli.core.embedding.features import features_width, swap_columns
from genomeformer_cli.core.embedding.options import WHOLE, EmbedOptions
from genomeformer_cli.core.embedding.pooling import (
    NO_WORD,
    Places,
    PooledRows,
    base_of_token,
    has_vector,
    num_parts,
    pool_windows,
    reverse_parts,
    words_of,
)
from genomeformer_cli.core.embedding.windows import Numbers, WindowBatch, cut_windows
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.inference.distinct import DistinctRows
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import Ids, has_real_token

# Numbers of the states of the windows that are pooled together: bounds memory, does not change
# results.
_STATES_PER_CHUNK = 1 << 25

Floats = npt.NDArray[np.floating[Any]]


class Embedder(BatchRunner):
    """Model with embedding options.

    Args:
        loaded: The model, on its device.
        options: Options of the embedding.

    Attributes:
        layers: Layer numbers.
        width: Columns per row.
        features: Features of a base.
        columns: Columns of one strand.

    Raises:
        ConfigError: The model does not support the options.
    """

    def __init__(self, loaded: LoadedModel, options: EmbedOptions) -> None:
        model = loaded.model
        self.options = options = options.resolve(loaded)
        super().__init__(
            loaded,
            options.layer_numbers(model.config.depth),
            mean=options.layers == "mean",
            tokens_per_batch=options.tokens_per_batch,
        )
        self._bases = base_of_token(loaded.tokenizer) if options.pool == "words" else None
        self._num_strands = 1 if options.rc == "none" else 2
        # The windows of both strands are mirror images, and so are their features.
        self._swaps = loaded.is_equivariant and options.pool not in ("first", "last")
        self.features = features_width(model, self.layers, mean=self._mean_of_layers)
        self.columns = num_parts(options.pool) * self.features
        self.width = self.columns * (2 if options.rc == "concat" else 1)
        self.is_whole = options.window == WHOLE
        self.window = options.window if isinstance(options.window, int) else model.config.context
        if self.is_whole:
            _check_whole(loaded, self.layers)

    def embed(
        self, sequences: Sequence[Codes], progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return one row per sequence, shape (N, width); NaN where there is nothing to pool.

        Args:
            sequences: Base codes (see `core.sequence`).
            progress: Receives the number of bases of each finished batch.
        """
        return self.rows_of_strands(
            lambda: self.pool_tokens(self._tokens(sequences, reverse=False), progress),
            lambda: self.pool_tokens(self._tokens(sequences, reverse=True), progress),
            sequences,
        )

    def rows_of_strands(
        self,
        forward_rows: Callable[[], npt.NDArray[np.float64]],
        reverse_rows: Callable[[], npt.NDArray[np.float64]],
        sequences: Sequence[Codes],
    ) -> npt.NDArray[np.float32]:
        """Return the rows of both strands, combined as the options say.

        Args:
            forward_rows: Computes the rows of the forward strand.
            reverse_rows: Computes those of the reverse strand, if the model has to read it.
            sequences: Base codes of each row.

        Raises:
            CheckpointError: A row of a sequence with something to pool is not finite.
        """
        rows_NK = forward_rows()
        if self._num_strands == 2:
            reverse_NK = self._swapped(rows_NK) if self._swaps else reverse_rows()
            rows_NK = self._combine_strands([rows_NK, reverse_NK])
        is_not_finite_N = ~np.isfinite(rows_NK).all(axis=1)
        for row in np.flatnonzero(is_not_finite_N):
            if has_vector(self.loaded.tokenizer, self.options.pool, sequences[int(row)]):
                raise _not_finite_error(self.loaded.folder)
        return rows_NK.astype(np.float32)

    @property
    def num_passes(self) -> int:
        """Number of strands that the model reads."""
        return 1 if self._swaps else self._num_strands

    def _swapped(self, rows_NK: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows of the reverse strand, for an equivariant model."""
        rows = torch.from_numpy(rows_NK)
        return swap_columns(
            self.loaded.model,
            rows,
            self.layers,
            mean=self._mean_of_layers,
            parts=reverse_parts(self.options.pool),
        ).numpy()

    def embed_bases(
        self, sequences: Sequence[Codes], out_TK: Floats, progress: Progress = no_progress
    ) -> None:
        """Write one row per base, sequences concatenated; NaN without a real token.

        Args:
            sequences: Base codes.
            out_TK: Output rows; may be a memory-mapped file.
            progress: Receives the number of bases of each finished batch.
        """
        ends = np.cumsum([codes.size for codes in sequences])
        columns = self.columns
        self._write_strand(sequences, out_TK[:, :columns], progress)
        if self._swaps and self._num_strands == 2:
            for codes, end in zip(sequences, ends, strict=True):
                rows_TK = out_TK[end - codes.size : end]
                swapped_TK = self._swapped(np.array(rows_TK[:, :columns]))
                if self.options.rc == "concat":
                    rows_TK[:, columns:] = swapped_TK
                else:
                    rows_TK[:] = (rows_TK + swapped_TK) / 2
        elif self.options.rc == "concat":
            self._write_strand(sequences, out_TK[:, columns:], progress, reverse=True)
        elif self.options.rc == "mean":
            self._write_strand(sequences, out_TK, progress, reverse=True, mean=True)
        for codes, end in zip(sequences, ends, strict=True):
            rows_TK = out_TK[end - codes.size : end]
            if not has_real_token(self.loaded.tokenizer, codes):
                rows_TK[:] = np.nan
            elif np.isnan(rows_TK).any():
                raise _not_finite_error(self.loaded.folder)

    @torch.inference_mode()
    def pool_tokens(
        self, sequences: Sequence[Ids], progress: Progress = no_progress
    ) -> npt.NDArray[np.float64]:
        """Return pooled rows of token sequences, one strand, shape (N, K)."""
        distinct = DistinctRows.of_sequences(sequences)
        progress(sum(sequences[row].size for row in distinct.repeats))
        rows_DK = self._pool([sequences[row] for row in distinct.first_D], progress)
        return rows_DK[distinct.distinct_N]

    def _pool(self, sequences: Sequence[Ids], progress: Progress) -> npt.NDArray[np.float64]:
        pool = self.options.pool
        windows, streamed_rows = self._cut([ids.size for ids in sequences])
        rows = PooledRows.empty(len(sequences), self.features, pool)
        state_width = rows.values_NS.shape[1]
        num_windows = max(1, _STATES_PER_CHUNK // state_width)
        for first in range(0, len(windows), num_windows):
            chunk = windows[first : first + num_windows]
            values_WS = torch.empty(len(chunk), state_width, device=self.loaded.model.device)
            counts_W = np.zeros(len(chunk), dtype=np.int64)
            self._pool_chunk(sequences, chunk, streamed_rows, (values_WS, counts_W), progress)
            rows.add(chunk.row, values_WS.cpu().numpy(), counts_W)
        return rows.result()

    def _pool_chunk(
        self,
        sequences: Sequence[Ids],
        windows: WindowBatch,
        streamed_rows: set[int],
        out: tuple[Tensor, Numbers],
        progress: Progress,
    ) -> None:
        """Write the states (W, S) and the number of real positions (W,) of windows."""
        values_WS, counts_W = out
        is_real, pool = self.loaded.tokenizer.is_real, self.options.pool
        size_W = np.array([ids.size for ids in sequences], dtype=np.int64)[windows.row]

        def use(batch: Numbers, tokens_BL: Tokens, features_BLK: Tensor) -> None:
            position_L = np.arange(tokens_BL.shape[1])
            real_BL = is_real[tokens_BL]
            real_BL &= position_L >= windows.own_start[batch, None]
            real_BL &= position_L < windows.own_stop[batch, None]
            real = torch.from_numpy(real_BL).to(features_BLK.device)
            words = None if self._bases is None else self._words(sequences, windows, batch)
            places = Places(windows.start[batch], size_W[batch], words)
            state_BS = pool_windows(features_BLK, real, pool, places)
            values_WS[torch.from_numpy(batch)] = state_BS.float()
            counts_W[batch] = real_BL.sum(axis=1)

        self.run_batches(sequences, windows, streamed_rows, use, progress)

    def _words(self, sequences: Sequence[Ids], windows: WindowBatch, batch: Numbers) -> Tensor:
        """Return the word of each position of windows, (B, L)."""
        assert self._bases is not None
        words_BL = np.full((len(batch), int(windows.length[batch].max())), NO_WORD)
        for row, window in enumerate(batch):
            start, length = int(windows.start[window]), int(windows.length[window])
            first = max(start - 1, 0)  # with the neighbours of the first and the last base
            ids = sequences[windows.row[window]][first : start + length + 1]
            words_BL[row, :length] = words_of(self._bases[ids])[start - first :][:length]
        return torch.from_numpy(words_BL)

    def _tokens(self, sequences: Sequence[Codes], *, reverse: bool) -> list[Ids]:
        encode = self.loaded.tokenizer.encode
        return [encode(codes) for codes in _strands(sequences, reverse=reverse)]

    def _combine_strands(self, strands: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        if self.options.rc == "concat":
            return np.concatenate(strands, axis=1)
        return (strands[0] + strands[1]) / 2

    @torch.inference_mode()
    def _write_strand(
        self,
        sequences: Sequence[Codes],
        out_TK: Floats,
        progress: Progress,
        *,
        reverse: bool = False,
        mean: bool = False,
    ) -> None:
        """Write the features of every base of one strand, in the order of the forward strand.

        Args:
            sequences: Base codes.
            out_TK: Output rows.
            progress: Receives the number of bases of each finished batch.
            reverse: Read the reverse complements.
            mean: Average with the rows that were written before.
        """
        tokens = self._tokens(sequences, reverse=reverse)
        ends = np.cumsum([codes.size for codes in sequences])
        strands = _strands(sequences, reverse=reverse)
        first_bases = [
            self._first_bases(codes, ids) for codes, ids in zip(strands, tokens, strict=True)
        ]
        distinct = DistinctRows.of_sequences(tokens)
        windows, streamed_rows = self._cut([ids.size for ids in tokens])
        windows = windows[~np.isin(windows.row, distinct.repeats)]

        def write(batch: Numbers, _: Tokens, features_BLK: Tensor) -> None:
            features = features_BLK.float().cpu().numpy()
            for index, window in enumerate(batch):
                row = int(windows.row[window])
                owned = slice(int(windows.own_start[window]), int(windows.own_stop[window]))
                start = int(windows.start[window])
                size = sequences[row].size
                edges = _edges(first_bases[row], start + owned.start, start + owned.stop, size)
                features_TK = features[index, owned]
                if first_bases[row] is not None:
                    features_TK = np.repeat(features_TK, np.diff(edges), axis=0)
                low, high = int(edges[0]), int(edges[-1])
                begin = int(ends[row]) - size
                if reverse:
                    low, high = size - high, size - low
                    features_TK = features_TK[::-1]
                rows = slice(begin + low, begin + high)
                out_TK[rows] = (out_TK[rows] + features_TK) / 2 if mean else features_TK

        self.run_batches(tokens, windows, streamed_rows, write, progress)
        for row in distinct.repeats:
            source = int(distinct.first_D[distinct.distinct_N[row]])
            size = sequences[row].size
            out_TK[ends[row] - size : ends[row]] = out_TK[ends[source] - size : ends[source]]
            progress(tokens[row].size)

    def _first_bases(self, codes: Codes, ids: Ids) -> Numbers | None:
        """Return the first base of every token; None if token i is base i."""
        tokenizer = self.loaded.tokenizer
        return None if tokenizer.one_token_per_base else tokenizer.firsts(codes, ids)

    def _cut(self, lengths: Sequence[int]) -> tuple[WindowBatch, set[int]]:
        """Return the windows, and the rows that are read with a passed state."""
        if not self.is_whole:
            return cut_windows(lengths, self.window, self.options.stride), set()
        return cut_slices(lengths)


def embed_tokens(
    loaded: LoadedModel,
    sequences: Sequence[Ids],
    options: EmbedOptions,
    *,
    reporter: Reporter,
) -> npt.NDArray[np.float32]:
    """Return pooled features of token sequences.

    Args:
        loaded: The model.
        sequences: Token ids, one array per sequence, of any lengths.
        options: Pooling, layers and windows; the given strand is read.
        reporter: Receives progress.

    Returns:
        (N, E) float32; NaN for a sequence without a real base.
    """
    embedder = Embedder(loaded, options)
    with reporter.track("embedding", sum(ids.size for ids in sequences), "tokens") as tracker:
        return embedder.pool_tokens(sequences, tracker.advance).astype(np.float32)


def _not_finite_error(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"the model in `{folder}` computes values that are not finite for a record with bases",
        hint="its weights are too large or damaged; fetch or train it again",
    )


def _check_whole(loaded: LoadedModel, layers: tuple[int, ...]) -> None:
    if not loaded.model.can_stream:
        raise ConfigError(
            f"`{loaded.model.config.mechanism}` attention has no recurrent state, which "
            "`--window whole` needs",
            hint="leave `--window` out, or take a model of linear memory",
        )
    if layers != (loaded.model.config.depth,):
        raise ConfigError(
            "`--window whole` gives only the last layer",
            hint="leave `rows.layers` at `last`, or `--window` out",
        )


def _strands(sequences: Sequence[Codes], *, reverse: bool) -> list[Codes]:
    """Return sequences, or their reverse complements."""
    return [reverse_complement_codes(codes) for codes in sequences] if reverse else [*sequences]


def _edges(first_bases: Numbers | None, start: int, stop: int, size: int) -> Numbers:
    """Return the first base of each token and the end of the last one."""
    if first_bases is None:
        return np.array([start, stop])
    end = int(first_bases[stop]) if stop < first_bases.size else size
    return np.append(first_bases[start:stop], end)
