"""Launch a command as several processes on this machine, supervised by torch elastic."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from genomeformer_cli.core.training.failure_file import read_failure, worker_failure


def launch(command: Sequence[str], *, processes: int, restarts: int, folder: Path) -> None:
    """Run a command as several processes on this machine, under torch elastic.

    If one exits early, all are restarted. The main process writes to the streams of this process;
    the others write to files in the folder.

    Args:
        command: Program and its arguments.
        processes: Number of processes.
        restarts: Largest number of restarts.
        folder: Empty folder, passed to the processes in `GENOMEFORMER_LAUNCH`.

    Raises:
        GenomeformerError: Error of one of the processes.
        TrainingError: A process exited too often.
        KeyboardInterrupt: This process was interrupted; all workers have exited.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=restarts,
        logs_specs=DefaultLogsSpecs(
            log_dir=str(folder / "logs"), redirects=dict.fromkeys(range(1, processes), Std.ALL)
        ),
    )
    # Its words are for the developers of torch.
    logging.disable(logging.CRITICAL)
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as failure:
        rank, first = failure.get_first_failure()
        name = f"process {rank} of {processes}"
        raise read_failure(folder) or worker_failure(
            name, first.exitcode, folder, restarts
        ) from failure
    except SignalException as failure:
        if failure.sigval == signal.SIGINT:
            raise KeyboardInterrupt from failure
        raise SystemExit(128 + failure.sigval) from failure
    finally:
        logging.disable(logging.NOTSET)
    recorded = read_failure(folder)
    if recorded is not None:
        raise recorded
