"""Blocks of bases into blocks of tokens, for any tokenizer, without a whole record in memory.

A token never reaches over the end of a record. Where a tokenizer's tokens need more than one base,
the bases that may still belong to a token wait for the next block of the same record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.genomes.blocks import Block
from genomeformer_cli.core.sequence import SOFT_BIT, Codes, Flags
from genomeformer_cli.core.tokenizers.protocol import Ids, Tokenizer

# A tokenizer without a fixed grid (BPE) cuts each record in stretches of this many bases.
STRETCH = 1 << 16


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """Some tokens of a genome.

    Attributes:
        ids: Token ids, end to end.
        soft: Whether the first base of each token was lower case.
        starts: Where records begin among them, and their ids.
    """

    ids: Ids
    soft: Flags
    starts: list[tuple[int, str]]


def split_marks(marked: Codes) -> tuple[Codes, Flags]:
    """Base codes and soft mask of marked codes."""
    return marked & np.uint8(SOFT_BIT - 1), (marked >> np.uint8(3)).view(np.bool_)


def cut_blocks(blocks: Iterator[Block], tokenizer: Tokenizer) -> Iterator[TokenBlock]:
    """Tokenize block after block of one file."""
    if tokenizer.kind == "char":
        for block in blocks:
            codes, soft = split_marks(block.marked)
            yield TokenBlock(tokenizer.encode(codes), soft, block.starts)
        return
    cutter = _Cutter(tokenizer)
    for block in blocks:
        yield cutter.cut(block)
    yield cutter.rest()


class _Cutter:
    """Keeps the bases of the open record that no finished token holds."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        settings = getattr(tokenizer, "settings", {})
        self._stride = int(settings.get("stride") or STRETCH)
        self._reach = int(settings.get("k") or self._stride) - self._stride
        self._on_a_grid = "stride" in settings
        self._waiting: Codes = np.empty(0, dtype=np.uint8)

    def cut(self, block: Block) -> TokenBlock:
        edges = [0, *(at for at, _ in block.starts), block.marked.size]
        pieces: list[tuple[Ids, Flags]] = []
        starts: list[tuple[int, str]] = []
        size = 0
        for number in range(len(edges) - 1):
            marked = block.marked[edges[number] : edges[number + 1]]
            ends = number < len(block.starts)
            if self._waiting.size:
                marked = np.concatenate([self._waiting, marked])
            pieces.append(self._encode(marked, ends=ends))
            size += pieces[-1][0].size
            if ends:
                starts.append((size, block.starts[number][1]))
        return self._join(pieces, starts)

    def rest(self) -> TokenBlock:
        return self._join([self._encode(self._waiting, ends=True)], [])

    def _encode(self, marked: Codes, *, ends: bool) -> tuple[Ids, Flags]:
        # The last stretch waits even if whole: the record may end here, and the tail has rules.
        steps = max(marked.size - self._reach - 1, 0) // self._stride
        if ends:
            self._waiting = marked[:0]
        else:
            self._waiting = marked[steps * self._stride :].copy()
        codes, soft = split_marks(marked)
        if self._on_a_grid:
            if not ends:
                codes = codes[: steps * self._stride + self._reach if steps else 0]
            ids = self._tokenizer.encode(codes)
            firsts = np.minimum(np.arange(ids.size) * self._stride, max(soft.size - 1, 0))
            return ids, soft[firsts]
        limit = marked.size if ends else steps * self._stride
        parts = [(codes[at : min(at + STRETCH, limit)], at) for at in range(0, limit, STRETCH)]
        encoded = [(self._tokenizer.encode(part), at) for part, at in parts]
        return self._join_stretches(encoded, soft)

    def _join_stretches(self, encoded: list[tuple[Ids, int]], soft: Flags) -> tuple[Ids, Flags]:
        if not encoded:
            return self._tokenizer.encode(np.empty(0, dtype=np.uint8)), soft[:0]
        widths = np.array([max(len(token), 1) for token in self._tokenizer.tokens])
        flags = [
            soft[at + np.minimum(np.cumsum(widths[ids]) - widths[ids], soft.size - 1 - at)]
            for ids, at in encoded
        ]
        return np.concatenate([ids for ids, _ in encoded]), np.concatenate(flags)

    def _join(self, pieces: list[tuple[Ids, Flags]], starts: list[tuple[int, str]]) -> TokenBlock:
        ids = np.concatenate([ids for ids, _ in pieces])
        return TokenBlock(ids, np.concatenate([soft for _, soft in pieces]), starts)
