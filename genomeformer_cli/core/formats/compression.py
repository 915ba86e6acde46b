"""Text as it stands, or out of gzip, bzip2, xz and zstd: told apart by the first bytes of a file.

What is cut short or damaged is an error, never an early end. Query files come in every packing;
genomes of the cache are gzip'd and read by `inflate`, which is faster.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from genomeformer_cli.core.errors import FastaError, MissingExtraError

_CHUNK = 1 << 20
# A zstd frame cannot be inflated by halves: little goes in at a time, so that little comes out.
_ZSTD_CHUNK = 1 << 14

_OPENERS: tuple[tuple[bytes, str, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", "gzip", gzip.GzipFile),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
)
_ZSTD = b"\x28\xb5\x2f\xfd"
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


def text_chunks(path: Path, *, shown: str) -> Iterator[bytes]:
    """The text of a file, about 1 MB at a time.

    Args:
        path: A file of any packing, by its content and not its name.
        shown: Its name in errors.

    Raises:
        FastaError: Missing, unreadable, truncated or damaged.
        MissingExtraError: It is zstd, and `zstandard` is not installed.
    """
    kind = "file"
    try:
        with path.open("rb") as file:
            first = file.read(6)
        if first.startswith(_ZSTD):
            kind = "zstd file"
            yield from _zstd_chunks(path, shown)
            return
        found = ((name, opener) for magic, name, opener in _OPENERS if first.startswith(magic))
        name, opener = next(found, ("", open_plain))
        kind = f"{name} file".strip()
        with opener(path) as text:
            while chunk := text.read(_CHUNK):
                yield chunk
    except FileNotFoundError:
        raise FastaError(f"`{shown}` does not exist", hint="check the path") from None
    except _DAMAGED as failure:
        raise _damaged(shown, kind) from failure
    except OSError as failure:
        if failure.errno is None:  # bzip2's way to say that the data are no bzip2
            raise _damaged(shown, kind) from failure
        raise FastaError(
            f"`{shown}` cannot be read: {failure.strerror or failure}", hint="check the path"
        ) from failure


def open_plain(path: Path) -> IO[bytes]:
    """A file that is not packed."""
    return path.open("rb")


def text_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a text, without their ends."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest.removesuffix(b"\r")


def _damaged(shown: str, kind: str) -> FastaError:
    return FastaError(
        f"`{shown}` is a damaged or truncated {kind}", hint="download or copy it again"
    )


def _zstd_chunks(path: Path, shown: str) -> Iterator[bytes]:
    zstandard = _zstandard(shown)
    frame: Any = None
    try:
        with path.open("rb") as file:
            while raw := file.read(_ZSTD_CHUNK):
                while raw:
                    frame = frame or zstandard.ZstdDecompressor().decompressobj()
                    if text := frame.decompress(raw):
                        yield text
                    raw, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as failure:
        raise _damaged(shown, "zstd file") from failure
    if frame is not None:
        raise _damaged(shown, "zstd file")


def _zstandard(shown: str) -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        raise MissingExtraError(
            f"`{shown}` is zstd-compressed, which needs `zstandard`",
            hint="`pip install 'genomeformer[zstd]'`, or unpack it: `zstd -dc FILE | genomeformer "
            "embed -`",
        ) from None
