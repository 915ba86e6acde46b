"""Standard streams that are closed at the start, as by cron, nohup and `>&-`."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any


class _ClosedOutput(io.RawIOBase):
    """Stream that refuses every write."""

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        del content
        raise OSError(errno.EBADF, "standard output is closed")


class MissingOutput(io.TextIOWrapper):
    """Replacement of a closed standard output."""

    def __init__(self) -> None:
        super().__init__(_ClosedOutput(), "utf-8", write_through=True)  # type: ignore[arg-type]


def open_missing_streams() -> None:
    """Replace closed standard streams; data for a closed standard output is an error, not lost.

    The three descriptors are opened too, so that no file of ours gets a descriptor to which a
    library writes its messages.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for the whole run
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - likewise
    if sys.stdout is None:
        sys.stdout = MissingOutput()


def output_is_missing() -> bool:
    """Return True if standard output was closed when the program started."""
    return isinstance(sys.stdout, MissingOutput)
