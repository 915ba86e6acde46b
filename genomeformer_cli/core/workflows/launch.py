"""Start a command as several processes of this machine, and wait for them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from genomeformer_cli.core.settings import LAUNCH_VARIABLE, process_rank
from genomeformer_cli.core.training.launcher import launch
from genomeformer_cli.core.training.parallel_config import ParallelConfig
from genomeformer_cli.core.workflows.devices import gpu_names


def launch_processes(arguments: Sequence[str], scale: ParallelConfig) -> bool:
    """Run the program with these arguments as several processes, if several are requested.

    Returns:
        False if this process should do the work itself: alone, or as a started process.

    Raises:
        ConfigError: The machine has too few GPUs, or the number of processes is invalid.
        GenomeformerError: A process failed.
    """
    if scale.num_processes == 1 or process_rank() is not None:
        return False
    scale.check_size(scale.num_processes)
    gpu_names(scale.gpus or 0)
    command = [sys.executable, "-m", "genomeformer_cli", *arguments]
    with tempfile.TemporaryDirectory(prefix="genomeformer-launch-") as folder:
        os.environ[LAUNCH_VARIABLE] = folder
        try:
            launch(
                command, processes=scale.num_processes, restarts=scale.restarts, folder=Path(folder)
            )
        finally:
            del os.environ[LAUNCH_VARIABLE]
    return True
