"""Resumable download of one file: data in `NAME.part`, metadata in a sidecar.

Each attempt requests the missing bytes on condition that the file is unchanged. Any other response
(the whole file, another range, another version, a web page) is detected and handled. Failures are
counted since the last progress. A file is complete when its length is right and accepted when its
MD5 is right (`download_verified`); until then no file has its final name. Callers hold a lock, so
that only one process writes a part.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CorruptError, FormatError, RefusedError
from genomeformer_cli.core.genomes.rate_limit import TransientError
from genomeformer_cli.core.genomes.transport import Body, RangeError, Transport
from genomeformer_cli.core.store.atomic import explain_write_failure

_PROGRESS = 16 << 10
_TRIES = 3
_GZIP_MAGIC = b"\x1f\x8b"


class Meter(Protocol):
    """Receiver of progress."""

    def begin(self, total: int | None, have: int) -> None:
        """Set the size of the file and the number of bytes present; repeated after a restart."""

    def advance(self, num_bytes: int) -> None:
        """Add to the number of bytes present."""


class NoMeter:
    """Meter that ignores progress."""

    def begin(self, total: int | None, have: int) -> None:
        """Do nothing."""

    def advance(self, num_bytes: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class DownloadedFile:
    """Complete file, still under its `.part` name."""

    path: Path  # Path of the part.
    md5: str  # MD5 checksum.
    num_bytes: int  # Size in bytes.
    last_modified: str | None  # `Last-Modified` header as sent.
    attested: bool = False  # True if the MD5 equals the one published by the host.

    def drop(self) -> None:
        """Remove the part and its sidecar."""
        drop_part(self.path)


@dataclass(frozen=True, kw_only=True)
class _PartState:
    """Content of the sidecar: URL, size and version of the whole file."""

    url: str
    total: int | None = None
    validator: str | None = None
    last_modified: str | None = None


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


class _Part:
    """Received bytes, their running MD5, and the sidecar."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        self.state = self._read_sidecar()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        except OSError as failure:
            raise explain_write_failure(path, failure) from failure
        self.digest = hashlib.md5(usedforsecurity=False)
        self.num_received = 0
        if self.state.url == url:
            self._resume()
        else:
            self.restart()
        self._mark = self.num_received
        self._num_range_errors = 0

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_sidecar(self) -> _PartState:
        try:
            state: _PartState = read_json(_sidecar(self.path), _PartState)
        except DocumentError:
            return _PartState(url="")
        return state

    def _resume(self) -> None:
        while chunk := self._file.read(1 << 20):
            self.digest.update(chunk)
            self.num_received += len(chunk)
        if self.state.total is not None and self.num_received > self.state.total:
            self.restart()

    def _save_state(self, state: _PartState) -> None:
        self.state = state
        sidecar = _sidecar(self.path)
        temporary = sidecar.with_name(sidecar.name + ".new")
        try:
            temporary.write_text(json.dumps(vars(state)), encoding="utf-8")
            temporary.replace(sidecar)
        except OSError as failure:
            raise explain_write_failure(sidecar, failure) from failure

    @property
    def complete(self) -> bool:
        """True if all bytes have been received."""
        return self.state.total is not None and self.num_received == self.state.total

    def restart(self) -> None:
        """Discard the received bytes."""
        self._file.seek(0)
        self._file.truncate()
        self.digest = hashlib.md5(usedforsecurity=False)
        self.num_received = 0
        self.state = _PartState(url=self.url)

    def accept(self, body: Body) -> bool:
        """Prepare the part for a response; return True if its body is to be written.

        Raises:
            TransientError: The response is unusable.
        """
        if body.status == 200:
            if "html" in body.content_type:
                raise TransientError(f"`{self.url}` sent a web page instead of the file")
            self.restart()
            self._save_state(
                _PartState(
                    url=self.url,
                    total=body.total,
                    validator=body.validator,
                    last_modified=body.last_modified,
                )
            )
            return True
        if body.status == 416:
            if body.total != self.num_received:
                self.restart()
                raise TransientError(f"`{self.url}` has changed")
            self._save_state(_PartState(**{**vars(self.state), "total": self.num_received}))
            return False
        totals, validators = {body.total, self.state.total}, {body.validator, self.state.validator}
        if len(totals - {None}) > 1 or len(validators - {None}) > 1:
            self.restart()
            raise TransientError(f"`{self.url}` changed while it was downloaded")
        return True

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            TransientError: The bytes cannot belong to this file.
            StoreError: The disk cannot be written.
        """
        if (
            not self.num_received
            and self.url.endswith(".gz")
            and chunk[:2] != _GZIP_MAGIC[: len(chunk)]
        ):
            raise TransientError(f"`{self.url}` sent data that is not gzip")
        if self.state.total is not None and self.num_received + len(chunk) > self.state.total:
            self.restart()
            raise TransientError(f"`{self.url}` sent more than the whole file")
        try:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure
        self.digest.update(chunk)
        self.num_received += len(chunk)

    def finish(self) -> None:
        """Check the size at the end of a response.

        Raises:
            TransientError: The file is incomplete.
        """
        if self.state.total is None and self.num_received:
            self._save_state(_PartState(**{**vars(self.state), "total": self.num_received}))
        if not self.complete:
            raise TransientError(
                f"`{self.url}`: got {self.num_received} of {self.state.total} bytes"
            )
        os.fsync(self._file.fileno())

    def has_progressed(self) -> bool:
        """Return True if enough bytes arrived since the last call to reset the failure count."""
        step = min(_PROGRESS, max(1, (self.state.total or 0) // 100))
        if self.num_received < self._mark + step:
            return False
        self._mark = self.num_received
        return True

    def remove_if_empty(self) -> None:
        """Remove a part without bytes, and its sidecar."""
        if not self.num_received:
            self.path.unlink(missing_ok=True)
            _sidecar(self.path).unlink(missing_ok=True)

    def count_range_error(self, failure: TransientError) -> None:
        """Restart the file after two invalid responses to a range request."""
        self._num_range_errors = (
            self._num_range_errors + 1 if isinstance(failure, RangeError) else 0
        )
        if self._num_range_errors >= 2:
            self.restart()


def part_path(folder: Path, name: str) -> Path:
    """Return the path of a file's part."""
    return folder / f"{name}.part"


def drop_part(path: Path) -> None:
    """Remove a part and its sidecar, if they are there."""
    path.unlink(missing_ok=True)
    _sidecar(path).unlink(missing_ok=True)


def download(transport: Transport, url: str, path: Path, *, meter: Meter) -> DownloadedFile:
    """Download a whole file, resuming an earlier attempt.

    Args:
        transport: HTTP transport.
        url: Address of the file.
        path: Path of the `.part`; the caller holds a lock on it.
        meter: Receives progress.

    Raises:
        NetworkError: All attempts failed; received bytes are kept.
        RefusedError: The host refuses the file.
    """
    backoff = transport.backoff()
    with _Part(path, url) as part:
        while not part.complete:
            transport.cancel.check()
            try:
                _try_once(transport, part, meter)
            except RefusedError:
                part.remove_if_empty()
                raise
            except TransientError as failure:
                if part.has_progressed():
                    backoff.progress()
                part.count_range_error(failure)
                backoff.wait(failure)
        return DownloadedFile(
            path=path,
            md5=part.digest.hexdigest(),
            num_bytes=part.num_received,
            last_modified=part.state.last_modified,
        )


def _try_once(transport: Transport, part: _Part, meter: Meter) -> None:
    with transport.stream(
        part.url, offset=part.num_received, validator=part.state.validator
    ) as body:
        if part.accept(body):
            meter.begin(part.state.total, part.num_received)
            for chunk in body.chunks:
                part.write(chunk)
                meter.advance(len(chunk))
    part.finish()


@dataclass(frozen=True, kw_only=True)
class DownloadItem:
    """File to download, with its checks."""

    url: str  # Address of the file.
    path: Path  # Path of the `.part`; the caller holds a lock on it.
    read_md5: Callable[[], str | None]  # Returns the expected MD5; None if the host has none.
    reread_md5: Callable[[], str | None]  # Requests the expected MD5 again.
    check: Callable[[Path], None]  # Checks the content and raises `FormatError`.


def download_verified(
    transport: Transport, item: DownloadItem, *, meter: Meter | None = None
) -> DownloadedFile:
    """Download a file and verify its MD5 and content.

    Raises:
        CorruptError: Every attempt failed verification.
        FormatError: The file has the published MD5, but its content is damaged.
        NetworkError: All attempts failed; received bytes are kept.
    """
    problem = "nothing arrived"
    for _ in range(_TRIES):
        result = download(transport, item.url, item.path, meter=meter or NoMeter())
        expected = item.read_md5()
        if expected is not None and result.md5 != expected:
            expected = item.reread_md5()
        if expected is not None and result.md5 != expected:
            problem = f"its MD5 is {result.md5}, expected {expected}"
            result.drop()
            continue
        try:
            item.check(result.path)
        except FormatError as failure:
            result.drop()
            if expected is not None:
                raise
            problem = failure.message
            continue
        return DownloadedFile(**{**vars(result), "attested": expected is not None})
    raise CorruptError(
        f"`{item.url}` was damaged in {_TRIES} downloads: {problem}",
        hint="run the command again later; the damaged file was deleted",
    )
