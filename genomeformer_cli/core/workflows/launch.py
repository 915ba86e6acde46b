"""Start a command as several processes of this machine, and stand by until they are done."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.settings import LAUNCH_VARIABLE, member
from genomeformer_cli.core.training.distributed import launch
from genomeformer_cli.core.training.scale import ScaleConfig


def is_to_be_launched(scale: ScaleConfig) -> bool:
    """Whether this process is to start others: several are wanted, and it is none of them."""
    return scale.num_processes > 1 and member() is None


def launch_processes(arguments: Sequence[str], scale: ScaleConfig) -> None:
    """Run the program with these arguments as several processes.

    Raises:
        ConfigError: There are not so many GPUs.
        GenomeformerError: What one of them failed with.
    """
    check_gpus(scale.gpus)
    command = [sys.executable, "-m", "genomeformer_cli", *arguments]
    with tempfile.TemporaryDirectory(prefix="genomeformer-launch-") as folder:
        os.environ[LAUNCH_VARIABLE] = folder
        try:
            launch(
                command,
                processes=scale.num_processes,
                restarts=scale.restarts,
                folder=Path(folder),
            )
        finally:
            del os.environ[LAUNCH_VARIABLE]


def check_gpus(gpus: int | None) -> None:
    """Make sure that this machine has so many GPUs.

    Raises:
        ConfigError: It has fewer.
    """
    there = torch.cuda.device_count() if gpus else 0
    if gpus and gpus > there:
        raise ConfigError(
            f"{gpus} GPUs are wanted and torch sees {there}",
            hint="`--gpus 0 --processes 2` takes two processes on the CPU",
        )
