"""Hostile servers: a key that follows a redirect."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx  # noqa: TID251 - only its mock of a server
import pytest

from genomeformer_cli.core.errors import (
    RefusedError,
)
from genomeformer_cli.core.genomes.transport import HttpTransport, TransportSettings

# attack-12: a key that follows a redirect


class Listener(BaseHTTPRequestHandler):
    """Remember the key of every request; redirect where `target` points."""

    target: str | None = None
    keys: list[str | None]

    def do_GET(self) -> None:
        type(self).keys.append(self.headers.get("api-key"))
        self.send_response(200 if self.target is None else 302)
        if self.target is not None:
            self.send_header("Location", self.target)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write no log."""


def serve(target: str | None = None) -> tuple[ThreadingHTTPServer, type[Listener]]:
    kind = type("Kind", (Listener,), {"target": target, "keys": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server, kind


@pytest.fixture
def servers() -> Iterator[list[ThreadingHTTPServer]]:
    started: list[ThreadingHTTPServer] = []
    yield started
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_key_stays_with_its_host_and_port(servers: list[ThreadingHTTPServer], host: str) -> None:
    away, elsewhere = serve()
    servers.append(away)
    home, here = serve(f"http://{host}:{away.server_address[1]}/x")
    servers.append(home)
    settings = TransportSettings(rate=1000, retries=0)
    with HttpTransport(settings, headers={"api-key": "SECRET"}) as transport:
        transport.get(f"http://127.0.0.1:{home.server_address[1]}/y", len)
    assert here.keys == ["SECRET"]
    assert elsewhere.keys == [None]


def test_a_redirect_never_leaves_encryption() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.path == "/same":
            return httpx.Response(302, headers={"Location": "https://a.example:443/end"})
        if request.url.path == "/end":
            return httpx.Response(200, content=b"{}")
        return httpx.Response(302, headers={"Location": "http://a.example/end"})

    settings = TransportSettings(rate=1000, retries=0)
    with HttpTransport(settings, headers={"api-key": "SECRET"}) as transport:
        transport._client = httpx.Client(transport=httpx.MockTransport(answer))
        assert transport.get("https://a.example/same", len) == 2
        assert [request.headers.get("api-key") for request in asked] == ["SECRET"] * 2
        asked.clear()
        with pytest.raises(RefusedError, match="unencrypted"):
            transport.get("https://a.example/down", len)
    assert len(asked) == 1
