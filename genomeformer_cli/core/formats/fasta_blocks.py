"""FASTA as blocks of base codes: one pass that inflates, verifies, hashes and translates.

`fasta.read_records` hands out whole records as text, which is right for a query file. A corpus is
made of genomes whose records may be 250 Mbp long, so here a record arrives in pieces and is never
held whole. See ADR 0005 for why pyfastx does not do this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import FastaError
from genomeformer_cli.core.formats.compression import text_lines
from genomeformer_cli.core.formats.fasta import (
    Record,
    fastq_records,
    old_line_ends,
    refuse_other_formats,
)
from genomeformer_cli.core.formats.inflate import TEXT_CHUNK, Copy, TextReader
from genomeformer_cli.core.sequence import Codes, mark_bases


@dataclass(frozen=True, slots=True)
class Block:
    """Some bases of a file, end to end.

    Attributes:
        marked: Base codes, with `SOFT_BIT` where the letter was lower case.
        starts: Where records begin in the block, and their ids; what comes before the first
            belongs to the record that was open.
        descriptions: Of these records, what their headers say behind the ids; empty if the file
            is no FASTA.
    """

    marked: Codes
    starts: list[tuple[int, str]]
    descriptions: list[str] = field(default_factory=list)


class BlockReader:
    """Reads a FASTA file once.

    Args:
        path: FASTA or FASTQ, plain or gzip'd.
        shown: The name used in errors, if not the path.
        where: How errors in a record begin, if not with the name.
        copy: Gets the file's own bytes as they are read.
        chunks: The file's text, if someone else unpacks it; `text` then says nothing.

    Attributes:
        text: Says what was read and, at the end, its checksum.
    """

    def __init__(
        self,
        path: Path,
        *,
        shown: str | None = None,
        where: str | None = None,
        copy: Copy | None = None,
        chunks: Iterator[bytes] | None = None,
    ) -> None:
        self._shown = shown or str(path)
        self._where = where or f"`{self._shown}`"
        self.text = TextReader(path, self._shown, copy=copy)
        self._chunks = chunks
        self._open_id = ""
        self._open_size = 0

    def blocks(self) -> Iterator[Block]:
        """All blocks of the file, each at most about 1 MB.

        Raises:
            FastaError: Missing, empty, truncated, damaged, or not FASTA.
            AlphabetError: A record holds something that is no nucleotide.
        """
        chunks = self.text.chunks() if self._chunks is None else self._chunks
        first = next(chunks, b"")
        refuse_other_formats(first, self._shown)
        if first.lstrip()[:1] == b"@":
            yield from self._fastq_blocks(first, chunks)
            return
        yield from self._fasta_blocks(first, chunks)

    def _fasta_blocks(self, chunk: bytes, rest: Iterator[bytes]) -> Iterator[Block]:
        last = b"\n"
        header: bytes | None = None
        while chunk:
            self._check_text(last, chunk)
            parts: list[bytes] = []
            starts: list[tuple[int, str]] = []
            descriptions: list[str] = []
            size = position = 0
            while position < len(chunk):
                if header is not None:
                    end = chunk.find(b"\n", position)
                    header += chunk[position : end if end >= 0 else None]
                    if end < 0:
                        break
                    name, description = self._begin(header)
                    starts.append((size, name))
                    descriptions.append(description)
                    header, position, last = None, end + 1, b"\n"
                    continue
                at = _next_header(chunk, position, last)
                stretch = self._mark(chunk[position:at])
                parts.append(stretch)
                size += len(stretch)
                header, position = (b"", at + 1) if at < len(chunk) else (None, at)
            last = chunk[-1:]
            if size or starts:
                marked = np.frombuffer(b"".join(parts), dtype=np.uint8)
                yield Block(marked, starts, descriptions)
            chunk = next(rest, b"")
        if last == b"\r":
            raise old_line_ends(self._shown)
        if header is not None:
            name, description = self._begin(header)
            yield Block(np.empty(0, dtype=np.uint8), [(0, name)], [description])

    def _begin(self, header: bytes) -> tuple[str, str]:
        """The id of a record, and what stands behind it."""
        try:
            text = header.decode("utf-8")
        except UnicodeDecodeError as failure:
            raise FastaError(
                f"`{self._shown}` has a header that is no text", hint="check the file's format"
            ) from failure
        words = text.split(maxsplit=1) if text[:1].strip() else ["", text.strip()]
        self._open_id, description = (*words, "", "")[:2]
        self._open_size = 0
        return self._open_id, description.strip()

    def _mark(self, lines: bytes) -> bytes:
        marked = mark_bases(
            lines, where=f"{self._where}: record `{self._open_id}`", before=self._open_size
        )
        self._open_size += len(marked)
        return marked

    def _check_text(self, last: bytes, chunk: bytes) -> None:
        if b"\0" in chunk:
            raise FastaError(
                f"`{self._shown}` holds NUL bytes, so it is no text",
                hint="fetch or export the file again",
            )
        split = last == b"\r" and chunk[:1] != b"\n"
        alone = b"\r" in chunk and (
            chunk.count(b"\r") != chunk.count(b"\r\n") + chunk.endswith(b"\r")
        )
        if split or alone:
            raise old_line_ends(self._shown)

    def _fastq_blocks(self, first: bytes, rest: Iterator[bytes]) -> Iterator[Block]:
        parts: list[bytes] = []
        starts: list[tuple[int, str]] = []
        size = 0
        for record in self._fastq_records(chain([first], rest)):
            self._open_id, self._open_size = record.id, 0
            starts.append((size, record.id))
            parts.append(self._mark(record.sequence.encode()))
            size += len(parts[-1])
            if size >= TEXT_CHUNK:
                yield Block(np.frombuffer(b"".join(parts), dtype=np.uint8), starts)
                parts, starts, size = [], [], 0
        if starts:
            yield Block(np.frombuffer(b"".join(parts), dtype=np.uint8), starts)

    def _fastq_records(self, chunks: Iterator[bytes]) -> Iterator[Record]:
        try:
            yield from fastq_records(text_lines(chunks), self._shown)
        except UnicodeDecodeError as failure:
            raise FastaError(
                f"`{self._shown}` cannot be read as FASTQ: {failure}",
                hint="check the file's format",
            ) from failure


def _next_header(chunk: bytes, position: int, last: bytes) -> int:
    """Where the next header line begins; the chunk's length if nowhere."""
    at = chunk.find(b">", position)
    while at >= 0:
        before = chunk[at - 1 : at] if at else last
        if before == b"\n":
            return at
        at = chunk.find(b">", at + 1)
    return len(chunk)
