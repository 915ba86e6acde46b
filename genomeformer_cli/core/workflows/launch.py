"""Start a training command as several processes of this machine, and wait for them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from genomeformer_cli.core.memory_plans.memory_meter import available_bytes
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.settings import (
    LAUNCH_VARIABLE,
    has_thread_setting,
    process_rank,
    usable_cores,
)
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.training.launcher import launch
from genomeformer_cli.core.training.length_curriculum import stages
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.training.summary import SUMMARY_FILE
from genomeformer_cli.core.workflows.devices import gpu_names
from genomeformer_cli.core.workflows.pretrain import PretrainRequest
from genomeformer_cli.core.workflows.records import read_record
from genomeformer_cli.core.workflows.run_config import (
    PROCESSES_FILE,
    RUN_CONFIG_FILE,
    StartedProcesses,
    resolve_config,
)

# Operations of the smallest run that several processes are started for: about five minutes of one
# core. Starting them takes some seconds.
_WORTH_STARTING = 3e13
# Memory reserved for each of them: Python, torch, and a step of a small share of the rows.
_BYTES_OF_PROCESS = 2**30


def launch_processes(
    arguments: Sequence[str],
    request: PretrainRequest,
    reporter: Reporter,
    *,
    store: Store | None = None,
) -> bool:
    """Run the program with these arguments as several processes, if the run takes several.

    Args:
        arguments: Arguments of the command line.
        request: Request that they make.
        reporter: Receives the number of processes, if it was chosen.
        store: Cache.

    Returns:
        False if this process should do the work itself: alone, or as a started process.

    Raises:
        ConfigError: The machine has too few GPUs, or the number of processes is invalid.
        GenomeformerError: A process failed.
    """
    if process_rank() is not None:
        return False
    scale, num_processes = request.parallel, choose_processes(request, store or Store())
    if num_processes == 1:
        return False
    scale.check_size(num_processes)
    gpu_names(scale.gpus or 0)
    if num_processes != scale.num_processes:
        reporter.note(
            f"training in {num_processes} processes on the CPU; "
            "`--set parallel.processes=1` trains in one"
        )
    command = [sys.executable, "-m", "genomeformer_cli", *arguments]
    with tempfile.TemporaryDirectory(prefix="genomeformer-launch-") as folder:
        os.environ[LAUNCH_VARIABLE] = folder
        try:
            launch(command, processes=num_processes, restarts=scale.restarts, folder=Path(folder))
        finally:
            del os.environ[LAUNCH_VARIABLE]
    return True


def choose_processes(request: PretrainRequest, store: Store) -> int:
    """Return the number of processes of this machine that train a run.

    If none is requested, a started run keeps its number, up to the number of usable cores. A new
    run on the CPU takes as many as there are cores, rows and memory for, if it is long enough.

    Args:
        request: Request to pretrain.
        store: Cache that holds the corpus and the run.

    Raises:
        ConfigError: The configuration of the run is invalid.
    """
    if not _is_left_open(request):
        return request.parallel.num_processes
    folder = store.path(Kind.RUNS, check_name(request.name))
    if not store.has(Kind.CORPORA, request.corpus) or (folder / SUMMARY_FILE).exists():
        return 1
    if (folder / PROCESSES_FILE).exists():
        started = read_record(folder / PROCESSES_FILE, StartedProcesses)
        return min(started.processes, usable_cores())
    if (folder / RUN_CONFIG_FILE).exists():
        return 1
    config = resolve_config(request.preset, request.config_file, request.overrides, None)
    return _fastest(config, usable_cores())


def _is_left_open(request: PretrainRequest) -> bool:
    """Return True if the run is on the CPU and no option divides its cores, memory or rows."""
    parallel, file = request.parallel, request.config_file
    is_on_gpu = request.device == "auto" and parallel.gpus is None and torch.cuda.is_available()
    return (
        parallel.processes is None
        and not parallel.gpus
        and not parallel.is_special
        and request.device in ("auto", "cpu")
        and not is_on_gpu
        and request.threads is None
        and not has_thread_setting()
        and request.memory_budget is None
        # A stream cannot be read by several processes.
        and (file is None or file.is_file())
    )


def _fastest(config: PretrainConfig, num_cores: int) -> int:
    """Return as many processes as have a core, memory, and equal shares of the rows."""
    if num_operations(config) < _WORTH_STARTING:
        return 1
    rows = min(stage.rows for stage in stages(config.training, config.model.context))
    memory = available_bytes(torch.device("cpu")) // 2
    most = max(min(num_cores, rows, memory // _BYTES_OF_PROCESS), 1)
    # Fewer processes with as many rows at most are as fast.
    return -(-rows // -(-rows // most))


def num_operations(config: PretrainConfig) -> float:
    """Return the operations of the products of a run with the weights of its blocks."""
    model, training = config.model, config.training
    weights = model.depth * (4 * model.width**2 + 3 * model.width * model.mlp_width)
    num_stacks = 2 if model.direction == "two-stack" else 1
    num_positions = training.steps * training.batch_size * model.context / max(model.patch, 1)
    return 6.0 * weights * num_stacks * num_positions
