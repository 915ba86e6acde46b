"""Streaming tokenization: blocks of bases to blocks of tokens, in constant memory.

A token never crosses the end of a record. If a record continues in the next block, the bases whose
tokens may still change are buffered: none for single-base tokens, less than two k-mers, less than
one byte-pair piece.
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
    """Block of tokens of a genome."""

    ids: Ids  # Token ids, end to end.
    soft: Flags  # True if the first base of a token was lower case.
    starts: list[tuple[int, str]]  # First token and id of each record that begins in the block.


@dataclass(frozen=True, slots=True)
class Bases:
    """Block of bases of a genome, with the soft mask separated."""

    codes: Codes  # Base codes, end to end.
    soft: Flags  # True for lower-case bases.
    starts: list[tuple[int, str]]  # First base and id of each record that begins in the block.


def separate_mask(block: Block) -> Bases:
    """Separate base codes and soft mask of a block."""
    marked = block.marked
    if not marked.size or marked.max() < SOFT_BIT:
        return Bases(marked, np.zeros(marked.size, dtype=np.bool_), block.starts)
    soft = (marked >> np.uint8(3)).view(np.bool_)
    return Bases(marked & np.uint8(SOFT_BIT - 1), soft, block.starts)


def tokenize_blocks(blocks: Iterator[Bases], tokenizer: Tokenizer) -> Iterator[TokenBlock]:
    """Tokenize the blocks of one file."""
    if tokenizer.one_token_per_base:
        for block in blocks:
            yield TokenBlock(tokenizer.encode(block.codes), block.soft, block.starts)
        return
    buffer = _Buffer(tokenizer)
    for block in blocks:
        yield buffer.add(block)
    yield buffer.finish()


class _Buffer:
    """Buffer the open end of a record, for tokens of several bases."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._codes: Codes = np.empty(0, dtype=np.uint8)
        self._soft: Flags = np.empty(0, dtype=np.bool_)

    def add(self, block: Bases) -> TokenBlock:
        pieces: list[tuple[Ids, Flags]] = []
        starts: list[tuple[int, str]] = []
        start = size = 0
        for stop, name in block.starts:
            pieces.append(self._take(block.codes[start:stop], block.soft[start:stop], is_last=True))
            size += pieces[-1][0].size
            starts.append((size, name))
            start = stop
        pieces.append(self._take(block.codes[start:], block.soft[start:], is_last=False))
        return _concatenate(pieces, starts)

    def finish(self) -> TokenBlock:
        return _concatenate([self._take(self._codes[:0], self._soft[:0], is_last=True)], [])

    def _take(self, codes: Codes, soft: Flags, *, is_last: bool) -> tuple[Ids, Flags]:
        """Return the tokens that no later base changes; all tokens at the end of a record."""
        if self._codes.size:
            codes = np.concatenate([self._codes, codes])
            soft = np.concatenate([self._soft, soft])
        stop, resume = (codes.size, codes.size) if is_last else self._tokenizer.stable_prefix(codes)
        self._codes, self._soft = codes[resume:].copy(), soft[resume:].copy()
        codes = codes[:stop]
        ids = self._tokenizer.encode(codes)
        if not soft.any():
            return ids, np.zeros(ids.size, dtype=np.bool_)
        return ids, soft[self._tokenizer.firsts(codes, ids)]


def _concatenate(pieces: list[tuple[Ids, Flags]], starts: list[tuple[int, str]]) -> TokenBlock:
    ids = np.concatenate([ids for ids, _ in pieces])
    return TokenBlock(ids, np.concatenate([soft for _, soft in pieces]), starts)
