"""Batches of windows, each a pure function of (seed, step), so that a run resumes exactly.

Every epoch visits each window of each segment once, in a new order, at a start shifted by less than
half a window. Segments shorter than a window form short rows, or several share a row (`packing`).
With a mixture, every group has epochs of its own, and its share of the rows.
Shape letters: B batch, L longest row of the batch, at most the window length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.format import Segment, Split
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.mixture import Allocation, Group
from genomeformer_cli.core.data.packing import PackedRows, num_packed_rows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import Flags, encode_bases, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Ids, Tokenizer
from genomeformer_cli.core.tokenizers.token_lengths import token_layout

# Streams of random numbers; `mixture` has the next.
_ORDER, _BATCH, _PACKING = range(3)
Document = tuple[Ids, Flags]
Short = Literal["pack", "pad", "skip"]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Batch of windows."""

    tokens_BL: npt.NDArray[np.int64]  # Token ids, padded with `PAD_ID` at the end.
    soft_mask_BL: npt.NDArray[np.bool_]  # True where the base was lower case.
    # Document number within the row of every position, -1 at padding; None if no row holds more
    # than one document.
    documents_BL: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of the batches."""

    length: int  # Tokens per window.
    batch_size: int  # Windows per batch.
    seed: int  # Seed of order, shifts and strands.
    reverse_complement: bool  # Read each window from either strand with equal probability.
    # Segments shorter than a window: `pack` puts several into one row, `pad` gives each a padded
    # row, `skip` leaves them out.
    short: Short = "pad"
    jitter: float = 0.5  # Fraction of a window in which an annotated place lies.
    # Probability of drawing an entirely lower-case window in an epoch; packed rows are always kept.
    repeat_weight: float = 1.0


class WindowSampler:
    """Sampler of training batches from a corpus.

    Args:
        corpus: Source of the tokens.
        split: Split whose segments are read.
        sampling: Settings of the batches.
        groups: Mixture of the rows; empty: all segments of the split, evenly.

    Raises:
        ConfigError: The split or a group has no window.
    """

    def __init__(
        self, corpus: Corpus, split: Split, sampling: Sampling, groups: Sequence[Group] = ()
    ) -> None:
        self._sampling = sampling
        self._allocation = Allocation([group.share for group in groups] or [1.0], sampling.seed)
        self._is_mixed = bool(groups)
        # The order of a corpus without a mixture is that of its first and only group.
        whole = Group(name=split, share=1.0, segments=corpus.segments(split))
        self._groups = [
            _GroupRows(corpus, group, sampling, number)
            for number, group in enumerate(groups or [whole])
        ]

    @property
    def num_windows(self) -> int:
        """Number of rows of one epoch of every group."""
        return sum(self.group_windows)

    @property
    def group_windows(self) -> list[int]:
        """Number of rows per epoch of each group."""
        return [group.num_windows for group in self._groups]

    def batch(self, step: int) -> tuple[Windows, np.random.Generator]:
        """Return the batch of a step and the generator for its masks."""
        size = self._sampling.batch_size
        generator = np.random.default_rng([self._sampling.seed, _BATCH, step])
        shifts = generator.uniform(-0.5, 0.5, size)
        flips = generator.random(size) < 0.5
        rows = [
            self._row(step * size + row, float(shifts[row]), flipped=bool(flips[row]))
            for row in range(size)
        ]
        return _stack(rows), generator

    def _row(self, number: int, shift: float, *, flipped: bool) -> list[Document]:
        """Return the documents of one row of the endless sequence of rows."""
        group, position = self._allocation.place(number) if self._is_mixed else (0, number)
        return self._groups[group].row(position, shift, flipped=flipped)


class _GroupRows:
    """Endless sequence of the rows of one group, epoch by epoch.

    Args:
        corpus: Source of the tokens.
        group: Segments, or places in them.
        sampling: Settings of the batches.
        number: Number of the group, for its random numbers.
    """

    def __init__(self, corpus: Corpus, group: Group, sampling: Sampling, number: int) -> None:
        self._corpus, self._sampling = corpus, sampling
        self._key = (number,) if number else ()
        self._bases_V = token_layout(corpus.tokenizer).bases_V
        self._anchors_A2 = group.anchors_A2
        if not group.segments:
            raise ConfigError(
                f"the corpus has no {group.name} segments",
                hint="tokenize again with another `--split`",
            )
        length, padded = sampling.length, sampling.short == "pad"
        shorter = [segment for segment in group.segments if segment.length < length]
        self._short = shorter if sampling.short == "pack" and group.anchors_A2 is None else []
        self._short_lengths = np.array([segment.length for segment in self._short], dtype=np.int64)
        if group.anchors_A2 is None:
            self._whole = [s for s in group.segments if padded or s.length >= length]
            counts = [-(-segment.length // length) for segment in self._whole]
        else:
            self._whole = group.segments
            counts = [len(group.anchors_A2)]
            if sampling.short == "skip":
                sizes = np.array([segment.length for segment in group.segments])
                self._anchors_A2 = group.anchors_A2[sizes[group.anchors_A2[:, 0]] >= length]
                counts = [len(self._anchors_A2)]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._num_whole = int(self._ends[-1]) if counts else 0
        self._packed_rows = num_packed_rows(self._short_lengths, length)
        if not self._num_whole + self._packed_rows:
            raise ConfigError(
                f"no {group.name} segment is as long as a window of {length:,} tokens",
                hint="choose a shorter `--context`, or do not skip what is shorter",
            )
        self._weights = self._slot_weights() if sampling.repeat_weight < 1 else None
        if self._weights is not None and not self._weights.sum() + self._packed_rows:
            raise ConfigError(
                f"`sampling.repeat_weight=0` leaves no window of {group.name}: all is lower case",
                hint="give it a small weight, such as 0.1",
            )
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None
        self._packed: tuple[int, PackedRows] | None = None

    @property
    def num_windows(self) -> int:
        """Number of rows per epoch."""
        if self._weights is None:
            return self._num_whole + self._packed_rows
        return max(round(float(self._weights.sum())), int(self._weights.any())) + self._packed_rows

    def row(self, position: int, shift: float, *, flipped: bool) -> list[Document]:
        """Return the documents of one row."""
        epoch, index = divmod(position, self.num_windows)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._shuffled(epoch))
        window = int(self._order[1][index])
        if window >= self._num_whole:
            return self._packed_row(epoch, window - self._num_whole)
        segment, start = self._place(window, shift)
        length = self._sampling.length
        start = min(max(start, 0), max(segment.length - length, 0))
        return [self._read(segment, start, min(start + length, segment.length), flipped=flipped)]

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the windows of an epoch in their order."""
        generator = np.random.default_rng([self._sampling.seed, _ORDER, epoch, *self._key])
        if self._weights is None:
            return generator.permutation(self.num_windows)
        # Systematic sampling: each window is drawn in proportion to its weight.
        ends = np.cumsum(self._weights)
        num_drawn = self.num_windows - self._packed_rows
        points = (np.arange(num_drawn) + generator.random()) * (ends[-1] / max(num_drawn, 1))
        windows = np.minimum(np.searchsorted(ends, points, side="right"), self._num_whole - 1)
        packed = self._num_whole + np.arange(self._packed_rows)
        return generator.permutation(np.concatenate([windows, packed]))

    def _slot_weights(self) -> npt.NDArray[np.float64] | None:
        """Return the probability of each window that is not packed, from its lower-case bases.

        None: all are drawn, in the order without weights.
        """
        length, soft = self._sampling.length, []
        if self._anchors_A2 is not None:
            for index, token in self._anchors_A2.tolist():
                segment = self._whole[index]
                start = min(max(token - length // 2, 0), max(segment.length - length, 0))
                stop = min(start + length, segment.length)
                soft.append(self._corpus.soft_mask(segment, start, stop).mean())
        else:
            for segment in self._whole:
                starts = np.arange(0, segment.length, length)
                counts = np.add.reduceat(self._corpus.soft_mask(segment), starts, dtype=np.int64)
                soft += (counts / np.diff([*starts, segment.length])).tolist()
        weights = 1 - (1 - self._sampling.repeat_weight) * np.array(soft, dtype=np.float64)
        return weights if (weights < 1).any() else None

    def _place(self, window: int, shift: float) -> tuple[Segment, int]:
        """Return the segment and the shifted start of a window."""
        length = self._sampling.length
        if self._anchors_A2 is not None:
            index, token = self._anchors_A2[window].tolist()
            return self._whole[index], token + round((shift * self._sampling.jitter - 0.5) * length)
        which = int(np.searchsorted(self._ends, window, side="right"))
        slot = window - (int(self._ends[which - 1]) if which else 0)
        return self._whole[which], round((slot + shift) * length)

    def _packed_row(self, epoch: int, number: int) -> list[Document]:
        if self._packed is None or self._packed[0] != epoch:
            seed = (self._sampling.seed, _PACKING, epoch, *self._key)
            rows = PackedRows(self._short_lengths, self._sampling.length, seed)
            self._packed = (epoch, rows)
        return [
            self._read(self._short[piece.contig], piece.start, piece.stop, flipped=piece.flipped)
            for piece in self._packed[1].row(number)
        ]

    def _read(self, segment: Segment, start: int, stop: int, *, flipped: bool) -> Document:
        document = (
            self._corpus.tokens(segment, start, stop),
            self._corpus.soft_mask(segment, start, stop),
        )
        if not (flipped and self._sampling.reverse_complement):
            return document
        return other_strand(document, self._corpus.tokenizer, self._bases_V)


def other_strand(
    document: Document, tokenizer: Tokenizer, bases_V: npt.NDArray[np.int64]
) -> Document:
    """Return the other strand of a document with at most as many tokens.

    Tokens that do not mirror (k-mers without overlap, byte pairs) are computed again from the
    bases; if there are more of them, the last ones are dropped.
    """
    tokens, soft_mask = document
    if tokenizer.reads_both_strands:
        return tokenizer.reverse_complement(tokens), soft_mask[::-1]
    codes = reverse_complement_codes(encode_bases(tokenizer.decode(tokens)))
    reverse_tokens = tokenizer.encode(codes)
    lower = np.repeat(soft_mask, bases_V[tokens])[::-1]
    return reverse_tokens[: tokens.size], lower[
        tokenizer.firsts(codes, reverse_tokens)[: tokens.size]
    ]


def _stack(rows: list[list[Document]]) -> Windows:
    """Stack rows into arrays as wide as the longest row."""
    longest = max(sum(tokens.size for tokens, _ in row) for row in rows)
    tokens_BL = np.full((len(rows), longest), PAD_ID, dtype=np.int64)
    soft_mask_BL = np.zeros(tokens_BL.shape, dtype=np.bool_)
    documents_BL = np.full(tokens_BL.shape, -1, dtype=np.int64)
    for number, row in enumerate(rows):
        first = 0
        for document, (tokens, soft_mask) in enumerate(row):
            place = (number, slice(first, first + tokens.size))
            tokens_BL[place], soft_mask_BL[place] = tokens, soft_mask
            documents_BL[place] = document
            first += tokens.size
    packed = any(len(row) > 1 for row in rows)
    return Windows(
        tokens_BL=tokens_BL,
        soft_mask_BL=soft_mask_BL,
        documents_BL=documents_BL if packed else None,
    )


def consecutive_windows(corpus: Corpus, split: Split, *, length: int, limit: int) -> Windows:
    """Return a fixed set to validate on: windows of a split without overlap, at most `limit`.

    Only whole windows are taken, unless a segment is shorter than one. Genomes are ordered by their
    content, so that corpora of the same genomes, named in any order, give the same windows.
    """
    digests = {
        genome["name"]: (genome["sha256"], genome["name"]) for genome in corpus.manifest.genomes
    }
    places = [
        (segment, start)
        for segment in sorted(corpus.segments(split), key=lambda segment: digests[segment.genome])
        for start in range(0, max(segment.length - length, 0) + 1, length)
    ]
    if len(places) > limit:
        places = [places[int(number)] for number in np.linspace(0, len(places) - 1, limit).round()]
    tokens_BL = np.full((len(places), length), PAD_ID, dtype=np.int64)
    soft_mask_BL = np.zeros(tokens_BL.shape, dtype=np.bool_)
    for row, (segment, start) in enumerate(places):
        stop = min(start + length, segment.length)
        tokens_BL[row, : stop - start] = corpus.tokens(segment, start, stop)
        soft_mask_BL[row, : stop - start] = corpus.soft_mask(segment, start, stop)
    return Windows(tokens_BL=tokens_BL, soft_mask_BL=soft_mask_BL)
