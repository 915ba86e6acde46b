"""Functions run by several gloo processes on this machine."""

from __future__ import annotations

import multiprocessing
import socketserver
from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.spawn import start_processes

from genomeformer_cli.core.settings import ProcessRank
from genomeformer_cli.core.training.distributed import join_process_group

_START = "forkserver"


def free_port() -> int:
    """A port on which nobody listens."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        return int(server.server_address[1])


def run_together(size: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call `function(group, *arguments)` in processes that are a group; they fail together.

    A server forks the processes: torch is imported once, not once per process.
    """
    multiprocessing.get_context(_START).set_forkserver_preload([__name__, "torch._dynamo"])
    start: Any = start_processes
    start(_begin, (size, free_port(), function, arguments), nprocs=size, start_method=_START)


def _begin(
    rank: int,
    size: int,
    port: int,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    me = ProcessRank(
        rank=rank, size=size, local_rank=rank, local_size=size, address="127.0.0.1", port=port
    )
    with join_process_group(me, torch.device("cpu")) as group:
        function(group, *arguments)
