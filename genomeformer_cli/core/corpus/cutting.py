"""Blocks of bases into blocks of tokens, for any tokenizer.

A token never reaches over the end of a record. One token a base is cut block by block; a tokenizer
whose tokens hold several bases is given each record whole, so memory grows with the longest one.
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
    """Gathers each record, for tokenizers whose tokens hold several bases."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: list[Codes] = []

    def cut(self, block: Block) -> TokenBlock:
        pieces: list[tuple[Ids, Flags]] = [self._nothing()]
        starts: list[tuple[int, str]] = []
        done = size = 0
        for at, name in block.starts:
            self._waiting.append(block.marked[done:at])
            pieces.append(self._encode())
            size += pieces[-1][0].size
            starts.append((size, name))
            done = at
        self._waiting.append(block.marked[done:])
        return _joined(pieces, starts)

    def rest(self) -> TokenBlock:
        return _joined([self._nothing(), self._encode()], [])

    def _nothing(self) -> tuple[Ids, Flags]:
        return self._tokenizer.encode(np.empty(0, dtype=np.uint8)), np.empty(0, dtype=np.bool_)

    def _encode(self) -> tuple[Ids, Flags]:
        codes, soft = split_marks(np.concatenate([np.empty(0, dtype=np.uint8), *self._waiting]))
        self._waiting = []
        if not codes.size:
            return self._nothing()
        firsts = self._tokenizer.offsets(codes)[:, 0]
        return self._tokenizer.encode(codes), soft[firsts]


def _joined(pieces: list[tuple[Ids, Flags]], starts: list[tuple[int, str]]) -> TokenBlock:
    ids = np.concatenate([ids for ids, _ in pieces])
    return TokenBlock(ids, np.concatenate([soft for _, soft in pieces]), starts)
