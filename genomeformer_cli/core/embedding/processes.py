"""Groups of sequences through one embedder, or through several processes at once, in order.

Small models use two cores better as two processes than as two threads of one; of several GPUs each
has a process. A process reads the model from its folder; what it is sent and what it sends back are
arrays.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.embedding.choices import EmbedChoices
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.rows import let_go
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.reporting import Tracker
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.settings import usable_cores

Floats = npt.NDArray[np.floating[Any]]


class Group(Protocol):
    """Some sequences and where their rows go."""

    @property
    def codes(self) -> Sequence[Codes]:
        """Base codes of each."""

    def room(self) -> Floats:
        """Room for the rows; asked for once, in the order of the groups."""


G = TypeVar("G", bound=Group)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process needs to know.

    Attributes:
        folder: Of the model.
        choices: What a row is.
        devices: Where each process runs.
        threads: Of each process; None: its share of the cores.
    """

    folder: Path
    choices: EmbedChoices
    devices: tuple[str, ...]
    threads: int | None

    @property
    def processes(self) -> int:
        """How many."""
        return len(self.devices)


def fill_here(embedder: Embedder, groups: Iterator[G], tracker: Tracker) -> Iterator[G]:
    """Fill one group after the other; each is yielded when it is done."""
    for group in groups:
        room = group.room()
        if embedder.choices.per_base:
            embedder.embed_bases(group.codes, room, partial(_written, room, tracker))
        else:
            room[:] = embedder.embed(group.codes, tracker.advance)
        yield group


def _written(room: Floats, tracker: Tracker, num_bases: int) -> None:
    let_go(room)
    tracker.advance(num_bases)


def fill_there(job: Job, groups: Iterator[G], tracker: Tracker) -> Iterator[G]:
    """The same in several processes: a few groups ahead, so that none waits, and in order."""
    waiting: deque[tuple[G, Future[npt.NDArray[np.float32]]]] = deque()
    with _pool(job) as pool:
        for group in groups:
            waiting.append((group, pool.submit(_work, list(group.codes))))
            if len(waiting) > job.processes + 1:
                yield _take(*waiting.popleft(), tracker)
        while waiting:
            yield _take(*waiting.popleft(), tracker)


def _take(group: G, rows: Future[npt.NDArray[np.float32]], tracker: Tracker) -> G:
    found = rows.result()
    group.room()[:] = found
    tracker.advance(sum(codes.size for codes in group.codes))
    return group


@contextmanager
def _pool(job: Job) -> Iterator[ProcessPoolExecutor]:
    # A fork would copy torch's threads as they stand.
    context = multiprocessing.get_context("spawn")
    devices = context.SimpleQueue()
    for device in job.devices:
        devices.put(device)
    pool = ProcessPoolExecutor(
        job.processes, mp_context=context, initializer=_begin, initargs=(job, devices)
    )
    try:
        yield pool
    except BrokenProcessPool as failure:
        raise InputError(
            "one of the processes was ended by the system, for want of memory perhaps",
            hint="choose fewer `--jobs` or `--gpus`",
        ) from failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_EMBEDDER: list[Embedder] = []


def _begin(job: Job, devices: SimpleQueue[str]) -> None:
    torch.set_num_threads(job.threads or max(1, usable_cores() // job.processes))
    loaded = read_model(job.folder)
    loaded.model.to(torch.device(devices.get()))
    _EMBEDDER.append(Embedder(loaded, job.choices))


def _work(codes: list[Codes]) -> npt.NDArray[np.float32]:
    (embedder,) = _EMBEDDER
    if not embedder.choices.per_base:
        return embedder.embed(codes)
    rows = np.empty((sum(one.size for one in codes), embedder.width), dtype=np.float32)
    embedder.embed_bases(codes, rows)
    return rows
