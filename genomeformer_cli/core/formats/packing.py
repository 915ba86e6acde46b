"""Decompression of gzip (and bgzip), bzip2, xz and zstd, recognised by content.

This is the only module that decompresses. A file is read once, in chunks of bounded size; its bytes
are hashed, and copied on request, in the same pass. Decompression limits the speed of reading, so
it runs in a separate thread; `isal`, where it is installed, takes two fifths of the CPU time of
zlib. A truncated or damaged file is an error, never an early end.
"""

from __future__ import annotations

import bz2
import hashlib
import importlib
import lzma
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from genomeformer_cli.core.errors import FormatError, MissingExtraError, StoreError
from genomeformer_cli.core.store.run_record import note_input

TEXT_CHUNK = 1 << 20
_RAW_CHUNK = 1 << 18
# zstd consumes its whole input, so small inputs bound the output.
_ZSTD_CHUNK = 1 << 14
_XZ_MEMORY = 1 << 30
_AHEAD = 4
_GZIP_WINDOW = 31


class Copy(Protocol):
    """Binary output."""

    def write(self, content: bytes, /) -> object:
        """Append bytes."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Compression format."""

    name: str  # Name in messages.
    suffix: str  # Usual file suffix.
    magics: tuple[bytes, ...]  # Alternative magic numbers.
    program: str  # Command that decompresses to standard output.
    # Returns a decompressor of one member, and the errors that it raises.
    engine: Callable[[str], tuple[Callable[[], Any], tuple[type[Exception], ...]]]
    input_chunk: int = _RAW_CHUNK  # Number of bytes per call of the decompressor.

    def starts(self, first: bytes) -> bool:
        """Return True if the first bytes are those of this format."""
        return first.startswith(self.magics)


def _gzip_engine(display_name: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    del display_name
    try:
        fast = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return lambda: zlib.decompressobj(_GZIP_WINDOW), (zlib.error,)
    return lambda: fast.decompressobj(_GZIP_WINDOW), (fast.error, zlib.error)


def _bzip2_engine(display_name: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    del display_name
    # bzip2 reports damaged data as an OSError without a number, which the reader checks.
    return bz2.BZ2Decompressor, ()


def _xz_engine(display_name: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    del display_name
    return (lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), (lzma.LZMAError,))


class _ZstdMember:
    """Zstd frame with the interface of the other decompressors."""

    needs_input = True

    def __init__(self, zstandard: Any) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data)

    def decompress(self, raw: bytes, max_length: int) -> bytes:
        del max_length
        return bytes(self._frame.decompress(raw))


def _zstd_engine(display_name: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    try:
        zstandard: Any = importlib.import_module("zstandard")
    except ImportError:
        raise MissingExtraError(
            f"`{display_name}` is zstd-compressed, which needs `zstandard`",
            hint="`pip install 'genomeformer[zstd]'`, or unpack it: `zstd -dc FILE | genomeformer "
            "COMMAND -`",
        ) from None
    return lambda: _ZstdMember(zstandard), (zstandard.ZstdError,)


_SKIPPABLE = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))
PACKINGS = (
    Packing(
        name="gzip", suffix=".gz", magics=(b"\x1f\x8b",), program="gzip -dc", engine=_gzip_engine
    ),
    Packing(
        name="bzip2",
        suffix=".bz2",
        magics=tuple(b"BZh%d" % level for level in range(1, 10)),
        program="bzip2 -dc",
        engine=_bzip2_engine,
    ),
    Packing(name="xz", suffix=".xz", magics=(b"\xfd7zXZ\0",), program="xz -dc", engine=_xz_engine),
    Packing(
        name="zstd",
        suffix=".zst",
        magics=(b"\x28\xb5\x2f\xfd", *_SKIPPABLE),
        program="zstd -dc",
        engine=_zstd_engine,
        input_chunk=_ZSTD_CHUNK,
    ),
)
_LONGEST_MAGIC = max(len(magic) for packing in PACKINGS for magic in packing.magics)


def packing_of(first: bytes) -> Packing | None:
    """Return the compression format of a file with these first bytes, or None."""
    return next((packing for packing in PACKINGS if packing.starts(first)), None)


def file_packing(path: Path) -> Packing | None:
    """Return the compression format of a file; None if it is plain or cannot be opened.

    The error is reported by the next reader of the file.
    """
    with suppress(OSError), path.open("rb") as file:
        return packing_of(file.read(_LONGEST_MAGIC))
    return None


def is_gzip(path: Path) -> bool:
    """Return True for a gzip file."""
    packing = file_packing(path)
    return packing is not None and packing.name == "gzip"


class PackedFile:
    """File that is decompressed in one pass.

    Args:
        path: File, plain or compressed.
        display_name: Name of the file in errors; the path by default.
        copy: Receives the bytes of the file, still compressed.

    Attributes:
        packing: Compression format after the first chunk; None for a plain file.
        num_read: Number of compressed bytes read so far.
    """

    def __init__(
        self, path: Path, *, display_name: str | None = None, copy: Copy | None = None
    ) -> None:
        self._path = path
        self._copy = copy
        self.display_name = display_name or str(path)
        self._digest = hashlib.sha256()
        self.packing: Packing | None = None
        self.num_read = 0

    @property
    def is_gzip(self) -> bool:
        """True for a gzip file; valid after the first chunk."""
        return self.packing is not None and self.packing.name == "gzip"

    @property
    def sha256(self) -> str:
        """Checksum of the compressed bytes, after the last chunk."""
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes, about `TEXT_CHUNK` at a time.

        Raises:
            FormatError: The file is missing, unreadable, truncated or damaged.
            MissingExtraError: The file is zstd, and `zstandard` is not installed.
        """
        note_input(self._path, self.display_name)
        try:
            large = self._path.stat().st_size > _RAW_CHUNK
            source = self._read()
            yield from _in_a_thread(source) if large else source
        except FileNotFoundError:
            raise FormatError(
                f"`{self.display_name}` does not exist", hint="check the path"
            ) from None
        except OSError as failure:
            raise FormatError(
                f"`{self.display_name}` cannot be read: {failure.strerror or failure}",
                hint="check the path",
            ) from failure

    def _take(self, file: IO[bytes], size: int) -> bytes:
        raw = file.read(size)
        self._digest.update(raw)
        if self._copy is not None and raw:
            try:
                self._copy.write(raw)
            except OSError as failure:
                raise StoreError(
                    f"could not copy `{self.display_name}`: {failure.strerror or failure}",
                    hint="free some space; no partial file was left",
                ) from failure
        self.num_read += len(raw)
        return raw

    def _read(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            raw = self._take(file, max(_RAW_CHUNK, _LONGEST_MAGIC))
            self.packing = packing_of(raw)
            if self.packing is not None:
                yield from _merge_chunks(self._unpack(file, raw, self.packing))
                return
            while raw:
                yield raw
                raw = self._take(file, TEXT_CHUNK)

    def _unpack(self, file: IO[bytes], raw: bytes, packing: Packing) -> Iterator[bytes]:
        start, errors = packing.engine(self.display_name)
        member = None
        try:
            while raw or member is None:
                if member is None:
                    raw = self._next_member(file, raw, packing)
                    if not raw:
                        return
                    member = start()
                behind = raw[packing.input_chunk :]
                text = member.decompress(raw[: packing.input_chunk], TEXT_CHUNK)
                yield text
                raw = getattr(member, "unconsumed_tail", b"") + behind
                # A run of N expands a thousandfold: `max_length` bounds memory, and the
                # remaining output is fetched before more input is read.
                while not raw and not _has_consumed(member, text):
                    text = member.decompress(b"", TEXT_CHUNK)
                    yield text
                if member.eof:
                    raw, member = member.unused_data + behind, None
                else:
                    raw = raw or self._take(file, _RAW_CHUNK)
        except errors as failure:
            raise self._damaged_error(packing, failure) from failure
        except OSError as failure:
            if failure.errno is not None:
                raise
            raise self._damaged_error(packing, failure) from failure
        raise self._damaged_error(packing, EOFError("the file ends inside a member"))

    def _next_member(self, file: IO[bytes], raw: bytes, packing: Packing) -> bytes:
        """Return the bytes from the next member on; empty after the last one."""
        # Tape blocks are padded with zeros after the last member.
        raw = raw.lstrip(b"\0")
        while len(raw) < _LONGEST_MAGIC and (more := self._take(file, _RAW_CHUNK)):
            raw = (raw + more).lstrip(b"\0")
        if raw and not packing.starts(raw):
            raise self._followed_by_other_data(packing)
        return raw

    def _damaged_error(self, packing: Packing, failure: Exception) -> FormatError:
        if "memory" in str(failure).lower():
            return FormatError(
                f"`{self.display_name}` needs too much memory to be unpacked ({packing.name})",
                hint=f"unpack it first, as in `{packing.program} FILE > UNPACKED`",
            )
        return FormatError(
            f"`{self.display_name}` is a damaged or truncated {packing.name} file",
            hint="download or copy it again",
        )

    def _followed_by_other_data(self, packing: Packing) -> FormatError:
        return FormatError(
            f"`{self.display_name}` has other data after the end of its {packing.name} data",
            hint="download or copy it again; if the first part is all you need, "
            f"`{packing.program} FILE > UNPACKED`",
        )


def _has_consumed(member: Any, text: bytes) -> bool:
    """Return True if a decompressor has no buffered output for its input."""
    if member.eof:
        return True
    needs_input = getattr(member, "needs_input", None)
    return len(text) < TEXT_CHUNK if needs_input is None else bool(needs_input)


def _merge_chunks(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Concatenate small members (bgzip has 64 kB ones) to larger chunks."""
    buffer: list[bytes] = []
    size = 0
    for text in texts:
        buffer.append(text)
        size += len(text)
        if size >= TEXT_CHUNK // 2:
            yield buffer[0] if len(buffer) == 1 else b"".join(buffer)
            buffer, size = [], 0
    if buffer:
        yield b"".join(buffer)


def _in_a_thread(source: Iterator[bytes]) -> Iterator[bytes]:
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for chunk in source:
                put(chunk)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as failure:  # noqa: BLE001 - it is raised where the chunks are used
            put(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
