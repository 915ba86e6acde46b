"""Run a model over sequences: one row a sequence or a base, in input order.

A pooled row speaks of the sequence's real tokens (A C G T alone); N, padding and the batch that a
sequence happens to be in do not enter. A sequence longer than the window is cut (see `windows`);
with `whole` it is not: the model's state is passed from slice to slice, which is exact.
Shape letters: B batch, L length, K columns, N sequences, W windows, T bases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.choices import WHOLE, EmbedChoices
from genomeformer_cli.core.embedding.features import (
    check_layers,
    features_width,
    joined_layers,
)
from genomeformer_cli.core.embedding.pooling import Rows, pool_windows
from genomeformer_cli.core.embedding.windows import (
    Numbers,
    Windows,
    batch_windows,
    cut_windows,
    slice_sequences,
)
from genomeformer_cli.core.errors import CheckpointError, ConfigError, InputError
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.genomeformer.streaming_forward import (
    features_by_slices,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Ids

CPU_TOKENS, DEVICE_TOKENS = 2_048, 65_536
SLICE = 16_384
# Windows whose features are pooled before they become rows: bounds memory, not results.
_WINDOWS_AT_ONCE = 1 << 16

Floats = npt.NDArray[np.floating[Any]]
Tokens = npt.NDArray[np.integer[Any]]
Progress = Callable[[int], None]


def _no_progress(done: int) -> None:
    del done


class Embedder:
    """A model and what is wanted of it.

    Args:
        loaded: The model, on the device where it is to run.
        choices: What a row is.

    Attributes:
        layers: Numbers of the layers.
        width: Columns of a row.

    Raises:
        ConfigError: The model cannot do what was chosen.
    """

    def __init__(self, loaded: LoadedModel, choices: EmbedChoices) -> None:
        model = loaded.model
        self.loaded = loaded
        self.choices = choices = choices.settled(loaded.layers)
        self.layers = choices.numbers(model.config.depth)
        self._mean_of_layers = choices.layers == "mean"
        check_layers(model, self.layers, mean=self._mean_of_layers)
        self._num_strands = 1 if choices.rc == "none" else 2
        self._columns = features_width(model, self.layers, mean=self._mean_of_layers)
        self.width = self._columns * (2 if choices.rc == "concat" else 1)
        self.is_whole = choices.window == WHOLE
        self.window = choices.window if isinstance(choices.window, int) else model.config.context
        default = CPU_TOKENS if model.device.type == "cpu" else DEVICE_TOKENS
        self._tokens_per_batch = choices.tokens_per_batch or default
        if self.is_whole:
            _check_whole(loaded, self.layers)

    def embed(
        self, sequences: Sequence[Codes], progress: Progress = _no_progress
    ) -> npt.NDArray[np.float32]:
        """One row a sequence, (N, width); NaN where there is no real base.

        Args:
            sequences: Base codes (see `core.sequence`).
            progress: Is told of the bases that are done.
        """
        strands = [
            self.pooled(self._tokens(sequences, reverse=reverse), progress)
            for reverse in (False, True)[: self._num_strands]
        ]
        rows_NK = self._both(strands)
        lost_N = ~np.isfinite(rows_NK).all(axis=1)
        for row in np.flatnonzero(lost_N):
            if (sequences[int(row)] < NUM_REAL_BASES).any():
                raise _lost(self.loaded.folder)
        return rows_NK.astype(np.float32)

    def embed_bases(
        self, sequences: Sequence[Codes], out_TK: Floats, progress: Progress = _no_progress
    ) -> None:
        """One row a base, the sequences end to end; NaN throughout a sequence without a real base.

        Args:
            sequences: Base codes.
            out_TK: Takes the rows; may be a memory-mapped file.
            progress: Is told of the bases that are done.
        """
        ends = np.cumsum([codes.size for codes in sequences])
        columns = self._columns
        self._fill(sequences, out_TK[:, :columns], progress)
        if self.choices.rc == "concat":
            self._fill(sequences, out_TK[:, columns:], progress, other_strand=True)
        elif self.choices.rc == "mean":
            self._fill(sequences, out_TK, progress, other_strand=True, mean=True)
        for codes, end in zip(sequences, ends, strict=True):
            rows_TK = out_TK[end - codes.size : end]
            if not (codes < NUM_REAL_BASES).any():
                rows_TK[:] = np.nan
            elif np.isnan(rows_TK).any():
                raise _lost(self.loaded.folder)

    @torch.inference_mode()
    def pooled(
        self, sequences: Sequence[Ids], progress: Progress = _no_progress
    ) -> npt.NDArray[np.float64]:
        """Rows of token sequences as they stand, one strand: (N, K)."""
        pool = self.choices.pool
        windows, passed = self._cut([ids.size for ids in sequences])
        rows = Rows.empty(len(sequences), self._columns, pool)
        real_ids = self.loaded.tokenizer.real_ids
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            some = windows[first : first + _WINDOWS_AT_ONCE]
            values_WK = torch.empty(len(some), self._columns, device=self.loaded.model.device)
            counts_W = np.zeros(len(some), dtype=np.int64)
            for batch, tokens_BL, features_BLK in self._features(sequences, some, passed):
                place_L = np.arange(tokens_BL.shape[1])
                real_BL = (tokens_BL >= real_ids.start) & (tokens_BL < real_ids.stop)
                real_BL &= place_L >= some.own_start[batch, None]
                real_BL &= place_L < some.own_stop[batch, None]
                values_WK[torch.from_numpy(batch)] = pool_windows(
                    features_BLK, real_BL, pool
                ).float()
                counts_W[batch] = real_BL.sum(axis=1)
                progress(int((some.own_stop - some.own_start)[batch].sum()))
            rows.add(some.row, values_WK.cpu().numpy(), counts_W, pool)
        return rows.finished(pool)

    def _tokens(self, sequences: Sequence[Codes], *, reverse: bool) -> list[Ids]:
        encode = self.loaded.tokenizer.encode
        if reverse:
            return [encode(reverse_complement_codes(codes)) for codes in sequences]
        return [encode(codes) for codes in sequences]

    def _both(self, strands: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        if len(strands) == 1:
            return strands[0]
        if self.choices.rc == "concat":
            return np.concatenate(strands, axis=1)
        return (strands[0] + strands[1]) / 2

    @torch.inference_mode()
    def _fill(
        self,
        sequences: Sequence[Codes],
        out_TK: Floats,
        progress: Progress,
        *,
        other_strand: bool = False,
        mean: bool = False,
    ) -> None:
        """Write the features of every base of one strand, in the order of the given strand.

        Args:
            sequences: Base codes.
            out_TK: Takes the rows.
            progress: Is told of the bases that are done.
            other_strand: Whether the sequences are read from their other strand.
            mean: Whether what stands in the rows is the other half of a mean.
        """
        tokens = self._tokens(sequences, reverse=other_strand)
        ends = np.cumsum([codes.size for codes in sequences])
        firsts = [self._firsts(codes, ids) for codes, ids in zip(sequences, tokens, strict=True)]
        windows, passed = self._cut([ids.size for ids in tokens])
        for batch, _, features_BLK in self._features(tokens, windows, passed):
            features = features_BLK.float().cpu().numpy()
            for place, window in enumerate(batch):
                row = int(windows.row[window])
                own = slice(int(windows.own_start[window]), int(windows.own_stop[window]))
                start = int(windows.start[window])
                size = sequences[row].size
                edges = _edges(firsts[row], start + own.start, start + own.stop, size)
                features_TK = features[place, own]
                if edges.size > 1 and edges[-1] - edges[0] != features_TK.shape[0]:
                    features_TK = np.repeat(features_TK, np.diff(edges), axis=0)
                low, high = int(edges[0]), int(edges[-1])
                begin = int(ends[row]) - size
                if other_strand:
                    low, high = size - high, size - low
                    features_TK = features_TK[::-1]
                here = slice(begin + low, begin + high)
                out_TK[here] = (out_TK[here] + features_TK) / 2 if mean else features_TK
            progress(int((windows.own_stop - windows.own_start)[batch].sum()))

    def _firsts(self, codes: Codes, ids: Ids) -> Numbers | None:
        """First base of every token; None where token i is base i."""
        tokenizer = self.loaded.tokenizer
        return None if tokenizer.one_token_per_base else tokenizer.firsts(codes, ids)

    def _cut(self, lengths: Sequence[int]) -> tuple[Windows, set[int]]:
        """Windows, and the rows along which the state is passed."""
        if not self.is_whole:
            return cut_windows(lengths, self.window, self.choices.stride), set()
        passed = {row for row, length in enumerate(lengths) if length > SLICE}
        return slice_sequences(lengths, SLICE), passed

    def _features(
        self, sequences: Sequence[Ids], windows: Windows, passed: set[int]
    ) -> Iterator[tuple[Numbers, Tokens, Tensor]]:
        """Windows of a batch, their tokens (B, L), their features (B, L, K)."""
        for row in sorted(passed.intersection(windows.row.tolist())):
            yield from self._passed(sequences[row], windows, row)
        batched = np.flatnonzero(~np.isin(windows.row, list(passed)))
        for chosen in batch_windows(windows.length[batched], self._tokens_per_batch):
            yield from self._run(sequences, windows, batched[chosen])

    def _run(
        self, sequences: Sequence[Ids], windows: Windows, batch: Numbers
    ) -> Iterator[tuple[Numbers, Tokens, Tensor]]:
        """Run a batch; where memory is short, its halves one after the other."""
        tokens_BL = _padded(sequences, windows, batch)
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
        mask_BL = padding_mask(inputs_BL, PAD_ID)
        inputs_BL = inputs_BL.to(model.device)
        mask_BL = None if mask_BL is None else mask_BL.to(model.device)
        features = model.hidden_layers(inputs_BL, mask_BL, self.layers)
        return joined_layers(features, mean=self._mean_of_layers)

    def _passed(
        self, ids: Ids, windows: Windows, row: int
    ) -> Iterator[tuple[Numbers, Tokens, Tensor]]:
        """The slices of one row, the model's state passed along."""
        model = self.loaded.model
        own = np.flatnonzero(windows.row == row)
        tokens_1L = ids[None]
        inputs_1L = torch.from_numpy(tokens_1L).to(model.device)
        slices = features_by_slices(model, inputs_1L, SLICE)
        by_start = {int(windows.start[window]): window for window in own}
        for start, stop, features_1CE in slices:
            yield np.array([by_start[start]]), tokens_1L[:, start:stop], features_1CE


def embed_tokens(
    loaded: LoadedModel,
    sequences: Sequence[Ids],
    *,
    window: int,
    reporter: Reporter,
    tokens_per_batch: int | None = None,
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
    choices = EmbedChoices(window=window, tokens_per_batch=tokens_per_batch)
    embedder = Embedder(loaded, choices)
    with reporter.track("embedding", sum(ids.size for ids in sequences), "tokens") as tracker:
        return embedder.pooled(sequences, tracker.advance).astype(np.float32)


def is_out_of_memory(failure: Exception) -> bool:
    """Whether torch, on any device, says that memory is short."""
    text = str(failure)
    return isinstance(failure, torch.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )


def _lost(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"the model in `{folder}` gives no finite numbers for a record that has bases",
        hint="its weights are too large or damaged; fetch or train it again",
    )


def _check_whole(loaded: LoadedModel, layers: tuple[int, ...]) -> None:
    if not loaded.model.can_stream:
        raise ConfigError(
            f"`{loaded.model.config.attention.name}` attention passes no state along a sequence, "
            "so it cannot read one whole",
            hint="leave `--window` out, or take a model of linear memory",
        )
    if layers != (loaded.model.config.depth,):
        raise ConfigError(
            "of whole sequences only the last layer can be had",
            hint="leave `--layers` at `last`, or `--window` out",
        )


def _padded(sequences: Sequence[Ids], windows: Windows, batch: Numbers) -> npt.NDArray[np.int64]:
    tokens_BL = np.full((len(batch), int(windows.length[batch[0]])), PAD_ID, dtype=np.int64)
    for place, window in enumerate(batch):
        start, length = windows.start[window], windows.length[window]
        tokens_BL[place, :length] = sequences[windows.row[window]][start : start + length]
    return tokens_BL


def _edges(firsts: Numbers | None, start: int, stop: int, size: int) -> Numbers:
    """First base of each of some tokens, and the end of the last: a base is of the latest token."""
    if firsts is None:
        return np.array([start, stop])
    end = int(firsts[stop]) if stop < firsts.size else size
    return np.append(firsts[start:stop], end)
