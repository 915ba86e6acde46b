"""A failure becomes a sentence, a hint and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.markup import escape
from typer import TyperException

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.settings import launch_folder, speaks
from genomeformer_cli.core.training.failure_file import write_failure
from genomeformer_cli.ui.console import talk

INTERNAL = 70
_FIRST_SPEAKS_WITHIN = 5.0
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def show_failure(message: str, hint: str | None) -> None:
    """Say what went wrong and what to do next, on stderr."""
    console = talk()
    console.print(f"[bold red]error:[/] {escape(message)}")
    if hint:
        console.print(f"\n[bold]hint:[/] {escape(hint)}")


def explain(failure: Exception) -> int:
    """Show any failure; return the exit code it deserves.

    One of several processes leaves what it failed with to the one that started them; without such
    a one, the first speaks for all, and the others only if they are not ended meanwhile.
    """
    if write_failure(failure):
        return getattr(failure, "exit_code", INTERNAL)
    if launch_folder() is None and not speaks():
        time.sleep(_FIRST_SPEAKS_WITHIN)
    if isinstance(failure, GenomeformerError):
        show_failure(failure.message, failure.hint)
        return failure.exit_code
    if isinstance(failure, TyperException):
        message = _lower_first(failure.format_message()).rstrip(".")
        if message:  # without one, the help is already on the screen
            show_failure(message, "add `--help` to see what is possible")
        return failure.exit_code
    if isinstance(failure, OSError) and failure.errno in _DISK_FULL:
        _drop_stdout()
        show_failure(
            f"could not write {failure.filename or 'standard output'}: {failure.strerror}",
            "free some space or choose another place",
        )
        return GenomeformerError.exit_code
    show_failure(
        f"unexpected {type(failure).__name__}: {failure}",
        "this is a bug; run again with `genomeformer --debug ...` and report what it prints",
    )
    return INTERNAL


def _drop_stdout() -> None:
    """Keep Python from trying once more at exit to write what could not be written."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
