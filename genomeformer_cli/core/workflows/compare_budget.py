"""Cost of a training step, and number of steps that a budget allows.

Tokens and operations are arithmetic, equal on any machine. Time is measured: the median of some
steps on temporary weights, which short pauses of the machine do not affect.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.memory_plans.flops import count_flops
from genomeformer_cli.core.memory_plans.forecast import choose
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.store.layout import TRIALS_FILE, Kind, Store
from genomeformer_cli.core.training.budget import Budget, Plan
from genomeformer_cli.core.training.length_curriculum import stages
from genomeformer_cli.core.training.loop import TrainingRun, time_step
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.precision import choose_compute
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.pretrain import PretrainRequest, plan_step
from genomeformer_cli.core.workflows.run_batches import open_batches, pretraining_task, read_teacher
from genomeformer_cli.core.workflows.run_config import resolve_config

# Of a budget of time, this part is spent beside it on finding out what a step takes, within bounds.
_TRIED_SHARE = 0.05
_TRIED_SECONDS = (2.0, 20.0)


def plan_training(
    request: PretrainRequest, budget: Budget, *, reporter: Reporter, store: Store
) -> Plan:
    """Return the plan of a training within a budget; its configured number of steps is ignored.

    Raises:
        NotInCacheError: The corpus is unknown.
        ConfigError: The configuration is invalid, or the budget is less than one step.
    """
    corpus = Corpus(store.entry(Kind.CORPORA, request.corpus).path)
    config = resolve_config(
        request.preset, request.config_file, request.overrides, corpus.tokenizer
    )
    set_threads(request.threads)
    stage = stages(config.training, config.model.context)[-1]
    tokens = stage.rows * stage.length
    flops: int | None = None
    seconds: float | None = None
    if budget.kind != "tokens":
        model = build_model(config.model, seed=config.training.seed)
        model = model.to(choose_device(request.device, reporter))
        flops = count_flops(model, plan_step(model, corpus, config).step)
    if budget.kind == "minutes":
        trial_seconds = min(
            max(60 * budget.amount * _TRIED_SHARE, _TRIED_SECONDS[0]), _TRIED_SECONDS[1]
        )
        run = _trial_run(model, corpus, config, request, (store, reporter))
        seconds = time_step(run, seconds=trial_seconds)
    steps = budget.steps(tokens=tokens, flops=flops, seconds=seconds)
    return Plan(steps=steps, tokens=tokens, flops=flops, seconds=seconds)


def _trial_run(
    model: Model,
    corpus: Corpus,
    config: PretrainConfig,
    request: PretrainRequest,
    around: tuple[Store, Reporter],
) -> TrainingRun:
    """Return the run without a folder."""
    store, reporter = around
    teacher = read_teacher(config.teacher, store, reporter)
    task = pretraining_task(teacher, model, corpus, config)
    trial = plan_step(model, corpus, config)
    memory = choose(model, trial.step, trial.memory, request.memory_budget, reporter)
    trial = replace(trial, memory=memory)
    return TrainingRun(
        folder=Path(),
        model=model,
        tokenizer=corpus.tokenizer,
        batches=open_batches(corpus, config, store, SilentReporter()),
        config=config.training,
        memory=memory,
        compute=choose_compute(config.compute, trial, store.root / TRIALS_FILE, reporter),
        validate=_never,
        task=task,
        auxiliary=task.auxiliary,
    )


def _never(model: Model) -> Score:
    del model
    raise AssertionError("nothing is validated while a step is timed")
