"""The text of a plain or gzip'd file in chunks of bounded size, inflated once, verified and hashed.

Inflating is the floor of everything that reads genomes, so it runs in a thread of its own and its
text is used while the next chunk is made. With the optional `isal` it takes half the time.
"""

from __future__ import annotations

import hashlib
import importlib
import queue
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from genomeformer_cli.core.errors import FastaError, StoreError

TEXT_CHUNK = 1 << 20
_RAW_CHUNK = 1 << 18
_AHEAD = 4
_GZIP = 31
_MAGIC = b"\x1f\x8b"


class Copy(Protocol):
    """Takes a file's bytes."""

    def write(self, content: bytes, /) -> object:
        """Append some."""


def _engine() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        fast = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib.decompressobj, (zlib.error, EOFError)
    return fast.decompressobj, (fast.error, zlib.error, EOFError)


class TextReader:
    """Reads a file once.

    Args:
        path: Plain or gzip'd text.
        shown: The name used in errors.
        copy: Gets the file's own bytes as they are read.

    Attributes:
        is_gzip: Whether it is compressed; known from the first chunk on.
        num_read: Bytes of the file read so far, as they lie on disk.
    """

    def __init__(self, path: Path, shown: str, *, copy: Copy | None = None) -> None:
        self._path = path
        self._copy = copy
        self._shown = shown
        self._digest = hashlib.sha256()
        self.is_gzip = False
        self.num_read = 0

    @property
    def sha256(self) -> str:
        """Checksum of the file's own bytes; right once every chunk was taken."""
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The text, at most about `TEXT_CHUNK` bytes at a time.

        Raises:
            FastaError: Missing, unreadable, truncated or damaged.
        """
        engine, damaged = _engine()
        try:
            large = self._path.stat().st_size > _RAW_CHUNK
            source = self._read(engine)
            yield from _in_a_thread(source) if large else source
        except FileNotFoundError:
            raise FastaError(f"`{self._shown}` does not exist", hint="check the path") from None
        except damaged as failure:
            raise FastaError(
                f"`{self._shown}` is a damaged or truncated gzip file",
                hint="download or copy it again",
            ) from failure
        except OSError as failure:
            raise FastaError(
                f"`{self._shown}` cannot be read: {failure.strerror or failure}",
                hint="check the path",
            ) from failure

    def _raw(self, file: IO[bytes], size: int) -> bytes:
        raw = file.read(size)
        self._digest.update(raw)
        if self._copy is not None:
            try:
                self._copy.write(raw)
            except OSError as failure:
                raise StoreError(
                    f"could not copy `{self._shown}`: {failure.strerror or failure}",
                    hint="free some space; nothing was left half-written",
                ) from failure
        self.num_read += len(raw)
        return raw

    def _read(self, engine: Any) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            raw = self._raw(file, _RAW_CHUNK)
            self.is_gzip = raw[:2] == _MAGIC
            if self.is_gzip:
                yield from _joined(self._inflate(file, raw, engine))
                return
            while raw:
                yield raw
                raw = self._raw(file, TEXT_CHUNK)

    def _inflate(self, file: IO[bytes], raw: bytes, engine: Any) -> Iterator[bytes]:
        member = None
        while raw:
            if member is None:
                # Tape blocks are filled up with zeros after the last member.
                raw = raw.lstrip(b"\0")
                member = engine(_GZIP) if raw else None
            while member is not None:
                # A run of N inflates a thousandfold: the limit keeps memory bounded.
                text = member.decompress(raw, TEXT_CHUNK)
                if text:
                    yield text
                if member.eof:
                    raw, member = member.unused_data.lstrip(b"\0"), None
                    if raw:
                        member = engine(_GZIP)
                    continue
                raw = member.unconsumed_tail
                if not raw and len(text) < TEXT_CHUNK:
                    break
            raw = self._raw(file, _RAW_CHUNK)
        if member is not None:
            raise EOFError("the file ends inside a gzip member")


def _joined(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Small members (bgzip has 64 kB ones) put together, so that a chunk is worth its handling."""
    waiting: list[bytes] = []
    size = 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= TEXT_CHUNK // 2:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


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
