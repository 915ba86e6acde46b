"""Pretrain a model on a corpus; the same request again goes on where the run stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genomeformer_cli import __version__
from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.evaluation.chains import chain_baseline
from genomeformer_cli.core.evaluation.counts import CountBaseline, count_baseline
from genomeformer_cli.core.evaluation.held_out import Asking, HeldOut, held_out_questions
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.gradients.forecast import Step, choose, expected_bytes
from genomeformer_cli.core.gradients.plans import MemoryConfig
from genomeformer_cli.core.model.build import Model, build_model
from genomeformer_cli.core.presets.pretrain import PretrainConfig
from genomeformer_cli.core.reporting import Event, Reporter
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.training.batches import Batches, packs
from genomeformer_cli.core.training.learning import Pretraining
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import METRICS_FILE, THROUGHPUT_FILE, Score, read_rows
from genomeformer_cli.core.training.observers import open_tensorboard
from genomeformer_cli.core.training.precision import ComputeConfig, Trial, settle
from genomeformer_cli.core.training.stages import stages
from genomeformer_cli.core.training.summary import (
    SUMMARY_FILE,
    RunSummary,
    read_summary,
    write_summary,
)
from genomeformer_cli.core.workflows.compute import choose_device, set_threads
from genomeformer_cli.core.workflows.run_folder import BASELINE_FILE, open_run, resolve_config

MEMORY_FILE = "memory.json"
COMPUTE_FILE = "compute.json"
TRIALS_FILE = "trials.json"
_TWIN_SEED_SHIFT = 1_000_003


@dataclass(frozen=True, kw_only=True)
class PretrainRequest:
    """What to train, on what.

    Attributes:
        corpus: Name of a corpus in the cache.
        name: Of the run.
        preset: The configuration to start from.
        config_file: TOML whose values replace the preset's.
        overrides: Values that replace both, nested as in the TOML.
        device: `auto`, `cpu`, or a torch device such as `cuda:0`.
        threads: CPU threads; None: all usable cores.
        memory_budget: Bytes that a step may take when the plan is `auto`; None: most of what is
            available.
        tensorboard: Whether to write TensorBoard's files too.
    """

    corpus: str
    name: str
    preset: str = "tiny"
    config_file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    threads: int | None = None
    memory_budget: int | None = None
    tensorboard: bool = False


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """A finished run."""

    name: str
    folder: Path
    summary: RunSummary


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run is about to take its first step, or the first since it was resumed.

    Attributes:
        name: Of the run.
        attention: Mechanism.
        num_parameters: Of the model.
        context: Tokens in a window.
        num_train_bases: Tokens in the training split.
        baseline: What a context-count table scores on the held-out bases.
    """

    name: str
    attention: str
    num_parameters: int
    context: int
    num_train_bases: int
    baseline: CountBaseline


def pretrain_model(
    request: PretrainRequest, *, reporter: Reporter, store: Store | None = None
) -> PretrainResult:
    """Train to the last step.

    Raises:
        NotInCacheError: There is no such corpus.
        ConfigError: The configuration cannot be, or is not the one the run was started with.
        TrainingError: The loss is no longer a number.
        CheckpointError, CorruptError: What the run would go on from is damaged.
    """
    store = store or Store()
    name = check_name(request.name)
    corpus = Corpus(store.entry(Kind.CORPORA, request.corpus).path)
    config = resolve_config(
        request.preset, request.config_file, request.overrides, corpus.tokenizer
    )
    device = choose_device(request.device)
    set_threads(request.threads)
    folder = store.path(Kind.RUNS, name)
    with store.lock(Kind.RUNS, name, timeout=1):
        questions = held_out_questions(corpus, _asking(config))
        batches = Batches(corpus, config.model, config.masking, config.training)
        open_run(folder, config, corpus)
        if (folder / SUMMARY_FILE).exists():
            reporter.note(f"the run `{name}` is finished already")
            return PretrainResult(name=name, folder=folder, summary=read_summary(folder))
        baseline = _baseline(folder, corpus, questions, reporter)
        model = build_model(config.model, seed=config.training.seed).to(device)
        reporter.record(_started(name, config, corpus, model, baseline))
        trial = plan_step(model, corpus, config)
        memory = _memory(folder, request.memory_budget, trial, reporter)
        trial = replace(trial, memory=memory)
        run = TrainingRun(
            folder=folder,
            model=model,
            tokenizer=corpus.tokenizer,
            batches=batches,
            config=config.training,
            memory=memory,
            compute=_compute(folder, store, config, trial, reporter),
            validate=lambda trained: likelihood(trained, questions),
            expected_bytes=expected_bytes(trial.model, trial.step, memory),
            learning=Pretraining(per_token=not corpus.tokenizer.one_token_a_base),
            observers=(open_tensorboard,) if request.tensorboard else (),
        )
        train(run, reporter)
        summary = _summarise(run, corpus, questions, baseline)
        write_summary(summary, folder)
    return PretrainResult(name=name, folder=folder, summary=summary)


def _asking(config: PretrainConfig) -> Asking:
    return Asking(
        length=config.model.context,
        max_windows=config.training.validation_windows,
        passes=config.training.validation_passes,
        causal=config.model.direction == "causal",
        both_strands=config.training.both_strands,
    )


def plan_step(model: Model, corpus: Corpus, config: PretrainConfig) -> Trial:
    """The longest step of a run, as plans and precisions are tried on it."""
    stage = stages(config.training, config.model.context)[-1]
    return Trial(
        model=model,
        step=Step(batch=stage.rows, length=stage.length, real_ids=corpus.tokenizer.real_ids),
        memory=replace(config.memory, rows=config.memory.rows or stage.rows_at_once),
        steps=config.training.steps,
        packed=packs(corpus, config.model, config.training),
    )


def _memory(folder: Path, budget: int | None, trial: Trial, reporter: Reporter) -> MemoryConfig:
    """The plan that the run was begun with, or that it is to begin with."""
    path = folder / MEMORY_FILE
    if path.exists():
        plain = json.loads(path.read_text(encoding="utf-8"))
        return from_plain(MemoryConfig, plain, where=str(path))
    memory = choose(trial.model, trial.step, trial.memory, budget, reporter)
    write_json(path, to_plain(memory))
    return memory


def _compute(
    folder: Path, store: Store, config: PretrainConfig, trial: Trial, reporter: Reporter
) -> ComputeConfig:
    """The precision that the run was begun with, or that it is to begin with."""
    path = folder / COMPUTE_FILE
    if path.exists():
        plain = json.loads(path.read_text(encoding="utf-8"))
        return from_plain(ComputeConfig, plain, where=str(path))
    compute = settle(config.compute, trial, store.root / TRIALS_FILE, reporter)
    write_json(path, to_plain(compute))
    return compute


def _baseline(
    folder: Path, corpus: Corpus, questions: HeldOut, reporter: Reporter
) -> CountBaseline:
    path = folder / BASELINE_FILE
    if path.exists():
        plain = json.loads(path.read_text(encoding="utf-8"))
        return from_plain(CountBaseline, plain, where=str(path))
    count = count_baseline if questions.bases_V is None else chain_baseline
    baseline = count(corpus, questions, reporter)
    write_json(path, to_plain(baseline))
    return baseline


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


def _summarise(
    run: TrainingRun, corpus: Corpus, questions: HeldOut, baseline: CountBaseline
) -> RunSummary:
    device = run.model.device
    twin = build_model(run.model.config, seed=run.config.seed + _TWIN_SEED_SHIFT).to(device)
    steps, speeds = (read_rows(run.folder / name) for name in (METRICS_FILE, THROUGHPUT_FILE))
    average = steps[-1].get("validation_average")
    return RunSummary(
        model=Score(**steps[-1]["validation"]),
        counts=baseline.score,
        counts_order=baseline.order,
        random_twin=likelihood(twin, questions),
        num_parameters=run.model.num_parameters,
        num_steps=run.config.steps,
        num_bases_seen=sum(row["num_bases"] for row in steps),
        num_train_bases=corpus.manifest.num_train,
        split_rule=corpus.manifest.split_rule,
        training_seconds=speeds[-1]["seconds"],
        environment={
            "genomeformer": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "device": str(device),
            "threads": str(torch.get_num_threads()),
            "precision": run.compute.precision,
            "compiled": run.compute.compile,
        },
        corpus=corpus.manifest.name,
        counts_looks=baseline.looks,
        average=None if average is None else Score(**average),
    )
