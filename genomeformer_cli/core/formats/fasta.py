"""Records of FASTA and FASTQ files, plain or gzip'd, read by pyfastx with its holes closed.

pyfastx is fast and streams, but it returns a truncated or damaged `.gz` without a word, cuts a
sequence at a NUL byte, trusts an index whose file has changed, and its handles must not cross a
fork. So before any record is handed out the whole file is read once (`inspect_file`): the gzip
checksum of every member is verified, NUL bytes and text that is no FASTA are refused. No index is
ever written, and a reader belongs to the process that opened it. FASTQ, at whose damage pyfastx
ends in silence, is read four lines at a time instead.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyfastx

from genomeformer_cli.core.errors import FastaError, InputError

STDIN = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_OTHER_FORMATS = (
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"LOCUS ", "a GenBank file"),
    (b"##gff", "a GFF file"),
    (b"<", "an HTML or XML page"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One sequence of a file.

    Attributes:
        id: First word of the header.
        description: The rest of the header.
        sequence: The letters as they stand, case kept.
    """

    id: str
    description: str
    sequence: str


def is_gzip(path: Path) -> bool:
    """Whether the file is gzip'd, by its first bytes; one that cannot be opened is not.

    Whoever reads it next says why it cannot be.
    """
    with suppress(OSError), path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC
    return False


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if is_gzip(path) else path.open("rb")


def inspect_file(path: Path, *, shown: str | None = None) -> str:
    """Read the whole file once and return the SHA-256 of its (decompressed) text.

    Args:
        path: FASTA or FASTQ, plain or gzip'd.
        shown: The name used in errors, if not the path.

    Raises:
        FastaError: Missing, empty, truncated, damaged, or not FASTA.
    """
    name = shown or str(path)
    digest = hashlib.sha256()
    try:
        with _open(path) as file:
            chunk = file.read(_CHUNK)
            refuse_other_formats(chunk, name)
            is_fasta = chunk.lstrip()[:1] == b">"
            last = b""
            while chunk:
                _refuse_what_readers_skip(last + chunk, name, is_fasta=is_fasta)
                digest.update(chunk)
                last = chunk[-1:]
                chunk = file.read(_CHUNK)
            if last == b"\r":
                raise old_line_ends(name)
    except FileNotFoundError:
        raise FastaError(f"`{name}` does not exist", hint="check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as failure:
        raise FastaError(
            f"`{name}` is a damaged or truncated gzip file", hint="download or copy it again"
        ) from failure
    except OSError as failure:
        raise FastaError(
            f"`{name}` cannot be read: {failure.strerror or failure}", hint="check the path"
        ) from failure
    return digest.hexdigest()


def _refuse_what_readers_skip(text: bytes, name: str, *, is_fasta: bool) -> None:
    """Refuse what a reader would pass over, or stop at, without a word."""
    if b"\0" in text:
        raise FastaError(
            f"`{name}` holds NUL bytes, so it is no text", hint="fetch or export the file again"
        )
    if text.count(b"\r") != text.count(b"\r\n") + text.endswith(b"\r"):
        raise old_line_ends(name)
    if is_fasta and (b"\n+" in text or b"\n@" in text):
        raise FastaError(
            f"`{name}` is FASTA with lines of FASTQ in it (they begin with `+` or `@`)",
            hint="fetch or export the file again",
        )


def old_line_ends(name: str) -> FastaError:
    """The sentence for line ends that readers would take for letters."""
    return FastaError(
        f"`{name}` has line ends that are a lone carriage return",
        hint="convert it, as with `tr '\\r' '\\n'`",
    )


def refuse_other_formats(first: bytes, name: str) -> None:
    """Say what a file is that is not FASTA or FASTQ, by its first bytes."""
    text = first.lstrip()
    if not text:
        raise FastaError(
            f"`{name}` is empty", hint="a FASTA file starts with a header line such as `>seq1`"
        )
    if text[:1] in (b">", b"@"):
        return
    what = next((what for magic, what in _OTHER_FORMATS if text.startswith(magic)), None)
    described = (
        f"is {what}, not FASTA" if what else "is not FASTA: its first line does not start with `>`"
    )
    raise FastaError(f"`{name}` {described}", hint="give FASTA or FASTQ, plain or gzip'd")


def read_records(path: Path, *, shown: str | None = None, inspect: bool = True) -> Iterator[Record]:
    """Every record of a file, in order, one at a time in memory.

    Args:
        path: FASTA or FASTQ, plain or gzip'd.
        shown: The name used in errors, if not the path.
        inspect: Verify the whole file first; leave out only for a file whose checksum was just
            checked.

    Raises:
        FastaError: Missing, empty, truncated, damaged, or not FASTA.
    """
    name = shown or str(path)
    if inspect:
        inspect_file(path, shown=name)
    return _stream(path, name)


def _stream(path: Path, name: str) -> Iterator[Record]:
    opened_by = os.getpid()
    try:
        with _open(path) as file:
            is_fastq = file.read(_CHUNK).lstrip()[:1] == b"@"
        for record in _stream_fastq(path, name) if is_fastq else _stream_fasta(path):
            assert os.getpid() == opened_by, "a FASTA reader must not cross a fork"
            yield record
    except (RuntimeError, UnicodeDecodeError, ValueError) as failure:
        raise FastaError(
            f"`{name}` cannot be read as FASTA: {failure}", hint="check the file's format"
        ) from failure


def _stream_fasta(path: Path) -> Iterator[Record]:
    for fields in pyfastx.Fastx(str(path), comment=True):
        yield Record(fields[0], fields[-1] or "", fields[1])


def _stream_fastq(path: Path, name: str) -> Iterator[Record]:
    with _open(path) as file:
        yield from fastq_records((line.rstrip(b"\r\n") for line in file), name)


def fastq_records(lines: Iterator[bytes], name: str) -> Iterator[Record]:
    """Four lines a record; pyfastx would end at the first damaged one without a word.

    A read that was trimmed to nothing is a record of two empty lines between its header and `+`.

    Args:
        lines: Without their ends.
        name: Used in errors.

    Raises:
        FastaError: A record is damaged or cut short.
        UnicodeDecodeError: A line is no text.
    """
    for line in lines:
        if not line:
            continue
        header, sequence = line.decode("utf-8"), next(lines, b"").decode("utf-8")
        plus, quality = next(lines, b""), next(lines, b"")
        if header[0] != "@" or plus[:1] != b"+" or len(quality) != len(sequence):
            raise FastaError(
                f"`{name}` is damaged or truncated FASTQ at `{header[:40]}`",
                hint="each record is four lines, with as many qualities as letters",
            )
        words = header[1:].split(maxsplit=1) if header[1:2].strip() else ["", header[1:].strip()]
        yield Record(words[0], words[1] if len(words) > 1 else "", sequence)


def is_pipe(path: Path) -> bool:
    """Whether a path can be read only once, such as `<(zcat genome.fa.gz)`."""
    return path.is_fifo() or path.is_char_device()


@contextmanager
def local_copy(source: str, *, command: str = "embed -") -> Iterator[tuple[Path, str]]:
    """Yield a path that can be read twice for a source, and its name in messages.

    `-` is standard input; it and pipes are copied to a temporary file first.

    Args:
        source: A path, or `-`.
        command: What reads it, for the hint.

    Raises:
        InputError: Standard input is a terminal.
    """
    if source != STDIN and not is_pipe(Path(source)):
        yield Path(source), source
        return
    if source == STDIN and sys.stdin.isatty():
        raise InputError(
            "standard input is a terminal",
            hint=f"pipe a file in, as in `zcat seqs.fa.gz | genomeformer {command}`",
        )
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as folder:
        path = Path(folder) / "piped.fa"
        with path.open("wb") as file:
            if source == STDIN:
                shutil.copyfileobj(sys.stdin.buffer, file)
            else:
                with Path(source).open("rb") as pipe:
                    shutil.copyfileobj(pipe, file)
        yield path, "standard input" if source == STDIN else source
