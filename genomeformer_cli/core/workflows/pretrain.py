"""Pretrain a model on a corpus; the same request again resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.corpus.reader import Corpus, open_corpus
from genomeformer_cli.core.data.mixture import groups_sha256
from genomeformer_cli.core.documents import parse_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.counts import CountBaseline
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.masked_queries import Queries, make_queries
from genomeformer_cli.core.memory_plans.forecast import (
    SHARE_OF_AVAILABLE,
    Step,
    choose,
    expected_bytes,
)
from genomeformer_cli.core.memory_plans.memory_meter import available_bytes
from genomeformer_cli.core.memory_plans.plans import AUTO, MemoryConfig
from genomeformer_cli.core.memory_plans.sequence_parallel import check_sequence_parallel
from genomeformer_cli.core.model_io.model_folder import (
    LoadedModel,
    load_weights,
    read_model,
    weights_digest,
)
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model, trainable_config
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Event, Reporter, SilentReporter
from genomeformer_cli.core.settings import ProcessRank, process_rank
from genomeformer_cli.core.store.layout import TRIALS_FILE, Kind, Store, check_name
from genomeformer_cli.core.store.run_record import note_output
from genomeformer_cli.core.training.batches import Batches, short_segments
from genomeformer_cli.core.training.distributed import ProcessGroup, join_process_group
from genomeformer_cli.core.training.length_curriculum import stages
from genomeformer_cli.core.training.loggers import (
    LoggingConfig,
    OpenObserver,
    TensorboardLogger,
    WandbLogger,
)
from genomeformer_cli.core.training.loop import TrainingRun, check_rows, train
from genomeformer_cli.core.training.parallel_config import ParallelConfig
from genomeformer_cli.core.training.precision import (
    ComputeConfig,
    Trial,
    check_kernels,
    choose_compute,
    default_compute,
    report_kernels,
)
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.training.summary import SUMMARY_FILE, RunSummary, read_summary
from genomeformer_cli.core.workflows.devices import choose_device, gpu_names, set_threads
from genomeformer_cli.core.workflows.records import read_or_make
from genomeformer_cli.core.workflows.run_baselines import (
    run_baseline,
    summarise,
    validation_queries,
)
from genomeformer_cli.core.workflows.run_batches import (
    open_batches,
    pretraining_task,
    read_teacher,
    report_sampling,
)
from genomeformer_cli.core.workflows.run_config import (
    COMPUTE_FILE,
    MEMORY_FILE,
    PROCESSES_FILE,
    StartedProcesses,
    open_run,
    resolve_config,
)

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class PretrainRequest:
    """Request to pretrain."""

    corpus: str  # Name of a corpus in the cache.
    name: str  # Name of the run.
    preset: str = "tiny"  # Preset to start from.
    config_file: Path | None = None  # TOML file whose values replace the preset's.
    # Values that replace both, nested as in the TOML file.
    overrides: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"  # `auto`, `cpu`, or a torch device such as `cuda:0`.
    threads: int | None = None  # CPU threads; None: all usable cores.
    # Largest memory of a step in bytes; None: no limit for a named plan, most of the available
    # memory for `auto`.
    memory_budget: int | None = None
    origin: str | None = None  # Model whose weights to start from; None: random weights.
    # Processes of the run; this process is one of them if it was started as one.
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)  # Services that show the run.


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """Finished run."""

    name: str
    folder: Path
    summary: RunSummary


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """Training is about to start or resume."""

    name: str  # Name of the run.
    attention: str  # Attention mechanism.
    num_parameters: int  # Number of parameters.
    context: int  # Tokens per window.
    num_train_bases: int  # Tokens in the training split.
    baseline: CountBaseline  # Score of a table of context counts on the held-out bases.


def pretrain_model(
    request: PretrainRequest,
    *,
    reporter: Reporter,
    store: Store | None = None,
    runs: Store | None = None,
) -> PretrainResult:
    """Train to the last step, in this process or as one of several.

    Args:
        request: Corpus and configuration.
        reporter: Receives progress.
        store: Cache that holds the corpus.
        runs: Cache that holds the run; None: `store`.

    Raises:
        NotInCacheError: The corpus is unknown.
        ConfigError: The configuration is invalid, or differs from that of the started run.
        TrainingError: The loss is not finite.
        LostProcessError: Another process ended.
        CheckpointError, CorruptError: The initial weights or the checkpoint are damaged.
    """
    store, rank = store or Store(), process_rank()
    request.parallel.check_size(1 if rank is None else rank.size)
    gpu_names(request.parallel.gpus or 0)
    set_threads(request.threads, of=1 if rank is None else rank.local_size)
    device = choose_device(_device(request, rank), reporter if rank is None else None)
    with join_process_group(rank, device) as group:
        group.form_sequence_groups(request.parallel.sequence_parallel)
        main_reporter = reporter if group.is_main else SilentReporter()
        return _Pretraining(request, store, runs or store, group, device, main_reporter).run()


def _device(request: PretrainRequest, rank: ProcessRank | None) -> str:
    """Return the device of this process: its own GPU, if there are several."""
    if request.parallel.on_cpu:
        if request.device not in ("auto", "cpu"):
            raise ConfigError(
                f"`parallel.processes` starts processes on the CPU, not on `{request.device}`",
                hint="`--gpus N` starts one process per GPU; leave `--device` out",
            )
        return "cpu"
    if request.device == "auto" and request.parallel.gpus is None and not torch.cuda.is_available():
        return "cpu"
    on_gpus = request.device in ("auto", "cuda")
    return f"cuda:{rank.local_rank}" if rank is not None and on_gpus else request.device


@dataclass(eq=False)
class _Pretraining:
    """Work of one process of a run; the first process prepares and writes what all of them use."""

    request: PretrainRequest
    store: Store
    runs: Store
    group: ProcessGroup
    device: torch.device
    reporter: Reporter

    def __post_init__(self) -> None:
        request, store = self.request, self.store
        self._name = check_name(request.name)
        self._folder = self.runs.path(Kind.RUNS, self._name)
        self._corpus = open_corpus(store, request.corpus, check=self.group.is_main)
        self._origin = _origin(request, self._corpus, store, self.reporter)
        file = request.config_file or "none"
        self.reporter.debug(f"corpus: {store.path(Kind.CORPORA, request.corpus)}")
        self.reporter.debug(f"settings: preset `{request.preset}`, file {file}")
        self._config = resolve_config(
            request.preset,
            request.config_file,
            request.overrides,
            self._corpus.tokenizer,
            None if self._origin is None else trainable_config(self._origin.model.config),
        )
        check_kernels(self._config.compute, self._config.model, self.device)
        self._teacher = read_teacher(self._config.teacher, store, self.reporter)
        request.parallel.check_teacher(self._config.teacher)

    def run(self) -> PretrainResult:
        with self._lock():
            queries = make_queries(self._corpus, validation_queries(self._config))
            batches = open_batches(self._corpus, self._config, self.store, self.reporter)
            if not self._is_finished(batches):
                self._train(queries, batches)
        return PretrainResult(
            name=self._name, folder=self._folder, summary=read_summary(self._folder)
        )

    def _lock(self) -> AbstractContextManager[None]:
        """Lock the run in the process that writes."""
        if self.group.is_main:
            note_output(self._folder)
            return self.runs.lock(Kind.RUNS, self._name, timeout=1)
        return nullcontext()

    def _is_finished(self, batches: Batches) -> bool:
        def look() -> str:
            models = {"origin_sha256": self._origin, "teacher_sha256": self._teacher}
            digests = {key: weights_digest(own.model) for key, own in models.items() if own}
            if places := groups_sha256(batches.mixture.groups):
                digests["groups_sha256"] = places
            open_run(self._folder, self._config, self._corpus, digests)
            return str((self._folder / SUMMARY_FILE).exists())

        finished = self.group.broadcast_from_main(look) == str(True)
        if finished:
            self.reporter.note(f"the run `{self._name}` is finished already")
        return finished

    def _train(self, queries: Queries, batches: Batches) -> None:
        config, corpus, reporter = self._config, self._corpus, self.reporter
        parallel = self.request.parallel
        check_rows(config.training, config.model, self.group)
        if self.group.restarts:
            reporter.warn(
                f"a process exited: all were restarted ({self.group.restarts} of at most "
                f"{parallel.restarts} times)"
            )
        self._compare_processes()
        model = build_model(config.model, seed=config.training.seed)
        if self._origin is not None:
            load_weights(model, self._origin.model.state_dict(), self._origin.folder)
        if not parallel.shard:  # sharded, it is moved part by part
            model = model.to(self.device)
        task = pretraining_task(self._teacher, model, corpus, config)
        causal = objective_for(config.model.direction).is_causal
        baseline = self._broadcast(
            CountBaseline,
            lambda: run_baseline(self._folder, corpus, queries, reporter, causal=causal),
        )
        reporter.record(_started(self._name, config, corpus, model, baseline))
        report_sampling(batches, corpus, config, reporter)
        trial = plan_step(model, corpus, config, shares=self.group.num_shares)
        memory = self._broadcast(MemoryConfig, lambda: self._memory(trial))
        parallel.check_model(config.model, config.training, memory.plan)
        if self.group.sequence_group is not None:
            check_sequence_parallel(model, memory.plan)
        trial = replace(trial, memory=memory)
        compute = self._broadcast(ComputeConfig, lambda: self._compute(trial))
        report_kernels(compute, trial, reporter)
        run = TrainingRun(
            folder=self._folder,
            model=model,
            tokenizer=corpus.tokenizer,
            batches=batches,
            config=config.training,
            memory=memory,
            compute=compute,
            validate=lambda trained: likelihood(trained, queries),
            expected_bytes=(
                expected_bytes(trial.model, trial.step, memory)
                if self.group.is_main and not parallel.is_special
                else None
            ),
            task=task,
            auxiliary=task.auxiliary,
            loggers=_observers(self.request, config),
            process_group=self.group,
            shard=parallel.shard,
        )
        train(run, reporter)
        self._broadcast(
            RunSummary, lambda: summarise(run, corpus, queries, baseline, self.group.size)
        )

    def _compare_processes(self) -> None:
        """Record the number of processes of a new run; warn if that of a started run changes."""
        if not self.group.is_main:
            return
        now = StartedProcesses(processes=self.group.num_shares)
        started = read_or_make(self._folder / PROCESSES_FILE, StartedProcesses, lambda: now)
        if started != now:
            self.reporter.warn(
                f"the run was started with {started.processes} processes and continues with "
                f"{now.processes}: gradients are added in another order, losses agree to rounding"
            )

    def _compute(self, trial: Trial) -> ComputeConfig:
        """Return the precision of the started run, or choose one."""
        requested, trials = self._config.compute, self.store.root / TRIALS_FILE

        def choose() -> ComputeConfig:
            if self.request.parallel.is_special:
                return default_compute(requested, self.device)
            return choose_compute(requested, trial, trials, self.reporter)

        return read_or_make(self._folder / COMPUTE_FILE, ComputeConfig, choose)

    def _memory(self, trial: Trial) -> MemoryConfig:
        """Return the memory plan of the started run, or choose one."""
        request, memory = self.request, trial.memory

        def make() -> MemoryConfig:
            if not request.parallel.is_special:
                budget = request.memory_budget
                if budget is None and memory.plan == AUTO and self.device.type == "cpu":
                    # Processes of one machine share its memory.
                    available = available_bytes(self.device) * SHARE_OF_AVAILABLE
                    budget = int(available / self.group.local_size)
                return choose(trial.model, trial.step, memory, budget, self.reporter)
            return replace(memory, plan="full" if memory.plan == AUTO else memory.plan)

        return read_or_make(self._folder / MEMORY_FILE, MemoryConfig, make)

    def _broadcast(self, kind: type[C], make: Callable[[], C]) -> C:
        """Make a value in the first process and broadcast it."""
        document = self.group.broadcast_from_main(lambda: json.dumps(to_plain(make())))
        return from_plain(kind, parse_json(document, source="rank 0"), where="rank 0")


def _origin(
    request: PretrainRequest, corpus: Corpus, store: Store, reporter: Reporter
) -> LoadedModel | None:
    if request.origin is None:
        return None
    origin = read_model(model_folder(request.origin, store=store, reporter=reporter))
    if origin.tokenizer.tokens != corpus.tokenizer.tokens:
        raise ConfigError(
            f"`{request.origin}` has another vocabulary than the corpus `{request.corpus}`",
            hint="tokenize the genomes with the vocabulary of that model",
        )
    return origin


def plan_step(model: Model, corpus: Corpus, config: PretrainConfig, *, shares: int = 1) -> Trial:
    """Return the longest step of a run, or a share of it, for trials of plans and precisions."""
    stage = stages(config.training, config.model.context)[-1]
    rows = -(-stage.rows // shares)
    return Trial(
        model=model,
        step=Step(batch=rows, length=stage.length, real_ids=corpus.tokenizer.real_ids),
        memory=replace(config.memory, rows=config.memory.rows or stage.rows_at_once),
        steps=config.training.steps,
        packed=short_segments(corpus, config.model, config.training) == "pack",
    )


def _observers(request: PretrainRequest, config: PretrainConfig) -> list[OpenObserver]:
    observers: list[OpenObserver] = [TensorboardLogger] if request.logging.tensorboard else []
    if request.logging.wandb:
        observers.append(
            partial(
                WandbLogger,
                project=request.logging.wandb,
                config={**to_plain(config), "corpus": request.corpus},
            )
        )
    return observers


def _started(
    name: str, config: PretrainConfig, corpus: Corpus, model: Model, baseline: CountBaseline
) -> RunStarted:
    return RunStarted(
        name=name,
        attention=config.model.attention.name,
        num_parameters=model.num_parameters,
        context=config.model.context,
        num_train_bases=corpus.manifest.num_train,
        baseline=baseline,
    )
