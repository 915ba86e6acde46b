"""Records of FASTA and FASTQ files, plain or gzip'd, read by pyfastx with its holes closed.

pyfastx is fast and streams, but it returns a truncated or damaged `.gz` without a word, cuts a
sequence at a NUL byte, trusts an index whose file has changed, and its handles must not cross a
fork. So before any record is handed out the whole file is read once (`inspect_file`): the gzip
checksum of every member is verified, NUL bytes and text that is no FASTA are refused. No index is
ever written, and a reader belongs to the process that opened it.
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
from contextlib import contextmanager
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
    """Whether the file is gzip'd, by its first bytes and not its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


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
            first = file.read(_CHUNK)
            refuse_other_formats(first, name)
            chunk = first
            while chunk:
                if b"\0" in chunk:
                    raise FastaError(
                        f"`{name}` holds NUL bytes, so it is no text",
                        hint="fetch or export the file again",
                    )
                digest.update(chunk)
                chunk = file.read(_CHUNK)
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
        for fields in pyfastx.Fastx(str(path), comment=True):
            assert os.getpid() == opened_by, "a FASTA reader must not cross a fork"
            yield Record(fields[0], fields[-1] or "", fields[1])
    except (RuntimeError, UnicodeDecodeError, ValueError) as failure:
        raise FastaError(
            f"`{name}` cannot be read as FASTA: {failure}", hint="check the file's format"
        ) from failure


def is_pipe(path: Path) -> bool:
    """Whether a path can be read only once, such as `<(zcat genome.fa.gz)`."""
    return path.is_fifo() or path.is_char_device()


@contextmanager
def local_copy(source: str) -> Iterator[tuple[Path, str]]:
    """Yield a path that can be read twice for a source, and its name in messages.

    `-` is standard input; it and pipes are copied to a temporary file first.

    Raises:
        InputError: Standard input is a terminal.
    """
    if source != STDIN and not is_pipe(Path(source)):
        yield Path(source), source
        return
    if source == STDIN and sys.stdin.isatty():
        raise InputError(
            "standard input is a terminal",
            hint="pipe a file in, as in `zcat seqs.fa.gz | genomeformer embed -`",
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
