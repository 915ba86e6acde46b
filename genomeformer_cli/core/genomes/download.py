"""One file over a bad line: what has arrived is in `NAME.part`, what it is part of in a sidecar.

A try asks for the bytes still missing, on the condition that the file is unchanged; whatever the
host answers instead (the whole file, another part, another version, a web page) is recognised and
dealt with. Failures are counted since the last progress. A file counts as whole only when its
length is right, and as right only when its MD5 is (`download_verified`); until then nothing has
the file's own name. Callers hold a lock, so that one process at a time writes a part.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
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
    """What follows the bytes of a file."""

    def begin(self, total: int | None, have: int) -> None:
        """Say how large the file is and how much of it is there (again, if it starts over)."""

    def advance(self, num_bytes: int) -> None:
        """Say that so many more bytes arrived."""


class NoMeter:
    """A meter that follows nothing."""

    def begin(self, total: int | None, have: int) -> None:
        """Do nothing."""

    def advance(self, num_bytes: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A whole file, still under its `.part` name.

    Attributes:
        path: Where it lies.
        md5: Of its bytes.
        num_bytes: Its size.
        last_modified: As the host said.
        attested: Whether the host's own MD5 was there to compare with.
    """

    path: Path
    md5: str
    num_bytes: int
    last_modified: str | None
    attested: bool = False

    def drop(self) -> None:
        """Remove the part and its sidecar."""
        self.path.unlink(missing_ok=True)
        _sidecar(self.path).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """The sidecar: what the part is part of."""

    url: str
    total: int | None = None
    validator: str | None = None
    last_modified: str | None = None


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


class _Part:
    """The bytes that have arrived, their running MD5, and the sidecar."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        self.known = self._read_sidecar()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        except OSError as failure:
            raise explain_write_failure(path, failure) from failure
        self.digest = hashlib.md5(usedforsecurity=False)
        self.have = 0
        if self.known.url == url:
            self._take_up()
        else:
            self.restart()
        self._mark = self.have
        self._odd_ranges = 0

    def __enter__(self) -> _Part:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _read_sidecar(self) -> _Known:
        try:
            known: _Known = read_json(_sidecar(self.path), _Known)
        except DocumentError:
            return _Known(url="")
        return known

    def _take_up(self) -> None:
        while chunk := self._file.read(1 << 20):
            self.digest.update(chunk)
            self.have += len(chunk)
        if self.known.total is not None and self.have > self.known.total:
            self.restart()

    def _remember(self, known: _Known) -> None:
        self.known = known
        sidecar = _sidecar(self.path)
        fresh = sidecar.with_name(sidecar.name + ".new")
        try:
            fresh.write_text(json.dumps(vars(known)), encoding="utf-8")
            fresh.replace(sidecar)
        except OSError as failure:
            raise explain_write_failure(sidecar, failure) from failure

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return self.known.total is not None and self.have == self.known.total

    def restart(self) -> None:
        """Forget everything that arrived."""
        self._file.seek(0)
        self._file.truncate()
        self.digest = hashlib.md5(usedforsecurity=False)
        self.have = 0
        self.known = _Known(url=self.url)

    def accept(self, body: Body) -> bool:
        """Make the part ready for what the host sends; return whether that is to be written.

        Raises:
            TransientError: It cannot be used.
        """
        if body.status == 200:
            if "html" in body.content_type:
                raise TransientError(f"`{self.url}` sent a web page instead of the file")
            self.restart()
            self._remember(
                _Known(
                    url=self.url,
                    total=body.total,
                    validator=body.validator,
                    last_modified=body.last_modified,
                )
            )
            return True
        if body.status == 416:
            if body.total != self.have:
                self.restart()
                raise TransientError(f"`{self.url}` has changed")
            self._remember(_Known(**{**vars(self.known), "total": self.have}))
            return False
        totals, validators = {body.total, self.known.total}, {body.validator, self.known.validator}
        if len(totals - {None}) > 1 or len(validators - {None}) > 1:
            self.restart()
            raise TransientError(f"`{self.url}` changed while it was downloaded")
        return True

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            TransientError: They cannot be of this file.
            StoreError: The disk refused them.
        """
        if not self.have and self.url.endswith(".gz") and chunk[:2] != _GZIP_MAGIC[: len(chunk)]:
            raise TransientError(f"`{self.url}` sent something that is not gzip")
        if self.known.total is not None and self.have + len(chunk) > self.known.total:
            self.restart()
            raise TransientError(f"`{self.url}` sent more than the whole file")
        try:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure
        self.digest.update(chunk)
        self.have += len(chunk)

    def finish(self) -> None:
        """The host says that was all.

        Raises:
            TransientError: It was not.
        """
        if self.known.total is None and self.have:
            self._remember(_Known(**{**vars(self.known), "total": self.have}))
        if not self.complete:
            raise TransientError(f"`{self.url}`: got {self.have} of {self.known.total} bytes")
        os.fsync(self._file.fileno())

    def progressed(self) -> bool:
        """Whether enough arrived since the last look to forgive what failed before."""
        step = min(_PROGRESS, max(1, (self.known.total or 0) // 100))
        if self.have < self._mark + step:
            return False
        self._mark = self.have
        return True

    def forget_if_empty(self) -> None:
        """Leave no trace of a file that never came."""
        if not self.have:
            self.path.unlink(missing_ok=True)
            _sidecar(self.path).unlink(missing_ok=True)

    def doubt(self, failure: TransientError) -> None:
        """After a second odd answer to a request for the rest, ask for all of it."""
        self._odd_ranges = self._odd_ranges + 1 if isinstance(failure, RangeError) else 0
        if self._odd_ranges >= 2:
            self.restart()


def part_path(folder: Path, name: str) -> Path:
    """Where the part of a file lies."""
    return folder / f"{name}.part"


def download(transport: Transport, url: str, path: Path, *, meter: Meter) -> Downloaded:
    """Bring a file in whole, going on where an earlier try or process stopped.

    Args:
        transport: The network.
        url: The file.
        path: Its `.part`; the caller holds a lock on it.
        meter: Follows the bytes.

    Raises:
        NetworkError: All tries failed; what arrived is kept.
        RefusedError: The host will not give the file.
    """
    backoff = transport.backoff()
    with _Part(path, url) as part:
        while not part.complete:
            transport.halt.check()
            try:
                _try_once(transport, part, meter)
            except RefusedError:
                part.forget_if_empty()
                raise
            except TransientError as failure:
                if part.progressed():
                    backoff.progress()
                part.doubt(failure)
                backoff.wait(failure)
        return Downloaded(
            path=path,
            md5=part.digest.hexdigest(),
            num_bytes=part.have,
            last_modified=part.known.last_modified,
        )


def _try_once(transport: Transport, part: _Part, meter: Meter) -> None:
    with transport.stream(part.url, offset=part.have, validator=part.known.validator) as body:
        if part.accept(body):
            meter.begin(part.known.total, part.have)
            for chunk in body.chunks:
                part.write(chunk)
                meter.advance(len(chunk))
    part.finish()


@dataclass(frozen=True, kw_only=True)
class DownloadItem:
    """A file, and how to know it is the right one.

    Attributes:
        url: The file.
        path: Its `.part`; the caller holds a lock on it.
        read_md5: Gives the MD5 it should have; `None` if the host has none.
        reread_md5: The same, asking the host anew.
        check: Looks at the content and raises `FormatError`.
    """

    url: str
    path: Path
    read_md5: Callable[[], str | None]
    reread_md5: Callable[[], str | None]
    check: Callable[[Path], None]


def download_verified(
    transport: Transport, wanted: DownloadItem, *, meter: Meter | None = None
) -> Downloaded:
    """Bring a file in and let nothing pass that is not what the host itself vouches for.

    Raises:
        CorruptError: What arrives never is what it should be.
        FormatError: The file is what the host means to send, and is damaged all the same.
        NetworkError: All tries failed; what arrived is kept.
    """
    problem = "nothing arrived"
    for _ in range(_TRIES):
        got = download(transport, wanted.url, wanted.path, meter=meter or NoMeter())
        expected = wanted.read_md5()
        if expected is not None and got.md5 != expected:
            expected = wanted.reread_md5()
        if expected is not None and got.md5 != expected:
            problem = f"its MD5 is {got.md5}, the host says {expected}"
            got.drop()
            continue
        try:
            wanted.check(got.path)
        except FormatError as failure:
            got.drop()
            if expected is not None:
                raise
            problem = failure.message
            continue
        return Downloaded(**{**vars(got), "attested": expected is not None})
    raise CorruptError(
        f"`{wanted.url}` arrived damaged {_TRIES} times: {problem}",
        hint="run the command again later; nothing wrong was kept",
    )
