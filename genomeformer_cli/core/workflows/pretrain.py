"""Pretrain a model on a corpus; the same request again goes on where the run stopped."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from genomeformer_cli import __version__
from genomeformer_cli.core.configuration import differences, from_plain, overlay, to_plain
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.windows import Sampling, WindowSampler
from genomeformer_cli.core.errors import ConfigError, CorruptError
from genomeformer_cli.core.evaluation.counts import CountBaseline, count_baseline
from genomeformer_cli.core.evaluation.held_out import HeldOut, held_out_questions
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.gradients.plans import MemoryPlan
from genomeformer_cli.core.model.build import Model, build_model
from genomeformer_cli.core.presets.pretrain import PretrainConfig, preset
from genomeformer_cli.core.reporting import Event, Reporter
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import METRICS_FILE, THROUGHPUT_FILE, Score, read_rows
from genomeformer_cli.core.training.summary import (
    SUMMARY_FILE,
    RunSummary,
    read_summary,
    write_summary,
)
from genomeformer_cli.core.workflows.compute import choose_device, set_threads

RUN_CONFIG_FILE = "config.toml"
RUN_IDENTITY_FILE = "run.json"
BASELINE_FILE = "baseline.json"
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
    """

    corpus: str
    name: str
    preset: str = "tiny"
    config_file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    threads: int | None = None


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
        ConfigError: The configuration cannot be, or is not the one the run was started with; or the
            corpus has other tokens than bases.
        TrainingError: The loss is no longer a number.
        CheckpointError, CorruptError: What the run would go on from is damaged.
    """
    store = store or Store()
    name = check_name(request.name)
    corpus = Corpus(store.entry(Kind.CORPORA, request.corpus).path)
    config = resolve_config(request, vocabulary_size=len(corpus.tokenizer.tokens))
    device = choose_device(request.device)
    set_threads(request.threads)
    folder = store.path(Kind.RUNS, name)
    with store.lock(Kind.RUNS, name, timeout=1):
        questions = held_out_questions(
            corpus,
            length=config.model.context,
            max_windows=config.training.validation_windows,
            passes=config.training.validation_passes,
        )
        _open_run(folder, config, corpus)
        if (folder / SUMMARY_FILE).exists():
            reporter.note(f"the run `{name}` is finished already")
            return PretrainResult(name=name, folder=folder, summary=read_summary(folder))
        baseline = _baseline(folder, corpus, questions, reporter)
        model = build_model(config.model, seed=config.training.seed).to(device)
        reporter.record(_started(name, config, corpus, model, baseline))
        sampling = Sampling(
            length=config.model.context,
            batch_size=config.training.batch_size,
            seed=config.training.seed,
            reverse_complement=config.training.reverse_complement,
        )
        run = TrainingRun(
            folder=folder,
            model=model,
            tokenizer=corpus.tokenizer,
            sampler=WindowSampler(corpus, "train", sampling),
            masking=config.masking,
            config=config.training,
            plan=MemoryPlan(),
            validate=lambda trained: likelihood(trained, questions),
        )
        train(run, reporter)
        summary = _summarise(run, corpus, questions, baseline)
        write_summary(summary, folder)
    return PretrainResult(name=name, folder=folder, summary=summary)


def resolve_config(request: PretrainRequest, *, vocabulary_size: int) -> PretrainConfig:
    """Preset, then TOML, then flags; the vocabulary's size comes from the corpus.

    Raises:
        ConfigError: An unknown preset or setting, a wrong type, an unreadable TOML.
    """
    config = preset(request.preset)
    if request.config_file is not None:
        config = overlay(config, read_toml(request.config_file), where=str(request.config_file))
    config = overlay(config, request.overrides, where="command line")
    return overlay(config, {"model": {"vocabulary_size": vocabulary_size}}, where="corpus")


def read_toml(path: Path) -> dict[str, Any]:
    """Values of a TOML file.

    Raises:
        ConfigError: It is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise ConfigError(
            f"`{path}` cannot be read as TOML: {failure}", hint="see a run's `config.toml`"
        ) from failure


def _open_run(folder: Path, config: PretrainConfig, corpus: Corpus) -> None:
    plain = to_plain(config)
    identity = {
        "corpus": corpus.manifest.name,
        "corpus_inputs_sha256": corpus.manifest.inputs_sha256,
        "vocabulary_sha256": corpus.manifest.vocabulary_sha256,
    }
    if not (folder / RUN_CONFIG_FILE).exists():
        write_json(folder / RUN_IDENTITY_FILE, {**identity, "genomeformer": __version__})
        write_text(folder / RUN_CONFIG_FILE, tomli_w.dumps(plain))
        return
    before = {**read_toml(folder / RUN_CONFIG_FILE), **_identity(folder)}
    changed = differences(before, {**plain, **identity, "genomeformer": before.get("genomeformer")})
    if changed:
        raise ConfigError(
            f"the run `{folder.name}` was started with other settings: " + "; ".join(changed),
            hint="give the same settings to go on with it, or another `--name` to start a new run",
        )


def _identity(folder: Path) -> dict[str, Any]:
    try:
        identity: dict[str, Any] = json.loads(
            (folder / RUN_IDENTITY_FILE).read_text(encoding="utf-8")
        )
    except (OSError, ValueError) as failure:
        raise CorruptError(
            f"`{folder / RUN_IDENTITY_FILE}` is damaged", hint="remove the run and train again"
        ) from failure
    return identity


def _baseline(
    folder: Path, corpus: Corpus, questions: HeldOut, reporter: Reporter
) -> CountBaseline:
    path = folder / BASELINE_FILE
    if path.exists():
        plain = json.loads(path.read_text(encoding="utf-8"))
        return from_plain(CountBaseline, plain, where=str(path))
    baseline = count_baseline(corpus, questions, reporter)
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
        },
        corpus=corpus.manifest.name,
    )
