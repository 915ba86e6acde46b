"""A command as several processes of this machine, watched and started again by torch elastic."""

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
    """Run a command as several processes of this machine, under torch elastic.

    When one of them ends before its time, all are started again; what the first one writes goes
    where this process writes, what the others write into files of the folder.

    Args:
        command: The program and its arguments.
        processes: How many.
        restarts: How often all of them are started again, at most.
        folder: Empty; told to them by `GENOMEFORMER_LAUNCH`.

    Raises:
        GenomeformerError: What one of them failed with.
        TrainingError: One of them ended too often.
        KeyboardInterrupt: This process was interrupted; all of them have ended.
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
            log_dir=str(folder / "logs"),
            redirects=dict.fromkeys(range(1, processes), Std.ALL),
        ),
    )
    # Its words are for the developers of torch.
    logging.disable(logging.CRITICAL)
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as failure:
        rank, first = failure.get_first_failure()
        who = f"process {rank} of {processes}"
        raise read_failure(folder) or worker_failure(
            who, first.exitcode, folder, restarts
        ) from failure
    except SignalException as failure:
        if failure.sigval == signal.SIGINT:
            raise KeyboardInterrupt from failure
        raise SystemExit(128 + failure.sigval) from failure
    finally:
        logging.disable(logging.NOTSET)
    verdict = read_failure(folder)
    if verdict is not None:
        raise verdict
