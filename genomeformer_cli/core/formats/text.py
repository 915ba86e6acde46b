"""Text layer of all readers.

| convention            | treatment                                                               |
|-----------------------|-------------------------------------------------------------------------|
| compression           | plain, gzip, bzip2, xz, zstd, recognised by content                     |
| byte order mark       | UTF-8: removed, at every line start; UTF-16 and UTF-32: refused         |
| line end              | LF and CR LF; a lone CR is refused; no other character ends a line      |
| end of a line         | spaces are removed; a tab is kept, because it delimits an empty cell    |
| invalid UTF-8         | replaced by U+FFFD; an error in an id, allele or other required cell    |
| NUL, binary formats   | refused, with the format's name if recognised                           |
| `-`, pipes            | copied to a temporary file, because files are read twice                |

Readers of lines call `read_lines`; readers of large sequences use the chunks of a `TextFile`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from genomeformer_cli.core.errors import FormatError, InputError, StoreError
from genomeformer_cli.core.formats.packing import Copy, PackedFile, packing_of

STDIN = "-"
STDIN_NAME = "standard input"
REPLACEMENT = "\ufffd"
MAX_LINE = 1 << 28
_BOM = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_BINARY_FORMATS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document"),
    (b"\x1f\x9d", "packed by `compress` (.Z)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"BAM\x01", "a BAM file"),
    (b"CRAM", "a CRAM file"),
    (b"BCF\x02", "a BCF file"),
    (b"\x43\x27\x41\x1a", "a 2bit file"),
    (b"\x1a\x41\x27\x43", "a 2bit file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PAR1", "a Parquet file"),
)
_TAR_MARK = slice(257, 262)


class Line(NamedTuple):
    """Line of a text."""

    number: int  # Line number, from 1.
    text: str  # Text without line end and trailing spaces.


@dataclass(frozen=True, slots=True)
class NamedFile:
    """File that can be read twice, and its name in messages."""

    path: Path
    display_name: str

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the file; see `TextFile.lines`."""
        return read_lines(self.path, display_name=self.display_name)


class TextFile:
    """Text file that is decompressed and checked in one pass, with LF line ends.

    Args:
        path: Text file, plain or compressed.
        display_name: Name of the file in errors; the path by default.
        copy: Receives the bytes of the file, still compressed.
        copy_text: Receives the decompressed bytes, before any change.

    Attributes:
        packed: Underlying file with its compression, checksum and number of bytes read.
    """

    def __init__(
        self,
        path: Path,
        *,
        display_name: str | None = None,
        copy: Copy | None = None,
        copy_text: Copy | None = None,
    ) -> None:
        self.packed = PackedFile(path, display_name=display_name, copy=copy)
        self.display_name = self.packed.display_name
        self._copy_text = copy_text

    def chunks(self) -> Iterator[bytes]:
        """Yield the text, about 1 MB at a time, cut at any position, with LF line ends.

        Raises:
            FormatError: The file is missing, unreadable, damaged, or not text.
            MissingExtraError: The file is zstd, and `zstandard` is not installed.
        """
        buffer = b"\n"  # so that the first line starts like all others
        first = True
        for raw in self._unpacked():
            if first:
                self._refuse_other_contents(raw)
            if b"\0" in raw:
                raise self._not_text()
            chunk, buffer = _normalize(buffer + raw if buffer else raw)
            if b"\r" in chunk:
                raise old_line_ends(self.display_name)
            if first and chunk:
                chunk, first = chunk[1:], False
            if chunk:
                yield chunk
        if buffer == b"\r":
            raise old_line_ends(self.display_name)
        rest = buffer[1:] if first else buffer
        if rest:
            yield rest

    def lines(self) -> Iterator[Line]:
        """Yield every line, including blank ones.

        Raises:
            FormatError: As for `chunks`; or a line is longer than 256 MB.
            MissingExtraError: The file is zstd, and `zstandard` is not installed.
        """
        for number, line in enumerate(split_lines(self.chunks(), self.display_name), start=1):
            yield Line(number, line.decode("utf-8", errors="replace").rstrip(" "))

    def _unpacked(self) -> Iterator[bytes]:
        for raw in self.packed.chunks():
            if self._copy_text is not None:
                try:
                    self._copy_text.write(raw)
                except OSError as failure:
                    raise StoreError(
                        f"could not copy `{self.display_name}`: {failure.strerror or failure}",
                        hint="free some space; no partial file was left",
                    ) from failure
            yield raw

    def _refuse_other_contents(self, first: bytes) -> None:
        for mark, encoding in _OTHER_ENCODINGS:
            if first.startswith(mark):
                raise FormatError(
                    f"`{self.display_name}` is {encoding} text, by its byte order mark",
                    hint=f"save it as UTF-8, as in `iconv -f {encoding} -t UTF-8 FILE > NEW`",
                )
        again = packing_of(first)
        if again is not None and self.packed.packing is not None:
            raise FormatError(
                f"`{self.display_name}` is packed twice: {again.name} inside "
                f"{self.packed.packing.name}",
                hint=f"unpack it once, as in `{self.packed.packing.program} FILE > NEW`",
            )
        name = next((name for mark, name in _BINARY_FORMATS if first.startswith(mark)), "")
        if first[_TAR_MARK] == b"ustar":
            name = "a tar archive"
        if first.lstrip()[:1] == b"<":
            name = "an HTML or XML page"
        if name:
            raise FormatError(
                f"`{self.display_name}` is {name}, not plain text",
                hint="export it as text first, a workbook as CSV (in Excel: CSV UTF-8); or "
                "unpack it",
            )

    def _not_text(self) -> FormatError:
        return FormatError(
            f"`{self.display_name}` holds NUL bytes, so it is not text (or it is UTF-16)",
            hint="fetch or export the file again, as UTF-8",
        )


def _normalize(text: bytes) -> tuple[bytes, bytes]:
    """Return text with LF line ends and without byte order marks, and the undecided rest."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    waiting = b""
    if text.endswith(b"\r"):
        text, waiting = text[:-1], b"\r"
    else:
        for size in (3, 2, 1):
            if text.endswith(b"\n" + _BOM[: size - 1]):
                text, waiting = text[:-size], text[-size:]
                break
    if not text.isascii():
        text = text.replace(b"\n" + _BOM, b"\n")
    return text, waiting


def text_chunks(path: Path, *, display_name: str | None = None) -> Iterator[bytes]:
    """Yield the text of a file; see `TextFile.chunks`."""
    return TextFile(path, display_name=display_name).chunks()


def read_lines(path: Path, *, display_name: str | None = None) -> Iterator[Line]:
    """Yield the lines of a file; see `TextFile.lines`."""
    return TextFile(path, display_name=display_name).lines()


def split_lines(chunks: Iterator[bytes], display_name: str) -> Iterator[bytes]:
    """Split checked text at LF.

    Args:
        chunks: Text from `TextFile.chunks`.
        display_name: Name of the file in errors.

    Raises:
        FormatError: A line is longer than 256 MB.
    """
    parts: list[bytes] = []
    size = number = 0
    for chunk in chunks:
        lines = chunk.split(b"\n")
        if len(lines) > 1:
            number += len(lines) - 1
            yield b"".join((*parts, lines[0]))
            yield from lines[1:-1]
            parts, size = [], 0
        parts.append(lines[-1])
        size += len(lines[-1])
        if size > MAX_LINE:
            raise FormatError(
                f"`{display_name}`, line {number + 1} is longer than {MAX_LINE >> 20} MB",
                hint="check the file's format",
            )
    if size:
        yield b"".join(parts)


def require_text(cell: str, where: str) -> str:
    """Return a required cell, which must be valid UTF-8.

    Args:
        cell: Text from a `Line`.
        where: File, line and column, as in "`x.vcf`, line 3, column REF".

    Raises:
        FormatError: The cell is not UTF-8.
    """
    if REPLACEMENT in cell:
        raise FormatError(
            f"{where}: `{cell[:60]}` is not UTF-8 text",
            hint="convert the file, as in `iconv -f ISO-8859-1 -t UTF-8 FILE > NEW`",
        )
    return cell


def old_line_ends(display_name: str) -> FormatError:
    """Build the error for lone carriage returns as line ends."""
    return FormatError(
        f"`{display_name}` has line ends that are a lone carriage return",
        hint="convert it, as in `tr '\\r' '\\n' < FILE > NEW`",
    )


def is_pipe(path: Path) -> bool:
    """Return True for a path that can be read only once, such as `<(zcat genome.fa.gz)`."""
    return path.is_fifo() or path.is_char_device()


@contextmanager
def local_copy(source: str, *, command: str = "embed -") -> Iterator[tuple[Path, str]]:
    """Yield a path that can be read twice, and its name in messages.

    `-` is standard input. Standard input and pipes are copied to a temporary file.

    Args:
        source: Path, or `-`.
        command: Command that reads the source, for the hint.

    Raises:
        InputError: Standard input is a terminal.
        StoreError: The temporary file cannot be written.
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
        path = Path(folder) / "piped"
        if source == STDIN:
            _spool(sys.stdin.buffer, path, STDIN_NAME)
        else:
            with Path(source).open("rb") as pipe:
                _spool(pipe, path, source)
        yield path, STDIN_NAME if source == STDIN else source


def _spool(pipe: IO[bytes], path: Path, display_name: str) -> None:
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(pipe, file)
    except OSError as failure:
        raise StoreError(
            f"could not keep a copy of {display_name}: {failure.strerror or failure}",
            hint="free some space, or set `TMPDIR` to a folder that has some",
        ) from failure
