"""The one door to the network: `Transport`, a protocol of two methods, and httpx behind it.

`get` asks for something small and parses it, with retries; `stream` opens one try at a large file
from an offset, and leaves retrying to `download`, which alone knows what has arrived. Both ask for
identity encoding and read raw bytes (a `.gz` must stay a `.gz`), keep the pace, and drop a line
that stalls or drips. What may pass is a `TransientError`, what will not is a `RefusedError`.
HTTP/1.1 only: long HTTP/2 streams are what breaks most often at NCBI.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx

from genomeformer_cli._version import __version__
from genomeformer_cli.core.documents import DocumentError, parse_json
from genomeformer_cli.core.errors import RefusedError, UsageError
from genomeformer_cli.core.genomes.rate_limit import (
    Backoff,
    CancelToken,
    RateLimiter,
    TransientError,
    read_retry_after,
)

T = TypeVar("T")
Params = Mapping[str, str | int | bool | list[str]]

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_SMALL = 256 << 20
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_TITLE = re.compile(rb"<title>([^<]{1,200})</title>", re.IGNORECASE)


class RangeError(TransientError):
    """An answer to a request for the rest of a file that is no such rest."""


@dataclass(frozen=True, kw_only=True)
class TransportSettings:
    """How patient to be.

    Attributes:
        rate: Requests a second, at most.
        retries: Failures in a row, without progress, after which a request or file is given up.
        connect_timeout: Seconds to reach the host.
        read_timeout: Seconds without a byte after which a line is dropped.
        min_speed: Bytes a second below which a line is dropped and opened again.
        speed_window: Seconds over which the speed is measured.
        backoff_base: Longest first wait, in seconds; it doubles with every failure.
        backoff_cap: Longest wait of our own choice.
        retry_after_cap: Longest wait that a host may ask for.
        connections: Connections kept open, at most.
    """

    rate: float
    retries: int = 8
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    min_speed: float = 512.0
    speed_window: float = 30.0
    backoff_base: float = 1.0
    backoff_cap: float = 60.0
    retry_after_cap: float = 300.0
    connections: int = 8


@dataclass(frozen=True, kw_only=True)
class Body:
    """An answer whose bytes are yet to come.

    Attributes:
        status: 200 (the whole file), 206 (from `start` on) or 416 (nothing beyond the offset).
        start: Offset of the first byte that comes.
        total: Size of the whole file, if the host says.
        validator: Strong `ETag` or `Last-Modified`, for `If-Range`.
        last_modified: `Last-Modified` as sent.
        content_type: `Content-Type` as sent.
        chunks: The bytes, as they arrive.
    """

    status: int
    start: int
    total: int | None
    validator: str | None
    last_modified: str | None
    content_type: str
    chunks: Iterator[bytes]


class Transport(Protocol):
    """What the rest of the package knows of the network."""

    halt: CancelToken

    def get(
        self,
        url: str,
        parse: Callable[[bytes], T],
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        """Ask (POST if there is a `body`) and parse; a `ValueError` of `parse` is a failure too."""

    def stream(
        self, url: str, *, offset: int = 0, validator: str | None = None
    ) -> AbstractContextManager[Body]:
        """Open one try at a file, from `offset` on if `validator` still names it."""

    def backoff(self) -> Backoff:
        """A fresh count of failures, as this transport is configured."""


class HttpTransport:
    """httpx with a pace, a watchdog and patience. One for a host; safe to share between threads."""

    def __init__(
        self,
        config: TransportSettings,
        *,
        headers: Mapping[str, str] | None = None,
        halt: CancelToken | None = None,
    ) -> None:
        self.config = config
        self.halt = halt if halt is not None else CancelToken()
        self._pace = RateLimiter(config.rate)
        self._reached = False
        self._secret = dict(headers or {})
        self._client = httpx.Client(
            http2=False,
            trust_env=True,
            follow_redirects=False,
            timeout=httpx.Timeout(config.read_timeout, connect=config.connect_timeout, pool=None),
            limits=httpx.Limits(
                max_connections=config.connections,
                max_keepalive_connections=config.connections,
                keepalive_expiry=4.0,
            ),
            headers={
                "User-Agent": f"genomeformer/{__version__}",
                "Accept-Encoding": "identity",
            },
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> HttpTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def backoff(self) -> Backoff:
        """A fresh count of failures, as this transport is configured."""
        return Backoff(
            self.config.retries,
            halt=self.halt,
            base=self.config.backoff_base,
            cap=self.config.backoff_cap,
        )

    def get(
        self,
        url: str,
        parse: Callable[[bytes], T],
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        """Ask and parse, until it succeeds or is refused.

        Raises:
            NetworkError: All tries failed.
            RefusedError: The answer is final, and no.
        """
        backoff = self.backoff()
        while True:
            try:
                return parse(self._read(url, params, body))
            except TransientError as failure:
                backoff.wait(failure)
            except ValueError as failure:
                backoff.wait(TransientError(f"`{_shown(url)}` sent what cannot be read: {failure}"))

    def _read(self, url: str, params: Params | None, body: Mapping[str, Any] | None) -> bytes:
        request = self._request("GET" if body is None else "POST", url, params=params, body=body)
        with self._open(request) as response:
            content = bytearray()
            for chunk in self._watched(response, response.iter_bytes()):
                content += chunk
                if len(content) > _SMALL:
                    raise TransientError(f"`{_shown(url)}` sends more than anybody asked for")
            return bytes(content)

    @contextmanager
    def stream(self, url: str, *, offset: int = 0, validator: str | None = None) -> Iterator[Body]:
        """Open one try at a file.

        Raises:
            TransientError: The line failed, or the answer cannot be what was asked for.
            RefusedError: The answer is final, and no.
        """
        headers = {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator:
                headers["If-Range"] = validator
        request = self._request("GET", url, headers=headers)
        with self._open(request, ranged=bool(offset)) as response:
            start, total = _extent(response, offset)
            yield Body(
                status=response.status_code,
                start=start,
                total=total,
                validator=_validator(response.headers),
                last_modified=response.headers.get("last-modified"),
                content_type=response.headers.get("content-type", ""),
                chunks=self._watched(response, response.iter_raw()),
            )

    def _request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        try:
            return self._client.build_request(
                method,
                url,
                params=dict(params) if params else None,
                json=body,
                headers={**self._secret, **(headers or {})},
            )
        except httpx.InvalidURL as failure:
            raise _no_address(url, failure) from failure

    @contextmanager
    def _open(self, request: httpx.Request, *, ranged: bool = False) -> Iterator[httpx.Response]:
        url = str(request.url)
        self._pace.take(self.halt)
        try:
            response = self._send(request)
            try:
                self._judge(response, url, ranged=ranged)
                yield response
            finally:
                response.close()
        except httpx.UnsupportedProtocol as failure:
            raise _no_address(url, failure) from failure
        except (httpx.TransportError, httpx.DecodingError) as failure:
            what = str(failure) or type(failure).__name__
            never = isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout)
            raise TransientError(
                f"`{_shown(url)}` failed: {what}", unreachable=never and not self._reached
            ) from failure

    def _send(self, request: httpx.Request) -> httpx.Response:
        for _ in range(4):
            response = self._client.send(request, stream=True)
            self._reached = True
            if response.next_request is None:
                return response
            response.close()
            home, request = request.url, response.next_request
            if home.scheme == "https" and request.url.scheme != "https":
                raise RefusedError(
                    f"`{_shown(str(home))}` sends us on to an unencrypted address",
                    status=response.status_code,
                    hint="nobody could vouch for what comes from there; check the address",
                )
            if _origin(request.url) != _origin(home):
                for name in self._secret:
                    request.headers.pop(name, None)
        raise TransientError(f"`{_shown(str(request.url))}` sends us in circles")

    def _judge(self, response: httpx.Response, url: str, *, ranged: bool) -> None:
        status = response.status_code
        if status == 200 or (ranged and status in (206, 416)):
            return
        if status in _PASSING:
            wait = read_retry_after(
                response.headers.get("retry-after"), cap=self.config.retry_after_cap
            )
            if wait is not None:
                self._pace.hold(wait)
            raise TransientError(f"`{_shown(url)}` answered {status}", retry_after=wait)
        if status < 400:
            raise TransientError(f"`{_shown(url)}` answered {status}, which was not asked for")
        raise _refusal(response, url)

    def _watched(self, response: httpx.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
        since, arrived = time.monotonic(), 0
        for chunk in chunks:
            self.halt.check()
            yield chunk
            arrived += len(chunk)
            elapsed = time.monotonic() - since
            if elapsed >= self.config.speed_window:
                if arrived < self.config.min_speed * elapsed:
                    raise TransientError(
                        f"`{_shown(str(response.url))}` drips: {arrived} bytes in {elapsed:.0f} s"
                    )
                since, arrived = time.monotonic(), 0


def _no_address(url: str, failure: Exception) -> UsageError:
    return UsageError(
        f"`{_shown(url)}` is no web address: {failure}", hint="it starts with `https://`"
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port, the port given or the scheme's own."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _shown(url: str) -> str:
    return url.partition("?")[0]


def _validator(headers: httpx.Headers) -> str | None:
    etag = headers.get("etag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    modified: str | None = headers.get("last-modified")
    return modified


def _length(headers: httpx.Headers) -> int | None:
    value = headers.get("content-length", "")
    return int(value) if value.isdigit() else None


def _extent(response: httpx.Response, offset: int) -> tuple[int, int | None]:
    """Offset of the first byte to come, and the size of the whole file."""
    if response.status_code == 200:
        return 0, _length(response.headers)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if match is None:
        raise RangeError(f"`{_shown(str(response.url))}` does not say which part it sends")
    first, _, total = match.groups()
    if response.status_code == 206 and (first is None or int(first) != offset):
        raise RangeError(f"`{_shown(str(response.url))}` sends another part than asked for")
    return offset, None if total == "*" else int(total)


def _refusal(response: httpx.Response, url: str) -> RefusedError:
    status = response.status_code
    try:
        content = next(response.iter_bytes(4096), b"")
    except httpx.TransportError:
        content = b""
    said = _message(content)
    told = f"`{_shown(url)}` answered {status}" + (f": {said}" if said else "")
    support = response.headers.get("ncbi-phid")
    hint = {
        401: "check the key in `NCBI_API_KEY`",
        403: "NCBI blocks addresses that ask too fast; wait, lower `--rate`, or use a key",
        404: "it may have been renamed or withdrawn",
    }.get(status, "check the request")
    if support:
        hint += f"; NCBI's help desk asks for this id: {support}"
    return RefusedError(told, status=status, hint=hint)


def _message(content: bytes) -> str:
    try:
        value = parse_json(content, source="answer")
    except DocumentError:
        title = _TITLE.search(content)
        return title[1].decode("utf-8", errors="replace").strip() if title else ""
    said = value.get("message") if isinstance(value, dict) else None
    return str(said)[:300] if said else ""
