"""Commands that compute nothing start fast: a fresh process that has run them holds no torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import run_python

# Runs one command line; the last line of stderr then says which of the named modules it imported.
PROBE = """
import json, sys
from genomeformer_cli.app import main
heavy, sys.argv = json.loads(sys.argv[1]), ["genomeformer", *sys.argv[2:]]
code = 0
try:
    main()
except SystemExit as finished:
    code = finished.code
sys.stderr.write("\\n" + json.dumps([code or 0, sorted(set(heavy) & set(sys.modules))]))
"""
HEAVY = ("torch", "matplotlib", "safetensors", "tokenizers", "transformers")


def imported(*arguments: str, heavy: tuple[str, ...] = HEAVY) -> list[str]:
    done = run_python("-c", PROBE, json.dumps(heavy), *arguments)
    code, modules = json.loads(done.err.splitlines()[-1])
    assert code == 0, done.err
    return list(modules)


@pytest.mark.parametrize(
    "command",
    [
        *("", "fetch", "tokenize", "windows", "pretrain", "compare", "embed", "evaluate", "score"),
        *("release", "cache", "cache ls", "doctor"),
        *("", "fetch", "tokenize", "windows", "pretrain", "embed", "evaluate", "score", "release"),
        *("finetune", "predict"),
        *("cache", "cache ls"),
    ],
)
def test_help_is_light(command: str) -> None:
    assert imported(*command.split(), "--help", heavy=(*HEAVY, "httpx", "numpy", "pyfastx")) == []


def test_fetching_and_tokenizing_run_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    heavy = ("torch", "matplotlib", "transformers")
    assert imported("fetch", "--sample", heavy=heavy) == []
    assert imported("tokenize", "--genome", "NC_001422.1", "--name", "phage", heavy=heavy) == []
    assert imported("tokenize", "--inspect", "ACGTN", heavy=heavy) == []
    assert imported("tokenize", "--stats", "--name", "phage", heavy=("torch",)) == []
    assert imported("cache", "ls", heavy=heavy) == []
    assert imported("cache", "verify", heavy=heavy) == []


def test_version_is_light() -> None:
    assert imported("--version", heavy=(*HEAVY, "httpx", "numpy", "pyfastx")) == []
    assert imported("--version", "--json", heavy=(*HEAVY, "httpx", "numpy", "pyfastx")) == []
