"""Devices and threads, as a user names them."""

from __future__ import annotations

import numpy as np
import torch

from genomeformer_cli._version import __version__
from genomeformer_cli.core.attention.kernels.fused import environment_kernels, set_kernels
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.settings import has_thread_setting, resume_collection, usable_cores


def choose_device(device: str, reporter: Reporter | None = None) -> torch.device:
    """Return the device to compute on, and set the kernels of inference from the environment.

    Args:
        device: `auto` (a GPU if torch sees one), `cpu`, or a torch device such as `cuda:0`.
        reporter: Receives the choice as a detail.

    Raises:
        ConfigError: torch has no such device, or the choice of kernels is invalid.
    """
    selected = _find_device(device)
    set_kernels(environment_kernels())
    if reporter is not None:
        name = f" ({torch.cuda.get_device_name(selected)})" if selected.type == "cuda" else ""
        reporter.debug(f"device: {selected}{name}, CPU threads: {torch.get_num_threads()}")
    return selected


def _find_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        selected = torch.device(device)
        torch.empty(1, device=selected)
    except (RuntimeError, AssertionError) as failure:
        raise ConfigError(
            f"device `{device}` is not available",
            hint="give `--device cpu`, which always works, or `auto`",
        ) from failure
    return selected


def gpu_names(num_gpus: int) -> list[str]:
    """Return the torch names of the first GPUs of this machine.

    Raises:
        ConfigError: The machine has fewer GPUs.
    """
    num_available = torch.cuda.device_count() if num_gpus else 0
    if num_gpus > num_available:
        raise ConfigError(
            f"{num_gpus} GPUs: torch finds {num_available} GPUs",
            hint="0 runs on the CPU: with `--set parallel.processes=2` in `pretrain`, on all "
            "cores in `embed`",
        )
    return [f"cuda:{number}" for number in range(num_gpus)]


def set_threads(threads: int | None, *, of: int = 1) -> None:
    """Set the number of CPU threads, once the model is loaded or about to be.

    Args:
        threads: Number of threads; None: torch's default, which `OMP_NUM_THREADS` can set.
        of: Processes on this machine; they share the cores unless threads are set.
    """
    resume_collection()
    if threads is None and of > 1 and not has_thread_setting():
        threads = max(usable_cores() // of, 1)
    if threads is not None:
        torch.set_num_threads(threads)


def environment(device: object, **more: str) -> dict[str, str]:
    """Return the versions and the device that a result was computed with."""
    return {
        "genomeformer": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        **more,
    }
