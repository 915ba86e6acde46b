"""Train several models on the same corpora with one budget each, and compare their scores.

Each training is a pretraining run in its own process. The same request again resumes: finished runs
are read, interrupted ones continue, failed ones are tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.config_text import read_config
from genomeformer_cli.core.configuration import merge_values, to_plain
from genomeformer_cli.core.corpus.reader import open_corpus
from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.known_models import SCHEME
from genomeformer_cli.core.processes import run_in_fresh_process
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.run_record import note_output
from genomeformer_cli.core.training.budget import Budget, Plan
from genomeformer_cli.core.training.presets import EXECUTION_SECTIONS, PretrainConfig
from genomeformer_cli.core.workflows.compare_budget import plan_training
from genomeformer_cli.core.workflows.compare_folder import (
    RESULTS_FILE,
    Training,
    Variant,
    comparison_folder,
    open_comparison,
    plan_path,
    trainings,
)
from genomeformer_cli.core.workflows.compare_ranking import (
    Baseline,
    Row,
    TrainingResult,
    baselines,
    has_ended,
    read_result,
    standings,
)
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.pretrain import PretrainRequest, pretrain_model
from genomeformer_cli.core.workflows.records import read_or_make
from genomeformer_cli.core.workflows.run_config import resolve_config

# Unless somebody says otherwise, a run is validated and saved so many times.
_VALIDATIONS, _CHECKPOINTS = 2, 10


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """Request to compare models."""

    corpora: tuple[str, ...]  # Names of corpora in the cache.
    name: str  # Name of the comparison.
    budget: Budget  # Budget of each training.
    # Compared configurations; empty: every mechanism of the registry that supports the direction of
    # the model.
    variants: tuple[Variant, ...] = ()
    seeds: int = 1  # Seeds per variant.
    preset: str = "tiny"  # Preset to start from.
    config_file: Path | None = None  # TOML file whose values replace the preset's.
    # Values that replace both, nested as in the TOML file; a variant replaces them.
    overrides: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"  # `auto`, `cpu`, or a torch device such as `cuda:0`.
    threads: int | None = None  # CPU threads of a training; None: all usable cores.


@dataclass(frozen=True, kw_only=True)
class CompareResult:
    """Result of a comparison."""

    name: str  # Name of the comparison.
    folder: Path  # Folder of the comparison.
    budget: Budget  # Budget of each training.
    rows: tuple[Row, ...]  # Rows by corpus, the best first.
    baselines: tuple[Baseline, ...]  # Baselines of the corpora.
    trainings: tuple[TrainingResult, ...]  # All trainings.
    environment: dict[str, str]  # Versions and hardware.


def compare_models(
    request: CompareRequest, *, reporter: Reporter, store: Store | None = None
) -> CompareResult:
    """Train the missing runs of a comparison, and rank all of them.

    Raises:
        NotInCacheError: The corpus is unknown.
        ConfigError: The configuration is invalid, or differs from that of the started comparison.
        StoreError: Another process works on the comparison.
    """
    store = store or Store()
    for corpus in request.corpora:
        _refuse_model(corpus, store)
    folder = comparison_folder(store, check_name(request.name))
    set_threads(request.threads)
    shared = _shared(request, store)
    config = shared[request.corpora[0]].config
    variants = request.variants or _collection(config, reporter)
    first = config.training.seed
    planned = trainings(request.corpora, variants, range(first, first + request.seeds))
    note_output(folder)
    with store.lock(Kind.COMPARISONS, request.name, timeout=1):
        environment = _environment(request)
        open_comparison(folder, _settings(request, variants, shared, environment))
        results: list[TrainingResult] = []
        for number, training in enumerate(planned, start=1):
            place = f"training {number} of {len(planned)}: {training.run}"
            results.append(_train_once(training, request, store, (reporter, place)))
            result = _result(request, folder, results, environment)
            write_json(folder / RESULTS_FILE, plain_result(result))
    return result


def plain_result(result: CompareResult) -> dict[str, Any]:
    """Return a result as plain values."""
    return {**asdict(result), "folder": str(result.folder)}


def _result(
    request: CompareRequest,
    folder: Path,
    results: list[TrainingResult],
    environment: dict[str, str],
) -> CompareResult:
    return CompareResult(
        name=request.name,
        folder=folder,
        budget=request.budget,
        rows=standings(results),
        baselines=baselines(results),
        trainings=tuple(results),
        environment=environment,
    )


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """Configuration shared by all trainings on a corpus."""

    config: PretrainConfig
    inputs_sha256: str
    vocabulary_sha256: str


def _shared(request: CompareRequest, store: Store) -> dict[str, _Shared]:
    """Return the shared configuration of each corpus, checked before any training."""
    if not request.corpora or request.seeds < 1:
        raise ConfigError(
            "nothing to train", hint="name at least one corpus, and at least one seed"
        )
    _check_execution(request.config_file)
    configs = {}
    for name in request.corpora:
        corpus = open_corpus(store, name)
        config = resolve_config(
            request.preset, request.config_file, request.overrides, corpus.tokenizer
        )
        configs[name] = _Shared(
            config=config,
            inputs_sha256=corpus.manifest.inputs_sha256,
            vocabulary_sha256=corpus.manifest.vocabulary_sha256,
        )
    return configs


def _refuse_model(name: str, store: Store) -> None:
    """Refuse a finished model in the place of a corpus.

    Raises:
        UsageError: The name is that of a model.
    """
    is_model = name.startswith(SCHEME) or Path(name).is_dir() or store.has(Kind.WEIGHTS, name)
    if is_model and not store.has(Kind.CORPORA, name):
        raise UsageError(
            f"`{name}` is a model, and `compare` trains models on a corpus",
            hint="`genomeformer evaluate MODEL MODEL ... --task FILE` ranks finished models",
        )


def _check_execution(config_file: Path | None) -> None:
    """Check that a file has no settings of an execution: each training is one process."""
    sections = {*(read_config(config_file) if config_file is not None else {})}
    refused = sorted(sections.intersection(EXECUTION_SECTIONS))
    if refused:
        raise ConfigError(
            f"`{config_file}`: `{refused[0]}` cannot be set in a comparison",
            hint="each training is one process that writes to its own folder; remove the section",
        )


def _collection(config: PretrainConfig, reporter: Reporter) -> tuple[Variant, ...]:
    """Return every mechanism that supports the direction of the model."""
    direction = "causal" if config.model.causal else "bidirectional"
    able = [name for name, entry in ATTENTIONS.items() if direction in entry.directions]
    unable = [name for name in ATTENTIONS if name not in able]
    if unable:
        reporter.note(f"left out, for they cannot be {direction}: {', '.join(unable)}")
    return tuple(
        Variant(name=name, overrides={"model": {"attention": {"name": name}}}) for name in able
    )


def _environment(request: CompareRequest) -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "device": str(choose_device(request.device)),
        "threads": str(torch.get_num_threads()),
    }


def _settings(
    request: CompareRequest,
    variants: tuple[Variant, ...],
    shared: Mapping[str, _Shared],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "budget": {request.budget.kind: request.budget.amount},
        "seeds": request.seeds,
        "variants": {variant.name: dict(variant.overrides) for variant in variants},
        "corpora": {name: to_plain(config) for name, config in shared.items()},
        **environment,
    }


def _train_once(
    training: Training, request: CompareRequest, store: Store, say: tuple[Reporter, str]
) -> TrainingResult:
    """Return a finished or failed training; run it if needed."""
    reporter, place = say
    folder = comparison_folder(store, request.name)
    run = Store(folder).path(Kind.RUNS, training.run)
    path = plan_path(folder, training)
    result = TrainingResult(
        run=training.run, corpus=training.corpus, variant=training.variant.name, seed=training.seed
    )
    if has_ended(run):
        reporter.note(f"{place} is finished already")
    else:
        reporter.note(place)
        task = _Task(root=store.root, training=training, request=request)
        failed = run_in_fresh_process(_train, task, reporter)
        if failed is not None:
            reporter.warn(f"{training.run} failed: {failed.message}")
            return replace(result, problem=failed.message)
    summary, pace = read_result(run)
    return replace(result, plan=read_or_make(path, Plan, _no_plan), summary=summary, pace=pace)


def _no_plan() -> Plan:
    raise ConfigError(
        "a finished training has lost its plan", hint="remove its run, and it is trained again"
    )


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Task of a fresh process."""

    root: Path  # Root of the cache.
    training: Training  # Training to run.
    request: CompareRequest  # Request of the comparison.


def _train(task: _Task, reporter: Reporter) -> None:
    """Plan a training, unless another seed has a plan, and run it."""
    store, training, request = Store(task.root), task.training, task.request
    folder = comparison_folder(store, request.name)
    pretrain = _pretrain_request(training, request)
    plan = read_or_make(
        plan_path(folder, training),
        Plan,
        lambda: plan_training(pretrain, request.budget, reporter=reporter, store=store),
    )
    overrides = merge_values(pretrain.overrides, {"training": _schedule(plan, pretrain)})
    pretrain = replace(pretrain, overrides=overrides)
    pretrain_model(pretrain, reporter=reporter, store=store, runs=Store(folder))


def _pretrain_request(training: Training, request: CompareRequest) -> PretrainRequest:
    overrides = merge_values(request.overrides, training.variant.overrides)
    explicit = _given_settings(request.config_file, overrides, "compute")
    compute = {key: value for key, value in _compute(request.device).items() if key not in explicit}
    more = {"training": {"seed": training.seed}, "compute": compute}
    return PretrainRequest(
        corpus=training.corpus,
        name=training.run,
        preset=request.preset,
        config_file=request.config_file,
        overrides=merge_values(overrides, more),
        device=request.device,
        threads=request.threads,
    )


def _compute(device: str) -> dict[str, str]:
    """Return one precision for all trainings, so that trials do not affect the ranking."""
    on_gpu = choose_device(device).type == "cuda"
    return {"precision": "bf16" if on_gpu else "fp32", "compile": "off"}


def _given_settings(
    config_file: Path | None, overrides: Mapping[str, Any], part: str
) -> dict[str, Any]:
    """Return the settings of a section that the file or the command line gives."""
    settings = read_config(config_file) if config_file is not None else {}
    return {**settings.get(part, {}), **overrides.get(part, {})}


def _schedule(plan: Plan, request: PretrainRequest) -> dict[str, int]:
    """Return the steps, and the intervals of validation and checkpoints unless they are set."""
    explicit = _given_settings(request.config_file, request.overrides, "training")
    intervals = {
        "validate_every": max(plan.steps // _VALIDATIONS, 1),
        "checkpoint_every": max(plan.steps // _CHECKPOINTS, 1),
    }
    return {"steps": plan.steps, **{key: n for key, n in intervals.items() if key not in explicit}}
