"""Report a failure as a sentence, a hint and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.text import Text
from typer import TyperException

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.escaping import one_line
from genomeformer_cli.core.settings import is_main_process, launch_folder
from genomeformer_cli.core.store.atomic import failure_reason, write_hint
from genomeformer_cli.core.training.failure_file import write_failure
from genomeformer_cli.render.console import error_console
from genomeformer_cli.render.streams import output_is_missing

INTERNAL = 70
_FIRST_SPEAKS_WITHIN = 5.0
_TOO_LARGE = "Overflow when unpacking"
_NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "not enough memory",
    "can't start new thread",
    "failed to map segment",  # a library that is imported late
)
# torch has no OSError for files of tensors.
_TORCH_OPENED = re.compile(
    r"unable to open file <(?P<name>.*)> in .* mode: (?P<reason>.*) \((?P<number>\d+)\)"
)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def print_failure(message: str, hint: str | None) -> None:
    """Print a failure and the next step on stderr."""
    console = error_console()
    console.print(Text.assemble(("error:", "bold red"), f" {one_line(message)}"))
    if hint:
        console.print(Text.assemble("\n", ("hint:", "bold"), f" {one_line(hint)}"))


def report_failure(failure: Exception) -> int:
    """Report a failure and return its exit code.

    A process of a launched group writes the failure for its launcher. Without a launcher, rank 0
    reports it; other ranks report theirs only if they are still running after a delay.
    """
    if write_failure(failure):
        return getattr(failure, "exit_code", INTERNAL)
    if launch_folder() is None and not is_main_process():
        time.sleep(_FIRST_SPEAKS_WITHIN)
    if isinstance(failure, GenomeformerError):
        print_failure(failure.message, failure.hint)
        return failure.exit_code
    if isinstance(failure, TyperException):
        text = failure.format_message().replace("Value error, ", "")  # of pydantic's validators
        message = (text[:1].lower() + text[1:]).rstrip(".")
        if message:  # without a message, the help is already on the screen
            print_failure(message, "add `--help` to see what is possible")
        return failure.exit_code
    description = _exceeded(failure) or _describe_system(failure)
    if description is not None:
        print_failure(*description)
        return GenomeformerError.exit_code
    print_failure(
        f"unexpected {type(failure).__name__}: {failure}",
        "this is a bug; run again with `genomeformer --debug ...` and report what it prints",
    )
    return INTERNAL


def _exceeded(failure: Exception) -> tuple[str, str] | None:
    """Return the sentence and hint for input or settings beyond the capacity of this machine."""
    # The allocators of torch raise RuntimeError, the one of a GPU a subclass of it; the loader of
    # libraries raises ImportError.
    no_memory = (
        isinstance(failure, MemoryError)
        or (isinstance(failure, OSError) and failure.errno == errno.ENOMEM)
        or (
            isinstance(failure, RuntimeError | ImportError)
            and any(words in str(failure) for words in _NO_MEMORY)
        )
    )
    if no_memory:
        reason = str(failure).partition("\n")[0]
        return (
            "not enough memory" + (f": {reason}" if reason else ""),
            "use a smaller batch, window or model, fewer workers, or a machine with more memory",
        )
    if isinstance(failure, RecursionError):
        return ("the input is nested too deeply", "check the file or address that was given")
    # torch raises other errors for whole numbers beyond 64 bits.
    if isinstance(failure, OverflowError) or _TOO_LARGE in str(failure):
        return (f"a number is too large: {failure}", "check the numbers of the options and files")
    return None


def _text_of(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, bytes | str) else str(name)


def _describe_system(failure: Exception) -> tuple[str, str] | None:
    """Return the sentence and hint for an error of the operating system."""
    opened = isinstance(failure, RuntimeError) and _TORCH_OPENED.match(str(failure))
    if opened:
        failure = OSError(int(opened["number"]), opened["reason"], opened["name"])
    if not isinstance(failure, OSError):
        return None
    if output_is_missing() and failure.errno == errno.EBADF:
        return "standard output is closed", "redirect it, or give a file with `-o` if there is one"
    reason = failure_reason(failure)
    if failure.errno in _DISK_FULL:
        _drop_stdout()
        place = _text_of(failure.filename or "standard output")
        return f"could not write {place}: {reason}", "free some space or choose another place"
    if failure.filename is not None:
        return (
            f"could not read or write `{_text_of(failure.filename)}`: {reason}",
            f"{write_hint(failure.errno)}; then run the command again",
        )
    return None


def _drop_stdout() -> None:
    """Redirect stdout to the null device, so that Python does not retry a failed write at exit."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
