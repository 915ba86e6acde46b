"""A small Hub on the loopback: what `huggingface_hub` asks for, as it asks, and faults on demand.

Repositories with commits, files in git or by LFS (basic transfer), private ones and tokens. LFS
content is reached by a redirect, as from the Hub's own stores. Not here: Xet, which its client
leaves alone when `HF_HUB_DISABLE_XET` is set.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

TOKEN = "hf_" + "t" * 34
_LFS = (".safetensors", ".bin", ".png", ".onnx", ".gz")


@dataclass(kw_only=True)
class Fault:
    """Something to go wrong: requests whose method and path match, so many times.

    Kinds are a status, `wrong` bytes, a `cut` answer, a `spoil`ed commit, and `gated`: the refusal
    of a repository whose terms were not accepted, 401 without a token and 403 with one.
    """

    method: str
    path: str
    kind: str
    times: int = 1


@dataclass(kw_only=True)
class Repository:
    """Commits, the newest last; each has all its files."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, files: dict[str, bytes]) -> str:
        text = f"{len(self.commits)} {sorted((n, blob(c)) for n, c in files.items())}"
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits.append((oid, files))
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((one for one in self.commits if one[0] == revision), None)


@dataclass(kw_only=True)
class Hub:
    """The state of the server."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    # Answer every request with a redirect to this address; "" for none.
    moved_to: str = ""
    # Address of the store of large files; "" for this server under another name.
    store: str = ""
    # Requests that carried a token.
    authorised: list[str] = field(default_factory=list)

    def fault_at(self, method: str, path: str) -> str | None:
        for fault in self.faults:
            if fault.times and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault.kind
        return None

    def files(self, repository: str) -> dict[str, bytes]:
        return self.repositories[repository].commits[-1][1]

    def environment(self, home: str, token: str | None = TOKEN) -> dict[str, str]:
        """Return the environment of a process that uses this server as the Hub."""
        known = {"HF_ENDPOINT": self.url, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}
        return {**known, "HF_HUB_OFFLINE": "0", "HF_TOKEN": token or ""}


def blob(content: bytes) -> str:
    """Return the object id of git."""
    head = f"blob {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        del format, args

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.hub.asked.append(f"{self.command} {path}")
        if self.headers.get("Authorization"):
            self.hub.authorised.append(f"{self.command} {path}")
        self._fault: str | None = None
        if self.hub.moved_to:
            self._send(307, b"", {"Location": self.hub.moved_to + self.path})
            return
        self._fault = self.hub.fault_at(self.command, path)
        if self._fault is not None and self._fault.isdigit():
            self._json({"error": "injected"}, int(self._fault))
            return
        if self._fault == "gated":
            status = 403 if self._is_known() else 401
            self._json({"error": "Access is restricted"}, status, {"X-Error-Code": "GatedRepo"})
            return
        for pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match is not None:
                answer(self, body, **match.groupdict())
                return
        self._json({"error": f"unknown {path}"}, 404)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self._fault == "wrong":
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self._fault == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        known = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, json.dumps(value).encode(), known)

    def _is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, name: str, *, write: bool = False) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None or ((write or found.private) and not self._is_known()):
            missing = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self._json({"error": "Repository not found"}, 404 if self._is_known() else 401, missing)
            return None
        return found

    def _files_at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self._repository(name)
        if repository is None:
            return None
        found = repository.at(revision)
        if found is None:
            self._json({"error": "no revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return found

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._is_known():
            self._json({"error": "Invalid username or password."}, 401)
        elif name in self.hub.repositories:
            self._json({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
        else:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            repository = Repository(private=private)
            repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            self.hub.repositories[name] = repository
            self._json({"url": f"{self.hub.url}/{name}", "name": name})

    def validate(self, body: bytes) -> None:
        _, head, _ = f"{json.loads(body)['content']}---\n---\n".split("---\n", 2)
        right = "license:" in head
        self._json({"errors": [], "warnings": []}, 200 if right else 400)

    def info(self, body: bytes, name: str, revision: str = "main") -> None:
        del body
        found = self._files_at(name, revision)
        if found is None:
            return
        oid, files = found
        siblings = [
            {
                "rfilename": path,
                "size": len(content),
                "blobId": blob(content),
                **_lfs(path, content),
            }
            for path, content in sorted(files.items())
        ]
        private = self.hub.repositories[name].private
        self._json({"id": name, "sha": oid, "private": private, "siblings": siblings})

    def tree(self, body: bytes, name: str, revision: str) -> None:
        del body
        found = self._files_at(name, revision)
        if found is None:
            return
        rows = []
        for path, content in sorted(found[1].items()):
            row = {"type": "file", "path": path, "size": len(content), "oid": blob(content)}
            if path.endswith(_LFS):
                row["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
            rows.append(row)
        self._json(rows)

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        if self._repository(name, write=True) is None:
            return
        found = self.hub.repositories[name].at(revision)
        assert found is not None
        rows = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            there = found[1].get(path)
            oid = None if there is None else _object_id(path, there)
            mode = "lfs" if path.endswith(_LFS) else "regular"
            rows.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": rows, "commitOid": found[0]})

    def batch(self, body: bytes, name: str) -> None:
        if self._repository(name, write=True) is None:
            return
        rows = []
        for asked in json.loads(body)["objects"]:
            row = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.objects:
                row["actions"] = {
                    "upload": {"href": f"{self.hub.url}/store/{asked['oid']}", "header": {}},
                    "verify": {"href": f"{self.hub.url}/verify/{name}", "header": {}},
                }
            rows.append(row)
        self._json({"transfer": "basic", "objects": rows})

    def store(self, body: bytes, oid: str) -> None:
        if sha256(body) != oid:
            self._json({"error": "checksum"}, 400)
            return
        self.hub.objects[oid] = body
        self._json({})

    def verify(self, body: bytes, name: str) -> None:
        del name
        asked = json.loads(body)
        there = self.hub.objects.get(asked["oid"])
        right = there is not None and len(there) == asked["size"]
        self._json({}, 200 if right else 404)

    def commit(self, body: bytes, name: str, revision: str) -> None:
        repository = self._repository(name, write=True)
        if repository is None:
            return
        found = repository.at(revision)
        assert found is not None
        files = dict(found[1])
        for line in body.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif row["key"] == "deletedFile":
                del files[value["path"]]
        if self._fault == "spoil":
            files["README.md"] = b"spoilt"
        oid = repository.commit(files)
        url = f"{self.hub.url}/{name}/commit/{oid}"
        self._json({"success": True, "commitOid": oid, "commitUrl": url})

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        del body
        found = self._files_at(name, revision)
        if found is None:
            return
        oid, files = found
        if path not in files:
            self._json({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
            return
        content = files[path]
        headers = {"X-Repo-Commit": oid, "ETag": f'"{_object_id(path, content)}"'}
        if not path.endswith(_LFS):
            self._send(200, content, headers)
            return
        self.hub.objects[sha256(content)] = content
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": headers["ETag"]}
        # Another host, as the Hub's own stores are.
        store = self.hub.store or self.hub.url.replace("127.0.0.1", "localhost")
        headers["Location"] = f"{store}/store/{sha256(content)}"
        self._send(302, b"", headers)

    def fetch(self, body: bytes, oid: str) -> None:
        if self.command == "PUT":
            self.store(body, oid)
            return
        content = self.hub.objects[oid]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked is None or int(asked[1]) >= len(content):
            self._send(200, content, {"ETag": f'"{oid}"'})
            return
        first = int(asked[1])
        place = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206, content[first:], {"ETag": f'"{oid}"', "Content-Range": place})


def _object_id(path: str, content: bytes) -> str:
    return sha256(content) if path.endswith(_LFS) else blob(content)


def _lfs(path: str, content: bytes) -> dict[str, Any]:
    if not path.endswith(_LFS):
        return {}
    return {"lfs": {"sha256": sha256(content), "size": len(content), "pointerSize": 130}}


_NAME, _REVISION = r"(?P<name>[\w.-]+/[\w.-]+)", r"(?P<revision>[\w.-]+)"
_ROUTES: list[tuple[str, Any]] = [
    (r"/api/repos/create", _Handler.create),
    (r"/api/validate-yaml", _Handler.validate),
    (rf"/api/models/{_NAME}", _Handler.info),
    (rf"/api/models/{_NAME}/revision/{_REVISION}", _Handler.info),
    (rf"/api/models/{_NAME}/tree/{_REVISION}", _Handler.tree),
    (rf"/api/models/{_NAME}/preupload/{_REVISION}", _Handler.preupload),
    (rf"/api/models/{_NAME}/commit/{_REVISION}", _Handler.commit),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (rf"/{_NAME}/resolve/{_REVISION}/(?P<path>.+)", _Handler.resolve),
    (rf"/verify/{_NAME}", _Handler.verify),
    (r"/store/(?P<oid>[0-9a-f]{64})", _Handler.fetch),
]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub in a thread of its own."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on the loopback address for this process; a fresh one reads `Hub.environment`."""
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
        huggingface_hub.close_session()
