"""Forecast of a pretraining run: parameters, tokens, memory, time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from genomeformer_cli.core.corpus.reader import Corpus, open_corpus
from genomeformer_cli.core.memory_plans.forecast import Forecast, choose, forecasts
from genomeformer_cli.core.memory_plans.memory_meter import bytes_in_use
from genomeformer_cli.core.memory_plans.plans import AUTO, plan_entry
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.registry import build_model, trainable_config
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.training.precision import check_kernels
from genomeformer_cli.core.training.presets import PretrainSettings
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.pretrain import PretrainRequest, plan_step
from genomeformer_cli.core.workflows.run_config import resolve_config, resolve_settings


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Forecast of a run."""

    attention: str  # Attention mechanism.
    direction: str  # Direction of the model.
    num_parameters: int  # Number of parameters.
    batch_size: int  # Windows per step.
    context: int  # Tokens per window.
    steps: int  # Optimizer steps.
    epochs: float  # Passes over the training split.
    chosen: str  # Memory plan that the run would use.
    rows: int  # Windows computed at a time.
    kept: int  # Slices whose activations are kept; 0: the plan keeps none.
    base_bytes: int  # Memory of the process, or of the GPU's allocator, without a step's tensors.
    forecasts: list[Forecast]  # Cost of each memory plan.


def forecast_run(
    request: PretrainRequest, *, reporter: Reporter, store: Store | None = None
) -> DryRun:
    """Measure every memory plan on short rows, without writing anything.

    Raises:
        NotInCacheError: The corpus is unknown.
        ConfigError: The configuration is invalid, or no plan fits.
    """
    store = store or Store()
    corpus = Corpus(store.entry(Kind.CORPORA, request.corpus).path)
    config = resolve_config(
        request.preset, request.config_file, request.overrides, corpus.tokenizer
    )
    set_threads(request.threads)
    model = build_model(config.model, seed=config.training.seed)
    model = model.to(choose_device(request.device, reporter))
    check_kernels(config.compute, config.model, model.device)
    base_bytes = bytes_in_use(model.device)
    shares = request.parallel.num_processes // request.parallel.sequence_parallel
    trial = plan_step(model, corpus, config, shares=max(shares, 1))
    step = trial.step
    plan = choose(model, step, trial.memory, request.memory_budget, reporter)
    memory = replace(plan, plan=AUTO)
    tokens = step.batch * step.length
    return DryRun(
        attention=config.model.attention.name,
        direction=config.model.direction,
        num_parameters=model.num_parameters,
        batch_size=step.batch,
        context=config.model.context,
        steps=config.training.steps,
        epochs=config.training.steps * tokens / max(corpus.manifest.num_train, 1),
        chosen=plan.plan,
        rows=plan.rows or step.batch,
        kept=plan.kept if plan_entry(plan.plan).keeps else 0,
        base_bytes=base_bytes,
        forecasts=forecasts(model, step, memory, reporter),
    )


def pretrain_settings(
    request: PretrainRequest, *, reporter: Reporter, store: Store | None = None
) -> PretrainSettings:
    """Resolve all settings of a request without training.

    Without a corpus, the vocabulary is that of the preset.

    Raises:
        NotInCacheError: The corpus or the model to start from is absent.
        ConfigError: An unknown preset or setting, an invalid value.
    """
    store = store or Store()
    corpus = open_corpus(store, request.corpus) if request.corpus else None
    origin = None
    if request.origin is not None:
        origin = read_model(model_folder(request.origin, store=store, reporter=reporter))
    return resolve_settings(
        request.preset,
        request.config_file,
        request.overrides,
        None if corpus is None else corpus.tokenizer,
        None if origin is None else trainable_config(origin.model.config),
    )
