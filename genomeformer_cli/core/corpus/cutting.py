"""Blocks of bases into blocks of tokens, for any tokenizer, in memory that no record moves.

A token never reaches over the end of a record. Of a record that goes on in the next block, those
bases wait whose tokens a later base could still change: none for one token a base, less than two
k-mers, less than a piece of byte pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.genomes.blocks import Block
from genomeformer_cli.core.sequence import SOFT_BIT, Codes, Flags
from genomeformer_cli.core.tokenizers.protocol import Ids, Tokenizer


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
    if tokenizer.one_token_a_base:
        for block in blocks:
            codes, soft = split_marks(block.marked)
            yield TokenBlock(tokenizer.encode(codes), soft, block.starts)
        return
    cutter = _Cutter(tokenizer)
    for block in blocks:
        yield cutter.cut(block)
    yield cutter.rest()


class _Cutter:
    """Keeps back the open end of a record, for tokenizers whose tokens hold several bases."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: Codes = np.empty(0, dtype=np.uint8)

    def cut(self, block: Block) -> TokenBlock:
        pieces: list[tuple[Ids, Flags]] = []
        starts: list[tuple[int, str]] = []
        done = size = 0
        for at, name in block.starts:
            pieces.append(self._take(block.marked[done:at], is_last=True))
            size += pieces[-1][0].size
            starts.append((size, name))
            done = at
        pieces.append(self._take(block.marked[done:], is_last=False))
        return _joined(pieces, starts)

    def rest(self) -> TokenBlock:
        return _joined([self._take(self._waiting[:0], is_last=True)], [])

    def _take(self, marked: Codes, *, is_last: bool) -> tuple[Ids, Flags]:
        """Tokens of the record's next bases, as far as they are settled; all if it ends there."""
        if self._waiting.size:
            marked = np.concatenate([self._waiting, marked])
        codes, soft = split_marks(marked)
        stop, resume = (codes.size, codes.size) if is_last else self._tokenizer.settled(codes)
        self._waiting = marked[resume:].copy()
        codes = codes[:stop]
        ids = self._tokenizer.encode(codes)
        if not soft.any():
            return ids, np.zeros(ids.size, dtype=np.bool_)
        return ids, soft[self._tokenizer.firsts(codes, ids)]


def _joined(pieces: list[tuple[Ids, Flags]], starts: list[tuple[int, str]]) -> TokenBlock:
    ids = np.concatenate([ids for ids, _ in pieces])
    return TokenBlock(ids, np.concatenate([soft for _, soft in pieces]), starts)
