"""Evaluate several models on the same labelled sequences, and rank them.

Each model is evaluated in its own process, so that its memory is measured alone. A finished pair of
model and task is kept below the output folder, and the same request again computes only the others.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli._version import __version__
from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.evaluation.embedding_cost import CostMeter
from genomeformer_cli.core.evaluation.probing import ProbingResult
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.finetuning.base_model import find_licence
from genomeformer_cli.core.finetuning.network_probe import evaluate_labelled
from genomeformer_cli.core.inference.precision import set_precision
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE, read_model
from genomeformer_cli.core.model_io.resolve import resolve_model
from genomeformer_cli.core.model_io.tensors import weight_files
from genomeformer_cli.core.processes import run_in_fresh_process
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import SEAL, file_sha256
from genomeformer_cli.core.workflows.devices import choose_device, environment, set_threads
from genomeformer_cli.core.workflows.evaluate import EvaluateRequest, read_tasks

PARTS = "parts"
Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LeaderboardRequest:
    """Request to rank models."""

    models: tuple[str, ...]  # Models, see `core/model_io/resolve.py`.
    # Tasks and settings; model, corpus and held-out sequences of the request are not used.
    evaluation: EvaluateRequest
    output: Path  # Folder of the results, and of the finished pairs.


@dataclass(frozen=True, kw_only=True)
class LeaderboardResult:
    """Result of a leaderboard."""

    models: tuple[str, ...]  # Models in the order of the request.
    tasks: tuple[str, ...]  # Names of the tasks.
    # Finished pairs of model and task, as plain values: `model`, `address`, `licence`,
    # `num_parameters`, `task` (result of the probes) and `cost`.
    pairs: tuple[Plain, ...]
    problems: dict[str, str]  # Reason of the failure of each model that failed.
    environment: dict[str, str]  # Versions and device.


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Model of a leaderboard, and the files of its finished tasks."""

    model: str  # Model as named in the request.
    address: str  # Exact address on the Hub, or name of a local model.
    folder: Path  # Folder of the weights.
    paths: tuple[Path, ...]  # File of each task.


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Task of a fresh process."""

    entry: _Entry  # Model to evaluate.
    request: EvaluateRequest  # Tasks and settings.


def rank_models(
    request: LeaderboardRequest, *, reporter: Reporter, store: Store | None = None
) -> LeaderboardResult:
    """Evaluate the missing pairs of model and task, and return all of them.

    A model that fails is reported and left out; the others are evaluated.

    Raises:
        UsageError: A model is named twice, no task is given, or two tasks have one name.
        NotInCacheError, NetworkError: A model cannot be found or downloaded.
        InputError: Labelled sequences cannot be read.
    """
    evaluation = request.evaluation
    twice = [model for model in request.models if request.models.count(model) > 1]
    if twice:
        raise UsageError(f"the model `{twice[0]}` is named twice", hint="name each model once")
    if not evaluation.tasks and not evaluation.suites:
        raise UsageError(
            "several models are compared on labelled sequences, and none are given",
            hint="give `--task FILE` or `--suite FOLDER`",
        )
    set_threads(evaluation.workers)
    device = choose_device(evaluation.device, reporter)
    names, digests = _describe_tasks(evaluation, reporter)
    settings = {
        "labelled": to_plain(evaluation.config.labelled),
        "device": device.type,
        "precision": evaluation.precision,
    }
    entries = []
    for model in request.models:
        resolved = resolve_model(model, store=store or Store(), reporter=reporter)
        of_model = {**settings, "weights": _folder_digest(resolved.folder)}
        paths = tuple(
            request.output / PARTS / f"{_digest({**of_model, 'task': digest})}.json"
            for digest in digests
        )
        entries.append(
            _Entry(model=model, address=resolved.address, folder=resolved.folder, paths=paths)
        )
    problems: dict[str, str] = {}
    pairs: list[Plain] = []
    for number, entry in enumerate(entries, start=1):
        place = f"model {number} of {len(entries)}: {entry.model}"
        if all(_read_part(path, entry) for path in entry.paths):
            reporter.note(f"{place} is finished already")
        else:
            reporter.note(place)
            work = _Work(entry=entry, request=evaluation)
            failed = run_in_fresh_process(_evaluate, work, reporter)
            if failed is not None:
                reporter.warn(f"{entry.model} failed: {failed.message}")
                problems[entry.model] = failed.message
        pairs += [part for path in entry.paths if (part := _read_part(path, entry))]
    return LeaderboardResult(
        models=request.models,
        tasks=names,
        pairs=tuple(pairs),
        problems=problems,
        environment=environment(device, precision=evaluation.precision),
    )


def _describe_tasks(
    request: EvaluateRequest, reporter: Reporter
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and digests of the tasks, which are read one at a time.

    Raises:
        UsageError: Two tasks have one name.
    """
    digests: dict[str, str] = {}
    for task in read_tasks(request, reporter):
        if task.name in digests:
            raise UsageError(
                f"two tasks have the name `{task.name}`", hint="rename a file, or give one of them"
            )
        digests[task.name] = _task_digest(task)
    return tuple(digests), tuple(digests.values())


def _task_digest(task: Task) -> str:
    digest = hashlib.sha256(task.name.encode())
    for example in task.examples:
        cells = (example.id, example.sequence, example.label, example.split)
        digest.update("\t".join(cells).encode() + b"\n")
    return digest.hexdigest()


def _folder_digest(folder: Path) -> str:
    """Return a digest of the weights and the configuration of a model, without loading it."""
    if (folder / SEAL).is_file():
        return file_sha256(folder / SEAL)
    files = [folder / CONFIG_FILE, *weight_files(folder)]
    return _digest({file.name: file_sha256(file) for file in files})


def _digest(values: Any) -> str:
    text = json.dumps([values, __version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_part(path: Path, entry: _Entry) -> Plain | None:
    """Return a finished pair under the name of this request; None if it is absent or damaged."""
    if not path.exists():
        return None
    try:
        part = read_json(path)
    except DocumentError:
        return None
    return {**part, "model": entry.model, "address": entry.address}


def _evaluate(work: _Work, reporter: Reporter) -> None:
    """Evaluate a model on the tasks that are not finished, in a fresh process."""
    entry, request = work.entry, work.request
    set_threads(request.workers)
    loaded = read_model(entry.folder)
    loaded.model.to(choose_device(request.device))
    set_precision(loaded, request.precision, reporter)
    for path, task in zip(entry.paths, read_tasks(request), strict=True):
        if _read_part(path, entry) is not None:
            continue
        meter = CostMeter(device=loaded.model.device)
        result = evaluate_labelled(loaded, task, request.config.labelled, reporter, meter)
        part = {
            "licence": find_licence(entry.folder, entry.address),
            "num_parameters": loaded.model.num_parameters,
            "task": _without_points(result),
            "cost": to_plain(meter.cost),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, part)


def _without_points(result: ProbingResult) -> Plain:
    """Return a result as JSON values, without the points of its picture."""
    plain: Plain = _finite(asdict(result))
    return {key: value for key, value in plain.items() if key not in ("points", "shares")}


def _finite(value: Any) -> Any:
    """Replace numbers that JSON lacks by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
