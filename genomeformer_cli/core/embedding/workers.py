"""Embedding of groups of sequences in one process, or with one process per GPU, in order.

On the CPU, the batches of a group run in threads, see `core.inference.worker_threads`. A process
reads the model from its folder; only arrays are exchanged.
"""

from __future__ import annotations

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

from genomeformer_cli.core.embedding.batch_runner import Progress, no_progress
from genomeformer_cli.core.embedding.context_rows import embed_in_context
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.vector_writer import release_pages
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.sequences import TileContext
from genomeformer_cli.core.inference.precision import UsedPrecision, convert_linear_layers
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.processes import shared_queue, worker_pool
from genomeformer_cli.core.reporting import Tracker
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.settings import usable_cores

Floats = npt.NDArray[np.floating[Any]]


class RecordGroup(Protocol):
    """Sequences and their output rows."""

    @property
    def codes(self) -> Sequence[Codes]:
        """Base codes of each sequence."""

    @property
    def contexts(self) -> Sequence[TileContext]:
        """Stretches in which the sequences are read; empty: each by itself."""

    def allocate(self) -> Floats:
        """Allocate the output rows; called once, in the order of the groups."""


G = TypeVar("G", bound=RecordGroup)


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """Settings of the worker processes."""

    folder: Path  # Folder of the model.
    options: EmbedOptions  # Options of the embedding.
    devices: tuple[str, ...]  # Device of each process.
    precision: UsedPrecision  # Precision of the matrix products.
    threads: int | None  # Threads of each process; None: an equal share of the cores.

    @property
    def num_processes(self) -> int:
        """Number of processes."""
        return len(self.devices)


def embed_serial(embedder: Embedder, groups: Iterator[G], tracker: Tracker) -> Iterator[G]:
    """Embed one group after the other; yield each when it is done."""
    for group in groups:
        allocate = group.allocate()
        if embedder.options.per_base and not group.contexts:
            embedder.embed_bases(
                group.codes, allocate, partial(_release_and_advance, allocate, tracker)
            )
        else:
            allocate[:] = embed_rows(embedder, group.codes, group.contexts, tracker.advance)
        yield group


def embed_rows(
    embedder: Embedder,
    codes: Sequence[Codes],
    contexts: Sequence[TileContext],
    progress: Progress = no_progress,
) -> npt.NDArray[np.float32]:
    """Return one row per sequence, read by itself or within its stretch."""
    if contexts:
        return embed_in_context(embedder, contexts, progress)
    return embedder.embed(codes, progress)


def _release_and_advance(allocate: Floats, tracker: Tracker, num_bases: int) -> None:
    release_pages(allocate)
    tracker.advance(num_bases)


def embed_parallel(job: WorkerJob, groups: Iterator[G], tracker: Tracker) -> Iterator[G]:
    """Embed groups in several processes, a few groups ahead, and yield them in order."""
    pending: deque[tuple[G, Future[npt.NDArray[np.float32]]]] = deque()
    with _pool(job) as pool:
        for group in groups:
            job_group = list(group.codes), list(group.contexts)
            pending.append((group, pool.submit(_embed_sequences, *job_group)))
            if len(pending) > job.num_processes + 1:
                yield _collect(*pending.popleft(), tracker)
        while pending:
            yield _collect(*pending.popleft(), tracker)


def _collect(group: G, rows: Future[npt.NDArray[np.float32]], tracker: Tracker) -> G:
    vectors = rows.result()
    group.allocate()[:] = vectors
    tracker.advance(sum(codes.size for codes in group.codes))
    return group


@contextmanager
def _pool(job: WorkerJob) -> Iterator[ProcessPoolExecutor]:
    try:
        with worker_pool(
            job.num_processes, _start_worker, (job, shared_queue(job.devices))
        ) as pool:
            yield pool
    except BrokenProcessPool as failure:
        raise InputError(
            "a worker process was killed by the system, probably because memory ran out",
            hint="choose fewer `gpus`",
        ) from failure


_EMBEDDER: list[Embedder] = []


def _start_worker(job: WorkerJob, devices: SimpleQueue[str]) -> None:
    torch.set_num_threads(job.threads or max(1, usable_cores() // job.num_processes))
    loaded = read_model(job.folder)
    loaded.model.to(torch.device(devices.get()))
    if job.precision != "fp32":
        convert_linear_layers(loaded.model, job.precision)
    _EMBEDDER.append(Embedder(loaded, job.options))


def _embed_sequences(codes: list[Codes], contexts: list[TileContext]) -> npt.NDArray[np.float32]:
    (embedder,) = _EMBEDDER
    if not embedder.options.per_base or contexts:
        return embed_rows(embedder, codes, contexts)
    rows = np.empty((sum(sequence.size for sequence in codes), embedder.width), dtype=np.float32)
    embedder.embed_bases(codes, rows)
    return rows
