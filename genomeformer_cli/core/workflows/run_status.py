"""Progress of several runs, read from their folders during training or later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from genomeformer_cli.core.config_text import read_config
from genomeformer_cli.core.documents import convert, read_json
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    Score,
    name_of_counts,
    read_rows,
    score_of,
    training_bits,
)
from genomeformer_cli.core.workflows.run_config import BASELINE_FILE, RUN_CONFIG_FILE

_SMOOTHED = 50


@dataclass(frozen=True, kw_only=True)
class WatchedRun:
    """Progress of a run."""

    name: str  # Name of the run.
    folder: Path  # Folder of the run.
    step: int  # Number of steps taken.
    steps: int  # Number of steps of the whole run.
    # Bits per base in training, mean of the latest steps; None before the first.
    training_bits: float | None = None
    validation: Score | None = None  # Newest score on held-out bases, if there is one.
    baseline: Score | None = None  # Score of a table of counts on the same bases, if computed.
    baseline_name: str = ""  # Name of the table.
    bases_per_second: float | None = None  # Newest speed, if there is one.
    left_out: int = 0  # Steps skipped as spikes.


class _Training(TypedDict):
    steps: int


class _Baseline(TypedDict):
    order: int
    score: Score
    looks: str


class _Config(TypedDict):
    training: _Training


def watch_runs(names: Sequence[str], *, store: Store | None = None) -> list[WatchedRun]:
    """Return the progress of runs.

    Raises:
        NotInCacheError: A run is unknown; the hint lists the known names.
        ConfigError: The records of a run cannot be read.
    """
    store = store or Store()
    return [_watched(name, store.entry(Kind.RUNS, name).path) for name in names]


def _watched(name: str, folder: Path) -> WatchedRun:
    recorded: _Config = convert(
        read_config(folder / RUN_CONFIG_FILE), _Config, source=str(folder / RUN_CONFIG_FILE)
    )
    steps = recorded["training"]["steps"]
    rows, speeds = read_rows(folder / METRICS_FILE), read_rows(folder / THROUGHPUT_FILE)
    latest = training_bits(rows[-_SMOOTHED:])
    validated = [row for row in rows if "validation" in row]
    baseline = _baseline(folder)
    return WatchedRun(
        name=name,
        folder=folder,
        step=rows[-1]["step"] if rows else 0,
        steps=steps,
        training_bits=sum(latest) / len(latest) if latest else None,
        validation=score_of(validated[-1], "validation") if validated else None,
        baseline=baseline["score"] if baseline else None,
        baseline_name=name_of_counts(baseline["order"], baseline["looks"]) if baseline else "",
        bases_per_second=speeds[-1].get("bases_per_second") if speeds else None,
        left_out=sum(bool(row.get("left_out")) for row in rows),
    )


def _baseline(folder: Path) -> _Baseline | None:
    path = folder / BASELINE_FILE
    if not path.exists():
        return None
    baseline: _Baseline = read_json(path, _Baseline)
    return baseline
