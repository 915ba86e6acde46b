"""Batches of windows, each a pure function of (seed, step), so that a run resumes exactly.

Every epoch visits each window of each segment once, in a fresh order, at a start shifted by less
than half a window.
Shape letters: B batch, L window length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.format import Segment, Split
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.protocol import PAD_ID

_ORDER, _BATCH = range(2)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A batch of windows.

    Attributes:
        tokens_BL: Token ids, padded with `PAD_ID` at the end.
        soft_mask_BL: True where the base was lower case.
    """

    tokens_BL: npt.NDArray[np.int64]
    soft_mask_BL: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How batches are drawn.

    Attributes:
        length: Tokens in a window; a shorter segment gives one short, padded window.
        batch_size: Windows in a batch.
        seed: Of order, shifts and strands.
        reverse_complement: Read each window from either strand with equal chance.
    """

    length: int
    batch_size: int
    seed: int
    reverse_complement: bool


class WindowSampler:
    """Draws training batches from a corpus.

    Args:
        corpus: Where the tokens lie.
        split: Which segments.
        sampling: How to draw.

    Raises:
        ConfigError: The split is empty.
    """

    def __init__(self, corpus: Corpus, split: Split, sampling: Sampling) -> None:
        self._corpus = corpus
        self._segments = corpus.segments(split)
        self._length = sampling.length
        self._batch_size = sampling.batch_size
        self._seed = sampling.seed
        self._reverse_complement = sampling.reverse_complement
        if not self._segments:
            raise ConfigError(
                f"the corpus has no {split} segments", hint="tokenize again with another `--split`"
            )
        counts = [-(-segment.length // self._length) for segment in self._segments]
        self._ends = np.cumsum(counts)
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None

    @property
    def num_windows(self) -> int:
        """Windows in an epoch."""
        return int(self._ends[-1])

    def batch(self, step: int) -> tuple[Windows, np.random.Generator]:
        """The batch of a step, and the generator that its masks are to be drawn from."""
        generator = np.random.default_rng([self._seed, _BATCH, step])
        shifts = generator.uniform(-0.5, 0.5, self._batch_size)
        flips = generator.random(self._batch_size) < 0.5
        tokens_BL = np.full((self._batch_size, self._length), PAD_ID, dtype=np.int64)
        soft_mask_BL = np.zeros(tokens_BL.shape, dtype=np.bool_)
        for row in range(self._batch_size):
            segment, slot = self._locate(step * self._batch_size + row)
            start, stop = self._bounds(segment, slot, float(shifts[row]))
            tokens = self._corpus.tokens(segment, start, stop)
            soft_mask = self._corpus.soft_mask(segment, start, stop)
            if self._reverse_complement and flips[row]:
                tokens, soft_mask = (
                    self._corpus.tokenizer.reverse_complement(tokens),
                    soft_mask[::-1],
                )
            tokens_BL[row, : tokens.size] = tokens
            soft_mask_BL[row, : tokens.size] = soft_mask
        return Windows(tokens_BL=tokens_BL, soft_mask_BL=soft_mask_BL), generator

    def _locate(self, position: int) -> tuple[Segment, int]:
        epoch, index = divmod(position, self.num_windows)
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(self.num_windows)
            self._order = (epoch, order)
        window = int(self._order[1][index])
        which = int(np.searchsorted(self._ends, window, side="right"))
        first = int(self._ends[which - 1]) if which else 0
        return self._segments[which], window - first

    def _bounds(self, segment: Segment, slot: int, shift: float) -> tuple[int, int]:
        latest = max(segment.length - self._length, 0)
        start = min(max(round((slot + shift) * self._length), 0), latest)
        return start, min(start + self._length, segment.length)


def consecutive_windows(corpus: Corpus, split: Split, *, length: int, limit: int) -> Windows:
    """A fixed set to validate on: windows of a split that do not overlap, at most `limit`.

    Only whole windows are taken, unless a segment is shorter than one.
    """
    places = [
        (segment, start)
        for segment in corpus.segments(split)
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
