"""Fine-tunings of a table, one a cell, in worker processes that share one device.

A worker imports torch once and runs many cells; every result is a line of a JSON file as soon as it
is there, so that what is finished is never done again. Small models leave a GPU idle between their
kernels: several workers fill it.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch

from genomeformer_cli.core.configuration import overlay
from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.finetuning.adaptation import adapt
from genomeformer_cli.core.finetuning.baselines import fit_baselines
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows, LabelledTable, label_rows
from genomeformer_cli.core.finetuning.ensemble import evaluate_ensemble
from genomeformer_cli.core.finetuning.run import (
    FinetuningRun,
    evaluate_linear,
    prepare_run,
    train_seed,
)
from genomeformer_cli.core.finetuning.stacking import stack_seed
from genomeformer_cli.core.finetuning.summary import PRETRAINED, BaselineResult, Origin
from genomeformer_cli.core.formats.labelled import Example, read_labelled, task_name
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.workflows.devices import choose_device

Record = dict[str, Any]
_LOOK_AGAIN = 1.0
_FAILURES = 8
_LEAVE = 10.0
_MEMBERS = 3
FLOORS = "floors"  # Origin of cells of baselines.


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fine-tuning."""

    task: str  # Name of the task.
    origin: str  # `pretrained` or `scratch`.
    seed: int  # Seed of all random numbers.
    setting: str  # Name of the settings.
    plain: Mapping[str, Any]  # The settings.
    num_rows: int  # To train on, for what a cell may take.
    base_sha256: str  # Checksum of the pretrained weights.
    rows_sha256: str  # Checksum of the task's file.
    limit: int  # Rows of a part at most; 0: all.
    precision: str  # Precision of matrix products.
    tested: bool  # Report scores on test rows; never while settings are chosen.

    @property
    def key(self) -> str:
        """Digest of the fine-tuning, independent of the name of its settings."""
        plain = {**asdict(self), "setting": "", "num_rows": 0}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def work(self) -> float:
        """Rows seen, at most."""
        return float(self.plain["epochs"]) * self.num_rows


@dataclass(frozen=True, kw_only=True)
class Place:
    """Folders, device and processes of the cells."""

    tasks: Path  # Folder of the tasks.
    base: Path  # Folder of the pretrained weights.
    device: str  # Name of a torch device.
    threads: int  # CPU threads of a worker.
    scratch: Path | None  # Folder for what a run writes and nobody keeps; None: the system's.
    start: str  # `forkserver`: torch is imported once for all workers; `spawn`: once for each.


def read_results(path: Path) -> dict[str, Record]:
    """Return the finished records by key, without truncated lines and failed cells."""
    found: dict[str, Record] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record: Record = json.loads(line)
        except ValueError:
            continue
        if "failed" not in record:
            found[record["key"]] = record
    return found


def limited(examples: Sequence[Example], limit: int) -> list[Example]:
    """At most so many rows of each split, drawn, in their order."""
    order = np.random.default_rng(0).permutation(len(examples))
    kept: dict[str, int] = {}
    chosen: list[int] = []
    for row in order.tolist():
        split = examples[row].split
        kept[split] = kept.get(split, 0) + 1
        if kept[split] <= limit:
            chosen.append(row)
    return [examples[row] for row in sorted(chosen)]


def read_rows(tasks: Path, task: str, limit: int) -> LabelledRows:
    """Rows of a task.

    Raises:
        InputError: It cannot be read.
    """
    path = tasks / f"{task}.tsv.gz"
    examples = list(read_labelled(path).examples)
    table = LabelledTable(
        name=task_name(path),
        examples=limited(examples, limit) if limit else examples,
        columns=("label",),
    )
    return label_rows(table, kind=None, split=FinetuneConfig().split, reporter=SilentReporter())


_read_rows = lru_cache(maxsize=32)(read_rows)


def run(cell: Cell, place: Place) -> Record:
    """Train, and judge."""
    started = time.monotonic()
    torch.set_float32_matmul_precision("high" if cell.precision == "tf32" else "highest")
    config = overlay(
        FinetuneConfig(), {"compute": {"precision": "fp32"}, **cell.plain}, where="cell"
    )
    precision = "bf16" if cell.precision == "bf16" else "fp32"
    config = overlay(config, {"compute": {"precision": precision}}, where="cell")
    rows = _read_rows(place.tasks, cell.task, cell.limit)
    tuning = _without_checkpoints(
        prepare_run(rows, config, place.base, choose_device(place.device))
    )
    with tempfile.TemporaryDirectory(dir=place.scratch) as folder:
        if cell.origin == FLOORS:
            return _of_floors(cell, fit_baselines(tuning, Path(folder), SilentReporter()))
        if cell.origin == PRETRAINED:
            tuning = adapt(tuning, Path(folder), SilentReporter())
        seeds = range(cell.seed, cell.seed + (_MEMBERS if config.members == "all" else 1))
        results = [
            train_seed(tuning, Path(folder), cast("Origin", cell.origin), seed, SilentReporter())
            for seed in seeds
        ]
        stacked = None
        if config.network == "on" and cell.origin == PRETRAINED:
            stacked = stack_seed(tuning, Path(folder), results[0], SilentReporter())
        ensemble = evaluate_ensemble(tuning, Path(folder), results)
        linear = evaluate_linear(tuning, Path(folder), SilentReporter()) if cell.tested else None
    found = asdict(results[0])
    if ensemble is not None:
        found |= asdict(ensemble)
        found["members"] = [asdict(one.validation) for one in results]
    if linear is not None:
        found["linear"] = asdict(linear.test)
    if stacked is not None:
        found["stacked"] = asdict(stacked)
    if not cell.tested:
        for scores in (found, found.get("stacked", {})):
            for name in ("test", "interval", "network"):
                scores.pop(name, None)
    return {
        **_told(cell),
        **found,
        "num_parameters": tuning.num_parameters,
        "num_rows": tuning.num_rows,
        "seconds": round(time.monotonic() - started, 2),
    }


def _of_floors(cell: Cell, baselines: Sequence[BaselineResult]) -> Record:
    """A line with the scores of every baseline, without those on test rows if they are hidden."""
    found = [asdict(one) for one in baselines]
    for one in found if not cell.tested else ():
        del one["test"], one["interval"]
    seconds = sum(one.cpu_seconds for one in baselines)
    return {**_told(cell), "floors": found, "steps": 0, "seconds": round(seconds, 2)}


def _without_checkpoints(tuning: FinetuningRun) -> FinetuningRun:
    """A run of seconds is not worth the disk's time: what is killed begins again."""
    training = tuning.config.training
    return replace(
        tuning,
        config=replace(tuning.config, training=replace(training, checkpoint_every=training.steps)),
    )


def _told(cell: Cell) -> Record:
    return {"key": cell.key, **asdict(cell)}


def _work(connection: Connection, place: Place) -> None:
    """Run what comes until nothing does; one that failed may have broken the device for others."""
    torch.set_num_threads(place.threads)
    # The start of a device is not part of a cell; without a device, the first cell reports it.
    with suppress(GenomeformerError):
        one = torch.eye(64, device=choose_device(place.device))
        (one @ one).sum().item()
    connection.send(None)
    for cell in iter(connection.recv, None):
        try:
            connection.send(run(cell, place))
        except Exception as failure:  # noqa: BLE001 - the table goes on without that cell
            connection.send({**_told(cell), "failed": f"{type(failure).__name__}: {failure}"})
            return


class Workers:
    """Runs cells, the first ones first.

    Args:
        place: Where.
        jobs: Workers at once.
        until: `time.monotonic()` at which the last cell should be done: none starts that is not
            expected to be, by what cells took so far.
        grace: Seconds after which cells that are not done by then are given up.
        tell: Is given every record.
    """

    def __init__(
        self,
        place: Place,
        jobs: int,
        until: float,
        grace: float,
        tell: Callable[[Record], None],
    ) -> None:
        os.environ["OMP_NUM_THREADS"] = str(place.threads)
        self._context: Any = multiprocessing.get_context(place.start)
        self._context.set_forkserver_preload([__name__])
        self._place, self._jobs, self._last, self._grace = place, jobs, until, grace
        self._tell, self._until = tell, until
        self._processes: dict[Connection, BaseProcess] = {}
        self._busy: dict[Connection, Cell] = {}
        self._speeds: dict[str, list[float]] = {}
        self._failures = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *failure: object) -> None:
        for connection, process in self._processes.items():
            if connection in self._busy:
                process.terminate()
            else:
                with suppress(OSError):
                    connection.send(None)
            process.join(_LEAVE)
            if process.is_alive():
                process.terminate()

    def run(self, cells: Sequence[Cell], until: float = math.inf) -> list[Cell]:
        """Run what there is time for.

        Args:
            cells: The first ones first.
            until: An earlier end than that of all, for what others follow.

        Returns:
            Those that were not run, or failed.
        """
        self._until = min(self._last, until)
        waiting, left = deque(cells), list[Cell]()
        for connection in [one for one in self._processes if one not in self._busy]:
            self._give(connection, waiting, left)
        while self._busy or waiting:
            while waiting and len(self._processes) < min(self._jobs, len(cells)):
                if self._failures > _FAILURES or time.monotonic() > self._until:
                    left += waiting
                    waiting.clear()
                    break
                self._start()
            if not self._processes:
                break
            ready = wait(list(self._processes), _LOOK_AGAIN)
            for connection in [one for one in self._processes if one in ready]:
                self._hear(connection, waiting, left)
            if time.monotonic() > self._last + self._grace:
                return [*left, *self._busy.values(), *waiting]
            if not self._busy and time.monotonic() > self._until:
                # Whoever is not ready by now will not be.
                return [*left, *waiting]
        return left

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._place), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process

    def _hear(self, connection: Connection, waiting: deque[Cell], left: list[Cell]) -> None:
        cell = self._busy.pop(connection, None)
        try:
            record: Record | None = connection.recv()
        except EOFError:
            self._failures += 1
            self._processes.pop(connection).join()
            if cell is not None:
                self._tell({**_told(cell), "failed": "its process ended"})
                left.append(cell)
            return
        if record is None:
            # It is ready; a cell may lie there already.
            if cell is None:
                self._give(connection, waiting, left)
            else:
                self._busy[connection] = cell
            return
        assert cell is not None
        self._tell(record)
        if "failed" in record:
            left.append(cell)
            return
        self._speeds.setdefault(cell.task, []).append(record["seconds"] / cell.work)
        self._give(connection, waiting, left)

    def _give(self, connection: Connection, waiting: deque[Cell], left: list[Cell]) -> None:
        while waiting:
            cell = waiting.popleft()
            if time.monotonic() + self._expected(cell) <= self._until:
                self._busy[connection] = cell
                connection.send(cell)
                return
            left.append(cell)

    def _expected(self, cell: Cell) -> float:
        """Seconds, by cells of the same task, else of any; nothing is known at first."""
        every = [one for some in self._speeds.values() for one in some]
        known = self._speeds.get(cell.task, every)
        return cell.work * median(known) if known else 0.0
