"""Where the arithmetic runs: device and threads, as a user names them."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

import torch

from genomeformer_cli.core.errors import ConfigError


def choose_device(device: str) -> torch.device:
    """The device to train on; `auto` is a GPU if torch sees one.

    Raises:
        ConfigError: torch has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as failure:
        raise ConfigError(
            f"no device `{device}` here", hint="`cpu` is always there; `auto` chooses"
        ) from failure
    return chosen


def set_threads(threads: int | None) -> None:
    """Use this many CPU threads; None leaves torch's choice, which `OMP_NUM_THREADS` can set."""
    if threads is not None:
        torch.set_num_threads(threads)


# glibc's malloc.h: what is freed beyond this goes back to the system; what the heap grows by; how
# many blocks are mapped one by one.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _GROWTH = 2**31 - 1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Let a training process on a CPU keep what a step frees for the next step.

    Otherwise every large tensor is mapped, zeroed page by page and unmapped again, each step. The
    process then never shrinks below its peak.

    Returns:
        Whether the C library is one that can (glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROWTH))
        return all(mallopt(option, value) for option, value in settings)
    return False
