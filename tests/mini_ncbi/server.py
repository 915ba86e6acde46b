"""HTTP/1.1 over raw sockets, so that it can lie about lengths, drip, stall and reset.

Tests and the benchmark start it in threads of their own process; several connections share one
bandwidth, and every request waits one latency.
"""

from __future__ import annotations

import email.utils
import gzip
import json
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.mini_ncbi import files, rest
from tests.mini_ncbi.faults import STATUSES, Fault, Scripts
from tests.mini_ncbi.world import World, make_world

EPOCH = 1_700_000_000
HTML = b"<html><head><title>403 Error - NCBI</title></head><body>blocked</body></html>"
_RANGE = re.compile(r"bytes=(\d+)-$")


@dataclass(kw_only=True)
class Asked:
    """One request as the server saw it."""

    at: float
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int = 0
    sent: int = 0

    @property
    def is_body(self) -> bool:
        """Return True if the request is for a file of a genome."""
        return self.path.endswith("_genomic.fna.gz")


@dataclass(kw_only=True)
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    declared: int | None = None
    send: int | None = None
    then: str = ""
    chunked: bool = False
    drip: bool = False


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what this is about."""


@dataclass(kw_only=True)
class MiniNcbi:
    """The running server: its world, its faults, its log."""

    world: World = field(default_factory=make_world)
    latency: float = 0.0
    bandwidth: float | None = None
    stall: float = 5.0
    api_down: bool = False
    retry_after: int = 0
    scripts: Scripts = field(default_factory=Scripts)
    log: list[Asked] = field(default_factory=list)
    modified: dict[str, int] = field(default_factory=dict)
    port: int = 0
    find_fault: Callable[[str], Fault] | None = None
    summaries_name_us: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, bytes] | None = None
        self._next_byte_at = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return self.url + rest.PREFIX

    @property
    def files(self) -> dict[str, bytes]:
        """Every file by path."""
        if self._files is None:
            self._files = files.tree(self.world, host=self.url if self.summaries_name_us else "")
        return self._files

    def changed(self) -> None:
        """The world was changed: make its files anew."""
        self._files = None

    def bodies(self) -> list[Asked]:
        """Requests for genomes."""
        return [asked for asked in self.log if asked.is_body]

    def __enter__(self) -> MiniNcbi:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                try:
                    while owner.serve(self):
                        pass
                except OSError:
                    return

            def finish(self) -> None:
                try:
                    super().finish()
                except OSError:
                    return

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: socketserver.StreamRequestHandler) -> bool:
        """Answer one request; return whether the connection stays open."""
        line = handler.rfile.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = {}
        while (row := handler.rfile.readline(65536).decode("latin-1").strip()) != "":
            name, _, value = row.partition(":")
            headers[name.lower()] = value.strip()
        content = handler.rfile.read(int(headers.get("content-length", 0)))
        target = urlsplit(line[1])
        asked = Asked(
            at=time.monotonic(),
            method=line[0],
            path=re.sub("/+", "/", unquote(target.path)),
            query=parse_qs(target.query),
            headers=headers,
        )
        with self._lock:
            self.log.append(asked)
            fault = self.scripts.next(asked.path)
        if self.find_fault is not None:
            fault = self.find_fault(asked.path)
        time.sleep(self.latency)
        if fault is Fault.REFUSE:
            return False
        reply = self._reply(asked, fault, json.loads(content) if content else None)
        asked.status = reply.status
        return self._send(handler, asked, reply)

    def _reply(self, asked: Asked, fault: Fault, body: Any) -> _Reply:
        api = asked.path.startswith(rest.PREFIX)
        if api and self.api_down:
            fault = Fault.FORBIDDEN
        if fault in STATUSES:
            return _refusal(fault, self.retry_after)
        if fault is Fault.HTML:
            return _Reply(status=200, headers={"Content-Type": "text/html"}, body=HTML)
        if fault is Fault.NO_FILE:
            return _missing()
        reply = self._rest(asked, fault, body) if api else self._file(asked, fault)
        size = len(reply.body)
        if fault in (Fault.RESET, Fault.FIN, Fault.STALL):
            then = {Fault.RESET: "reset", Fault.FIN: "close", Fault.STALL: "stall"}[fault]
            reply.send, reply.then = size * 2 // 5, then
        elif fault is Fault.CUT_CHUNKS:
            reply.send, reply.then, reply.chunked = size * 2 // 5, "close", True
        elif fault is Fault.NO_LENGTH_CUT:
            reply.send, reply.then, reply.declared = size * 2 // 5, "close", -1
        elif fault is Fault.DRIP:
            reply.drip = True
        return reply

    def _rest(self, asked: Asked, fault: Fault, body: Any) -> _Reply:
        status, value = rest.answer(self.world, asked.path, asked.query, body)
        if fault is Fault.EMPTY_PAGE:
            value = {"total_count": value.get("total_count", 0)}
        if fault is Fault.NO_TOKEN:
            value.pop("next_page_token", None)
        if fault is Fault.REPEATED and value.get("reports"):
            value["reports"] = [value["reports"][0], *value["reports"]]
        headers = {"Content-Type": "application/json", "X-RateLimit-Limit": "5"}
        return _Reply(status=status, headers=headers, body=rest.as_json(value))

    def _file(self, asked: Asked, fault: Fault) -> _Reply:
        content = self.files.get(asked.path)
        if content is None:
            return _missing()
        if fault is Fault.BAD_MD5:
            content = re.sub(rb"(?m)^[0-9a-f]{4}", b"dead", content)
        if fault is Fault.FLIPPED:
            content = content[:50] + bytes([content[50] ^ 1]) + content[51:]
        if fault is Fault.MODIFIED:
            with self._lock:
                self.modified[asked.path] = self.modified.get(asked.path, EPOCH) + 3600
        stamp = self.modified.get(asked.path, EPOCH)
        modified = email.utils.formatdate(stamp, usegmt=True)
        headers = {
            "Server": "Apache",
            "Accept-Ranges": "bytes",
            "Last-Modified": modified,
            "Content-Type": "application/x-gzip",
        }
        if fault is Fault.GZIP_ENCODING:
            headers["Content-Encoding"] = "gzip"
        match = _RANGE.match(asked.headers.get("range", ""))
        condition = asked.headers.get("if-range")
        ranged = match is not None and condition in (None, modified) and fault is not Fault.FULL
        if fault is Fault.UNSATISFIABLE and match is not None:
            headers["Content-Range"] = f"bytes */{len(content) + 7}"
            return _Reply(status=416, headers=headers, body=b"")
        if not ranged or match is None:
            return _Reply(status=200, headers=headers, body=content)
        start, total = int(match[1]), len(content)
        if start >= total:
            headers["Content-Range"] = f"bytes */{total}"
            return _Reply(status=416, headers=headers, body=b"")
        shown = start + 3 if fault is Fault.WRONG_RANGE else start
        headers["Content-Range"] = f"bytes {shown}-{total - 1}/{total}"
        return _Reply(status=206, headers=headers, body=content[start:])

    def _send(
        self, handler: socketserver.StreamRequestHandler, asked: Asked, reply: _Reply
    ) -> bool:
        headers = dict(reply.headers)
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif reply.declared == -1:
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = str(len(reply.body))
        head = f"HTTP/1.1 {reply.status} Status\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        handler.wfile.write(head.encode("latin-1"))
        body = reply.body if reply.send is None else reply.body[: reply.send]
        if reply.chunked:
            handler.wfile.write(f"{len(reply.body):x}\r\n".encode())
        step = 1 if reply.drip else 1 << 14
        deadline = time.monotonic() + self.stall
        for start in range(0, len(body), step):
            chunk = body[start : start + step]
            self._pace(len(chunk))
            handler.wfile.write(chunk)
            asked.sent += len(chunk)
            if reply.drip:
                time.sleep(0.01)
                if time.monotonic() > deadline:
                    return False
        if reply.then == "stall":
            handler.wfile.flush()
            time.sleep(self.stall)
        if reply.then == "reset":
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
        return reply.then == "" and headers.get("Connection") != "close"

    def _pace(self, num_bytes: int) -> None:
        """Share one bandwidth between all connections."""
        if self.bandwidth is None:
            return
        with self._lock:
            now = time.monotonic()
            moment = max(now, self._next_byte_at)
            self._next_byte_at = moment + num_bytes / self.bandwidth
        time.sleep(max(0.0, moment - now))


def _missing() -> _Reply:
    body = b"<html><head><title>404 Not Found</title></head></html>"
    return _Reply(status=404, headers={"Content-Type": "text/html"}, body=body)


def _refusal(fault: Fault, retry_after: int) -> _Reply:
    status = STATUSES[fault]
    headers = {"Content-Type": "application/json", "Ncbi-Phid": "322C1234"}
    if fault is Fault.TOO_MANY_WAIT:
        headers["Retry-After"] = str(retry_after)
    if fault is Fault.TOO_MANY_DATE:
        headers["Retry-After"] = email.utils.formatdate(time.time(), usegmt=True)
    if fault is Fault.FORBIDDEN:
        return _Reply(status=status, headers={"Content-Type": "text/html"}, body=HTML)
    value = {"error": "Internal Server Error", "code": status, "message": "try again"}
    return _Reply(status=status, headers=headers, body=json.dumps(value).encode())


def unpacked(content: bytes) -> bytes:
    """Return the content of a `.gz`."""
    return gzip.decompress(content)
