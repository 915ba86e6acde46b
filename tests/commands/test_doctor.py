"""Check of the installation: one line per part, advice for what is amiss, and an exit code."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.model_io import hub_client
from genomeformer_cli.core.workflows import doctor
from tests.cli import RunCommand

NAMES = [
    *("device", "kernels", "threads", "memory", "cache", "temporary files", "versions", "model"),
    *("plugins", "network"),
]


def checks_of(run_cli: RunCommand, *options: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    done = run_cli("doctor", "--json", *options)
    assert (done.exit_code, done.err) == (exit_code, ""), done.out
    return {check["name"]: check for check in json.loads(done.out)["checks"]}


def test_every_part_has_a_line(run_cli: RunCommand, cache_home: Path) -> None:
    done = run_cli("doctor")
    assert (done.exit_code, done.err) == (0, "")
    lines = [line.partition(": ") for line in done.out.splitlines()]
    assert [name.partition(" ")[2].strip() for name, _, _ in lines] == NAMES
    texts = {name.partition(" ")[2].strip(): text for name, _, text in lines}
    assert f"torch {version('torch')}" in texts["versions"]
    assert texts["cache"].startswith(f"`{cache_home}`, 0 entries")
    assert "not checked" in texts["network"]
    assert not cache_home.exists()


def test_a_narrow_terminal_loses_nothing(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = run_cli("doctor").out.splitlines()
    assert len(lines) == len(NAMES)
    assert f"safetensors {version('safetensors')}" in lines[NAMES.index("versions")]


def test_entries_of_the_cache_are_counted(run_cli: RunCommand) -> None:
    assert run_cli("fetch", "--sample", "--quiet").exit_code == 0
    assert ", 3 entries of " in checks_of(run_cli)["cache"]["text"]


def test_an_unusable_cache_ends_with_1(run_cli: RunCommand, cache_home: Path) -> None:
    cache_home.write_text("a file")
    check = checks_of(run_cli, exit_code=1)["cache"]
    assert check["state"] == "unusable"
    assert "GENOMEFORMER_HOME" in check["advice"]


@pytest.mark.parametrize("number", ["0", "100000", "many", "-1"])
def test_an_unusable_number_of_threads_is_a_warning(
    number: str, run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    check = checks_of(run_cli)["threads"]
    assert (check["state"], f"`{number}`" in check["text"]) == ("warning", True)


def test_little_memory_and_disk_are_warnings(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_LEAST_MEMORY", "_LEAST_DISK", "_LEAST_TEMPORARY"):
        monkeypatch.setattr(doctor, name, 2**80)
    checks = checks_of(run_cli)
    states = {name: check["state"] for name, check in checks.items()}
    assert {name for name, state in states.items() if state == "warning"} >= {
        *("memory", "cache", "temporary files")
    }
    assert all(check["advice"] for check in checks.values() if check["state"] == "warning")


def test_hosts_are_reached_by_any_response_and_else_unusable(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", address)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", address)
        monkeypatch.setattr(hub_client, "hub_endpoint", lambda: address)
        checks = checks_of(run_cli, "--network")
        server.shutdown()
    assert {checks[name]["state"] for name in ("NCBI Datasets", "NCBI genomes", "Hub")} == {"ok"}
    checks = checks_of(run_cli, "--network", exit_code=1)
    assert checks["Hub"]["state"] == "unusable"
    assert "proxy" in checks["Hub"]["advice"]
