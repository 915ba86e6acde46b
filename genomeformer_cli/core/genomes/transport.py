"""Network access: the protocol `Transport` of two methods, and its httpx implementation.

`get` requests a small document and parses it, with retries. `stream` makes one attempt at a large
file from an offset; `download`, which has the received bytes, retries. Both request identity
encoding and read raw bytes (a `.gz` must stay compressed), respect the rate limit, and close
connections that stall or are too slow. A `TransientError` may be retried, a `RefusedError` is
final. HTTP/1.1 only: long HTTP/2 streams often break at NCBI.
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

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_RESPONSE = 256 << 20
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_TITLE = re.compile(rb"<title>([^<]{1,200})</title>", re.IGNORECASE)


class RangeError(TransientError):
    """Invalid response to a range request."""


@dataclass(frozen=True, kw_only=True)
class TransportSettings:
    """Limits and timeouts."""

    rate: float  # Maximum number of requests per second.
    retries: int = 8  # Consecutive failures without progress before giving up a request or file.
    connect_timeout: float = 10.0  # Seconds to connect to the host.
    read_timeout: float = 60.0  # Seconds without data after which a connection is closed.
    min_speed: float = 512.0  # Bytes per second below which a connection is closed and reopened.
    speed_window: float = 30.0  # Seconds over which the speed is measured.
    backoff_base: float = 1.0  # Longest first wait, in seconds; doubled after every failure.
    backoff_cap: float = 60.0  # Longest wait between attempts, in seconds.
    retry_after_cap: float = 300.0  # Longest wait that a host may request.
    connections: int = 8  # Maximum number of open connections.


@dataclass(frozen=True, kw_only=True)
class Body:
    """Response whose body has not been read yet."""

    status: int  # 200 (whole file), 206 (from `start`) or 416 (nothing after the offset).
    start: int  # Offset of the first byte.
    total: int | None  # Size of the whole file, if known.
    validator: str | None  # Strong `ETag` or `Last-Modified`, for `If-Range`.
    last_modified: str | None  # `Last-Modified` as sent.
    content_type: str  # `Content-Type` as sent.
    chunks: Iterator[bytes]  # Bytes as they arrive.


class Transport(Protocol):
    """HTTP client of the package."""

    cancel: CancelToken

    def get(
        self,
        url: str,
        parse: Callable[[bytes], T],
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        """Send a request (POST with `body`) and parse the response; a `ValueError` is retried."""

    def stream(
        self, url: str, *, offset: int = 0, validator: str | None = None
    ) -> AbstractContextManager[Body]:
        """Make one attempt at a file, from `offset` if `validator` still matches."""

    def backoff(self) -> Backoff:
        """Return a new failure counter with this transport's settings."""


class HttpTransport:
    """Transport over httpx for one host, with rate limit and retries; thread-safe."""

    def __init__(
        self,
        config: TransportSettings,
        *,
        headers: Mapping[str, str] | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self.config = config
        self.cancel = cancel if cancel is not None else CancelToken()
        self._limiter = RateLimiter(config.rate)
        self._reached = False
        self._auth_headers = dict(headers or {})
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
            headers={"User-Agent": f"genomeformer/{__version__}", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> HttpTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def backoff(self) -> Backoff:
        """Return a new failure counter with this transport's settings."""
        return Backoff(
            self.config.retries,
            cancel=self.cancel,
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
        """Send a request and parse the response, with retries.

        Raises:
            NetworkError: All attempts failed.
            RefusedError: The host refuses the request.
        """
        backoff = self.backoff()
        while True:
            try:
                return parse(self._read_all(url, params, body))
            except TransientError as failure:
                backoff.wait(failure)
            except ValueError as failure:
                backoff.wait(
                    TransientError(
                        f"`{_without_query(url)}` sent an unreadable response: {failure}"
                    )
                )

    def _read_all(self, url: str, params: Params | None, body: Mapping[str, Any] | None) -> bytes:
        request = self._request("GET" if body is None else "POST", url, params=params, body=body)
        with self._open(request) as response:
            content = bytearray()
            for chunk in self._check_speed(response, response.iter_bytes()):
                content += chunk
                if len(content) > _MAX_RESPONSE:
                    raise TransientError(f"`{_without_query(url)}` sent more than 256 MiB")
            return bytes(content)

    @contextmanager
    def stream(self, url: str, *, offset: int = 0, validator: str | None = None) -> Iterator[Body]:
        """Make one attempt at a file.

        Raises:
            TransientError: The connection failed, or the response is unusable.
            RefusedError: The host refuses the request.
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
                chunks=self._check_speed(response, response.iter_raw()),
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
                headers={**self._auth_headers, **(headers or {})},
            )
        except httpx.InvalidURL as failure:
            raise _invalid_url(url, failure) from failure

    @contextmanager
    def _open(self, request: httpx.Request, *, ranged: bool = False) -> Iterator[httpx.Response]:
        url = str(request.url)
        self._limiter.take(self.cancel)
        try:
            response = self._send(request)
            try:
                self._check_status(response, url, ranged=ranged)
                yield response
            finally:
                response.close()
        except httpx.UnsupportedProtocol as failure:
            raise _invalid_url(url, failure) from failure
        except (httpx.TransportError, httpx.DecodingError) as failure:
            reason = str(failure) or type(failure).__name__
            cannot_connect = isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout)
            raise TransientError(
                f"`{_without_query(url)}` failed: {reason}",
                unreachable=cannot_connect and not self._reached,
            ) from failure

    def _send(self, request: httpx.Request) -> httpx.Response:
        for _ in range(4):
            response = self._client.send(request, stream=True)
            self._reached = True
            if response.next_request is None:
                return response
            response.close()
            origin, request = request.url, response.next_request
            if origin.scheme == "https" and request.url.scheme != "https":
                raise RefusedError(
                    f"`{_without_query(str(origin))}` redirects to an unencrypted address",
                    status=response.status_code,
                    hint="an unencrypted response cannot be trusted; check the address",
                )
            if _origin(request.url) != _origin(origin):
                for name in self._auth_headers:
                    request.headers.pop(name, None)
        raise TransientError(f"`{_without_query(str(request.url))}` redirects too often")

    def _check_status(self, response: httpx.Response, url: str, *, ranged: bool) -> None:
        status = response.status_code
        if status == 200 or (ranged and status in (206, 416)):
            return
        if status in _TRANSIENT:
            wait = read_retry_after(
                response.headers.get("retry-after"), cap=self.config.retry_after_cap
            )
            if wait is not None:
                self._limiter.hold(wait)
            raise TransientError(f"`{_without_query(url)}` answered {status}", retry_after=wait)
        if status < 400:
            raise TransientError(f"`{_without_query(url)}` answered {status}, which is unexpected")
        raise _refusal(response, url)

    def _check_speed(self, response: httpx.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
        window_start, num_bytes = time.monotonic(), 0
        for chunk in chunks:
            self.cancel.check()
            yield chunk
            num_bytes += len(chunk)
            elapsed = time.monotonic() - window_start
            if elapsed >= self.config.speed_window:
                if num_bytes < self.config.min_speed * elapsed:
                    raise TransientError(
                        f"`{_without_query(str(response.url))}` is too slow:"
                        f" {num_bytes} bytes in {elapsed:.0f} s"
                    )
                window_start, num_bytes = time.monotonic(), 0


def _invalid_url(url: str, failure: Exception) -> UsageError:
    return UsageError(
        f"`{_without_query(url)}` is not a valid URL: {failure}", hint="it starts with `https://`"
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port (explicit or the default of the scheme)."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _without_query(url: str) -> str:
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
    """Return the offset of the first byte, and the size of the whole file."""
    if response.status_code == 200:
        return 0, _length(response.headers)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if match is None:
        raise RangeError(f"`{_without_query(str(response.url))}` sent data without its range")
    first, _, total = match.groups()
    if response.status_code == 206 and (first is None or int(first) != offset):
        raise RangeError(f"`{_without_query(str(response.url))}` sent another range than requested")
    return offset, None if total == "*" else int(total)


def _refusal(response: httpx.Response, url: str) -> RefusedError:
    status = response.status_code
    try:
        content = next(response.iter_bytes(4096), b"")
    except httpx.TransportError:
        content = b""
    detail = _message(content)
    message = f"`{_without_query(url)}` answered {status}" + (f": {detail}" if detail else "")
    support = response.headers.get("ncbi-phid")
    hint = {
        401: "check the key in `NCBI_API_KEY`",
        403: "NCBI blocks clients above its rate limit; wait, or lower `connection.rate`",
        404: "it may have been renamed or withdrawn",
    }.get(status, "check the request")
    if support:
        hint += f"; quote this id to NCBI's help desk: {support}"
    return RefusedError(message, status=status, hint=hint)


def _message(content: bytes) -> str:
    try:
        value = parse_json(content, source="answer")
    except DocumentError:
        title = _TITLE.search(content)
        return title[1].decode("utf-8", errors="replace").strip() if title else ""
    detail = value.get("message") if isinstance(value, dict) else None
    return str(detail)[:300] if detail else ""
