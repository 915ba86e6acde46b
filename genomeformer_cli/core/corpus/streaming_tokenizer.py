"""Blocks of bases into blocks of tokens, for any tokenizer, in memory that no record moves.

A token never reaches over the end of a record. Of a record that goes on in the next block, those
bases wait whose tokens a later base could still change: none for one token a base, less than two
k-mers, less than a piece of byte pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.formats.fasta import Block
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


@dataclass(frozen=True, slots=True)
class Bases:
    """A block of a genome, its marks parted from its bases.

    Attributes:
        codes: Base codes, end to end.
        soft: Where they were lower case.
        starts: Where records begin in the block, and their ids.
    """

    codes: Codes
    soft: Flags
    starts: list[tuple[int, str]]


def part_marks(block: Block) -> Bases:
    """Base codes and soft mask of a block."""
    marked = block.marked
    if not marked.size or marked.max() < SOFT_BIT:
        return Bases(marked, np.zeros(marked.size, dtype=np.bool_), block.starts)
    soft = (marked >> np.uint8(3)).view(np.bool_)
    return Bases(marked & np.uint8(SOFT_BIT - 1), soft, block.starts)


def cut_blocks(blocks: Iterator[Bases], tokenizer: Tokenizer) -> Iterator[TokenBlock]:
    """Tokenize block after block of one file."""
    if tokenizer.one_token_a_base:
        for block in blocks:
            yield TokenBlock(tokenizer.encode(block.codes), block.soft, block.starts)
        return
    cutter = _Cutter(tokenizer)
    for block in blocks:
        yield cutter.cut(block)
    yield cutter.rest()


class _Cutter:
    """Keeps back the open end of a record, for tokenizers whose tokens hold several bases."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._codes: Codes = np.empty(0, dtype=np.uint8)
        self._soft: Flags = np.empty(0, dtype=np.bool_)

    def cut(self, block: Bases) -> TokenBlock:
        pieces: list[tuple[Ids, Flags]] = []
        starts: list[tuple[int, str]] = []
        done = size = 0
        for at, name in block.starts:
            pieces.append(self._take(block.codes[done:at], block.soft[done:at], is_last=True))
            size += pieces[-1][0].size
            starts.append((size, name))
            done = at
        pieces.append(self._take(block.codes[done:], block.soft[done:], is_last=False))
        return _joined(pieces, starts)

    def rest(self) -> TokenBlock:
        return _joined([self._take(self._codes[:0], self._soft[:0], is_last=True)], [])

    def _take(self, codes: Codes, soft: Flags, *, is_last: bool) -> tuple[Ids, Flags]:
        """Tokens of the record's next bases, as far as they are settled; all if it ends there."""
        if self._codes.size:
            codes = np.concatenate([self._codes, codes])
            soft = np.concatenate([self._soft, soft])
        stop, resume = (codes.size, codes.size) if is_last else self._tokenizer.settled(codes)
        self._codes, self._soft = codes[resume:].copy(), soft[resume:].copy()
        codes = codes[:stop]
        ids = self._tokenizer.encode(codes)
        if not soft.any():
            return ids, np.zeros(ids.size, dtype=np.bool_)
        return ids, soft[self._tokenizer.firsts(codes, ids)]


def _joined(pieces: list[tuple[Ids, Flags]], starts: list[tuple[int, str]]) -> TokenBlock:
    ids = np.concatenate([ids for ids, _ in pieces])
    return TokenBlock(ids, np.concatenate([soft for _, soft in pieces]), starts)
