"""Running the command line in tests, in a fresh process, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Result of a command; streams as bytes, because `embed` writes an array to stdout."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()


class RunCommand(Protocol):
    """`run("fetch", "--sample")`: one command line without the program's name."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Finished: ...


def run_fresh(
    *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Finished:
    """Run the installed package in a new process."""
    return run_python("-m", "genomeformer_cli", *arguments, stdin=stdin, environment=environment)


def run_python(
    *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Finished:
    """Run Python itself in a new process, without colours and with a wide terminal."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **(environment or {})},
    )
    return Finished(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)
