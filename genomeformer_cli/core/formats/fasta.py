"""FASTA and FASTQ reader: decompress, verify, hash, check and encode in one pass.

Records may be 250 Mbp long, so they are read in blocks; `sequences.read_sequences` concatenates
them. pyfastx counts the bases of verified files; it does not parse user files (ADR 0005, ADR 0016).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pyfastx

from genomeformer_cli.core.errors import AlphabetError, FastaError
from genomeformer_cli.core.formats import packing
from genomeformer_cli.core.formats.changes import Changes
from genomeformer_cli.core.formats.fastq import fastq_records
from genomeformer_cli.core.formats.text import TextFile, require_text, split_lines
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, flag_bases

_LONGEST_COMMENT = 1 << 20
_BLANK = b" \t\v\f"
_LEADING_LINES = re.compile(rb"\A(?:[ \t\v\f]*\n|;[^\n]*\n)+")
_COMMENT = re.compile(rb"\n;[^\n]*")
_BLANKS_AT_ENDS = re.compile(rb"[ \t\v\f]*\n[ \t\v\f]*")
_OTHER_FORMATS = (
    (b"LOCUS ", "a GenBank file"),
    (b"ID   ", "an EMBL file"),
    (b"##gff", "a GFF file"),
    (b"##fileformat=VCF", "a VCF file"),
    (b"CLUSTAL", "a Clustal alignment"),
    (b"#NEXUS", "a NEXUS file"),
    (b"{", "JSON"),
    (b";", "FASTA of the IntelliGenetics kind, whose headers start with `;`"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """Sequence of a file."""

    id: str  # First word of the header.
    description: str  # Rest of the header.
    sequence: str  # Letters with their case.


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive bases of a file."""

    marked: Codes  # Base codes, with `SOFT_BIT` for lower case; or the letters.
    # Positions and ids of records that start in the block; bases before the first belong to the
    # previous record.
    starts: list[tuple[int, str]]
    descriptions: list[str] = field(default_factory=list)  # Rest of the headers of these records.


class FastaReader:
    """One pass over a FASTA or FASTQ file.

    Args:
        source: Path of a file, plain or compressed, or an open text file.
        display_name: Name of the file in errors; the path by default.
        where: Prefix of errors in a record; the name by default.
        letters: Yield letters instead of codes.

    Attributes:
        text: Text file with its compression, checksum and progress.
        changes: Counts of changes, complete after the last block.
    """

    def __init__(
        self,
        source: Path | TextFile,
        *,
        display_name: str | None = None,
        where: str | None = None,
        letters: bool = False,
    ) -> None:
        self.text = (
            source if isinstance(source, TextFile) else TextFile(source, display_name=display_name)
        )
        self.changes = Changes()
        self._display_name = self.text.display_name
        self._where = where or f"`{self._display_name}`"
        self._letters = letters
        self._open_id = ""
        self._open_size = 0
        self._in_comment = False

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks of the file, each at most about 1 MB.

        Raises:
            FormatError: The file is missing, empty, truncated, damaged, not text, or not FASTA.
            AlphabetError: A character is not a nucleotide code.
        """
        chunks = self.text.chunks()
        first = self._start_of_records(chunks)
        refuse_other_formats(first, self._display_name)
        chunks = chain([first], chunks)
        is_fastq = first.startswith(b"@")
        yield from self._fastq_blocks(chunks) if is_fastq else self._fasta_blocks(chunks)
        self.changes.finish()

    def _start_of_records(self, chunks: Iterator[bytes]) -> bytes:
        """Return the first chunk without leading blank lines and comments."""
        first = b""
        for chunk in chunks:
            first += chunk
            if skipped := _LEADING_LINES.match(first):
                self.changes.num_comments += (b"\n" + skipped[0]).count(b"\n;")
                first = first[skipped.end() :]
            cut_comment = first.startswith(b";") and b"\n" not in first
            if first.strip(_BLANK) and not (cut_comment and len(first) < _LONGEST_COMMENT):
                break
        return first

    def _fasta_blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]:
        last = b"\n"
        header: bytes | None = None
        for chunk in _uncut_blanks(chunks):
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
                stretch = self._flag(chunk[position:at], last, to_end=at == len(chunk))
                parts.append(stretch)
                size += len(stretch)
                header, position = (b"", at + 1) if at < len(chunk) else (None, at)
            last = chunk[-1:]
            if size or starts:
                yield self._block(parts, starts, descriptions)
        if header is not None:
            name, description = self._begin(header)
            yield self._block([], [(0, name)], [description])

    def _fastq_blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]:
        parts: list[bytes] = []
        starts: list[tuple[int, str]] = []
        descriptions: list[str] = []
        size = 0
        for header, letters in fastq_records(
            split_lines(chunks, self._display_name), self._display_name
        ):
            name, description = self._begin(header)
            starts.append((size, name))
            descriptions.append(description)
            parts.append(self._flag(letters, b"", to_end=False))
            size += len(parts[-1])
            if size >= packing.TEXT_CHUNK:
                yield self._block(parts, starts, descriptions)
                parts, starts, descriptions, size = [], [], [], 0
        if starts:
            yield self._block(parts, starts, descriptions)

    def _block(
        self, parts: list[bytes], starts: list[tuple[int, str]], descriptions: list[str]
    ) -> Block:
        block = b"".join(parts)
        flagged = flag_bases(block) if self._letters else block
        unflagged = self.changes.count(np.frombuffer(flagged, dtype=np.uint8), starts)
        marked = np.frombuffer(block, dtype=np.uint8) if self._letters else unflagged
        return Block(marked, starts, descriptions)

    def _begin(self, header: bytes) -> tuple[str, str]:
        """Return the id of a record, and the rest of its header."""
        self.changes.num_records += 1
        words = header.split(maxsplit=1)
        if words:
            self.changes.num_blank_starts += header[:1] in (b" ", b"\t")
            name = words[0].decode("utf-8", errors="replace")
            where = f"{self._where}: id of record {self.changes.num_records}"
            self._open_id = require_text(name, where)
        else:
            self._open_id = self.changes.name_record()
        self._open_size = 0
        rest = words[1] if len(words) > 1 else b""
        return self._open_id, rest.strip().decode("utf-8", errors="replace")

    def _flag(self, lines: bytes, last: bytes, *, to_end: bool) -> bytes:
        """Return flagged codes, or letters, of sequence lines.

        Args:
            lines: Sequence lines of one record; the first and the last may be cut.
            last: Byte before the lines.
            to_end: True if the lines end with the chunk.
        """
        where = f"{self._where}: record `{self._open_id}`"
        if self._in_comment:
            end = lines.find(b"\n")
            lines, last = (lines[end:], b"\n") if end >= 0 else (b"", last)
            self._in_comment = end < 0
        try:
            flagged = flag_bases(lines, where=where, before=self._open_size)
        except AlphabetError:
            cleaned = self._without_blanks_and_comments(lines, last, to_end=to_end)
            if cleaned == lines:
                raise
            flagged = flag_bases(cleaned, where=where, before=self._open_size)
            lines = cleaned
        self._open_size += len(flagged)
        return lines.translate(None, b"\n") if self._letters else flagged

    def _without_blanks_and_comments(self, lines: bytes, last: bytes, *, to_end: bool) -> bytes:
        start = b"\n" if last == b"\n" else b""
        text = _BLANKS_AT_ENDS.sub(b"\n", start + lines)
        last_line = text[text.rfind(b"\n") :]
        self._in_comment = to_end and last_line.startswith(b"\n;")
        text, number = _COMMENT.subn(b"", text)
        self.changes.num_comments += number
        return text[len(start) :] if text.startswith(start) else text


def _uncut_blanks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Move trailing blanks of a chunk to the next one, which decides whether they end a line."""
    blanks = b""
    for chunk in chunks:
        text = blanks + chunk if blanks else chunk
        content = text.rstrip(_BLANK)
        blanks = text[len(content) :]
        if content:
            yield content


def _next_header(chunk: bytes, position: int, last: bytes) -> int:
    """Return the position of the next header line, or the length of the chunk."""
    at = chunk.find(b">", position)
    while at >= 0:
        before = chunk[at - 1 : at] if at else last
        if before == b"\n":
            return at
        at = chunk.find(b">", at + 1)
    return len(chunk)


def refuse_other_formats(first: bytes, display_name: str) -> None:
    """Refuse text that is not FASTA or FASTQ, and name its format if recognised."""
    if not first.strip():
        raise FastaError(
            f"`{display_name}` is empty",
            hint="a FASTA file starts with a header line such as `>seq1`",
        )
    if first[:1] in (b">", b"@"):
        return
    name = next((name for magic, name in _OTHER_FORMATS if first.startswith(magic)), None)
    description = f"is {name}" if name else "is not FASTA: its first line does not start with `>`"
    raise FastaError(
        f"`{display_name}` {description}{', not FASTA' if name else ''}",
        hint="give FASTA or FASTQ, plain or compressed",
    )


def inspect_file(path: Path, *, display_name: str | None = None) -> str:
    """Read a whole file and return the SHA-256 of its text with LF line ends.

    Args:
        path: FASTA or FASTQ file, plain or compressed.
        display_name: Name of the file in errors; the path by default.

    Raises:
        FormatError: The file is missing, empty, truncated, damaged, or not FASTA.
    """
    text = TextFile(path, display_name=display_name)
    chunks = text.chunks()
    first = next(chunks, b"")
    refuse_other_formats(_LEADING_LINES.sub(b"", first), text.display_name)
    digest = hashlib.sha256(first)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def read_records(
    path: Path, *, display_name: str | None = None, reporter: Reporter | None = None
) -> Iterator[Record]:
    """Yield every record in order, as letters, one at a time in memory.

    Args:
        path: FASTA or FASTQ file, plain or compressed.
        display_name: Name of the file in errors; the path by default.
        reporter: Receives the changes made while reading, after the last record.

    Raises:
        FormatError: The file is missing, empty, truncated, damaged, or not FASTA.
        AlphabetError: A character is not a nucleotide code.
    """
    reader = FastaReader(path, display_name=display_name, letters=True)
    for name, description, letters in whole_records(reader):
        yield Record(name, description, letters.tobytes().decode("ascii"))
    if reporter is not None:
        reader.changes.report(reader.text.display_name, reporter)


def whole_records(reader: FastaReader) -> Iterator[tuple[str, str, Codes]]:
    """Yield id, description and codes (or letters) of every record of a reader."""
    opened: tuple[str, str] | None = None
    parts: list[Codes] = []
    for block in reader.blocks():
        first = 0
        for (at, name), description in zip(block.starts, block.descriptions, strict=True):
            parts.append(block.marked[first:at])
            if opened is not None:
                yield *opened, parts[0] if len(parts) == 1 else np.concatenate(parts)
            opened, parts, first = (name, description), [], at
        parts.append(block.marked[first:])
    if opened is not None:
        yield *opened, parts[0] if len(parts) == 1 else np.concatenate(parts)


def record_lengths(path: Path) -> list[int]:
    """Return the length of every record of a verified FASTA file, counted by pyfastx.

    pyfastx is fast on plain FASTA, but it reads a truncated `.gz` without an error and cuts a
    sequence at a NUL byte. Call `inspect_file` first.
    """
    return [len(fields[1]) for fields in pyfastx.Fastx(str(path))]
