"""The door to the network: redirects, refusals, odd answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from genomeformer_cli.core.errors import NetworkError, RefusedError
from genomeformer_cli.core.genomes.rate_limit import TransientError
from genomeformer_cli.core.genomes.transport import HttpTransport, RangeError, TransportSettings

QUICK = TransportSettings(rate=5000.0, retries=2, read_timeout=0.5, backoff_base=0.001)


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says; remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str | None, bytes]]] = []
    other: ClassVar[str] = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:  # noqa: C901 - a table of answers
        length = int(self.headers.get("Content-Length") or 0)
        Handler.seen.append((self.path, self.headers.get("api-key"), self.rfile.read(length)))
        match self.path.strip("/").split("?")[0]:
            case "home":
                self._answer(302, Location="/ok")
            case "away":
                self._answer(302, Location=Handler.other + "/ok")
            case "circle":
                self._answer(302, Location="/circle")
            case "created":
                self._answer(201)
            case "refused":
                body = json.dumps({"error": "Bad", "code": 400, "message": "no such taxon"})
                self._answer(400, body.encode(), Ncbi_Phid="ABC")
            case "page":
                self._answer(403, b"<title>403 Error - NCBI</title>")
            case "list":
                self._answer(404, b"[1]")
            case "weak":
                self._answer(200, b"x", ETag='W/"1"', Last_Modified="then")
            case "strong":
                self._answer(200, b"x", ETag='"1"')
            case "nowhere":
                self._answer(206, b"x")
            case "gone":
                self._answer(416, b"", Content_Range="bytes */9")
            case _:
                self._answer(200, b"fine")

    do_POST = do_GET


@pytest.fixture
def urls() -> Iterator[tuple[str, str]]:
    """Start one server under two names of host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Handler.seen = []
    Handler.other = f"http://localhost:{server.server_port}"
    yield f"http://127.0.0.1:{server.server_port}", Handler.other
    server.shutdown()
    server.server_close()


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with HttpTransport(QUICK, headers={"api-key": "secret"}) as http:
        yield http


def test_redirects_keep_the_key_on_its_host(
    urls: tuple[str, str], transport: HttpTransport
) -> None:
    assert transport.get(urls[0] + "/home", bytes) == b"fine"
    assert [key for _, key, _ in Handler.seen] == ["secret", "secret"]
    Handler.seen.clear()
    assert transport.get(urls[0] + "/away", bytes) == b"fine"
    assert [key for _, key, _ in Handler.seen] == ["secret", None]


@pytest.mark.parametrize("path", ["/circle", "/created"])
def test_answers_that_lead_nowhere(
    urls: tuple[str, str], transport: HttpTransport, path: str
) -> None:
    with pytest.raises(NetworkError):
        transport.get(urls[0] + path, bytes)


@pytest.mark.parametrize(
    ("path", "said", "hint"),
    [
        ("/refused", "no such taxon", "ABC"),
        ("/page", "403 Error - NCBI", "connection.rate"),
        ("/list", "answered 404", "renamed"),
    ],
)
def test_refusals_include_the_message_of_the_host(
    urls: tuple[str, str], transport: HttpTransport, path: str, said: str, hint: str
) -> None:
    with pytest.raises(RefusedError, match=said) as caught:
        transport.get(urls[0] + path + "?word=private", bytes)
    assert hint in str(caught.value.hint)
    assert "private" not in caught.value.message
    assert "secret" not in repr(caught.value)
    assert len(Handler.seen) == 1


def test_a_body_is_posted_as_json(urls: tuple[str, str], transport: HttpTransport) -> None:
    transport.get(urls[0] + "/ok", bytes, body={"a": [1]})
    assert json.loads(Handler.seen[0][2]) == {"a": [1]}


def test_a_parser_that_never_succeeds(urls: tuple[str, str], transport: HttpTransport) -> None:
    with pytest.raises(NetworkError, match="unreadable response"):
        transport.get(urls[0] + "/ok", json.loads)
    assert len(Handler.seen) == 3


def test_validators(urls: tuple[str, str], transport: HttpTransport) -> None:
    with transport.stream(urls[0] + "/weak") as body:
        assert (body.validator, body.last_modified) == ("then", "then")
    with transport.stream(urls[0] + "/strong") as body:
        assert body.validator == '"1"'
        assert b"".join(body.chunks) == b"x"


def test_parts_without_a_name(urls: tuple[str, str], transport: HttpTransport) -> None:
    with (
        pytest.raises(RangeError, match="data without its range"),
        transport.stream(urls[0] + "/nowhere", offset=3),
    ):
        pass
    with transport.stream(urls[0] + "/gone", offset=9) as body:
        assert (body.status, body.total) == (416, 9)
    with pytest.raises(TransientError), transport.stream(urls[0] + "/nowhere"):
        pass
