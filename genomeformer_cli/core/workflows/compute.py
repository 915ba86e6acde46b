"""Where the arithmetic runs: device and threads, as a user names them."""

from __future__ import annotations

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
