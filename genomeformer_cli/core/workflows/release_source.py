"""Source of a release: a run or one of its checkpoints, its corpus, its records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict

from genomeformer_cli._version import __version__
from genomeformer_cli.core.config_text import read_config
from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.corpus.reader import Corpus, open_corpus
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import CheckpointError, UsageError
from genomeformer_cli.core.evaluation.counts import CountBaseline
from genomeformer_cli.core.evaluation.held_out_scores import TWIN_SEED_SHIFT
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.known_models import known_models
from genomeformer_cli.core.model_io.hub_client import SCHEME
from genomeformer_cli.core.model_io.model_folder import (
    CONFIG_FILE,
    LoadedModel,
    is_published,
    load_weights,
    read_model,
)
from genomeformer_cli.core.model_io.rotation import newest_valid_checkpoint
from genomeformer_cli.core.model_io.training_state import (
    AVERAGE_FILE,
    STATE_FILE,
    read_average,
    read_step,
)
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import RUN_IDENTITY_FILE, Kind, Store
from genomeformer_cli.core.training.metrics import (
    METRICS_FILE,
    THROUGHPUT_FILE,
    Score,
    read_rows,
    score_of,
)
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.training.summary import SUMMARY_FILE, RunSummary, read_summary
from genomeformer_cli.core.workflows.records import read_record
from genomeformer_cli.core.workflows.run_config import BASELINE_FILE, RUN_CONFIG_FILE

# Key of a fine-tuning in the identity of a run.
_TASK = "task"
WhichWeights = Literal["auto", "last", "average"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Run and checkpoint of the released weights."""

    run: Path  # Folder of the run.
    checkpoint: Path  # Folder of the checkpoint.
    step: int  # Number of steps of the checkpoint.
    config: PretrainConfig  # Configuration of the run.
    corpus: Corpus  # Training corpus.


@dataclass(frozen=True, kw_only=True)
class SelectedWeights:
    """Selected weights of a checkpoint."""

    loaded: LoadedModel  # Model with these weights.
    score: Score  # Score on the run's validation queries.
    name: str  # Name of the weights and of the alternative, in words.


class _Identity(TypedDict):
    corpus: str


def find_source(name: str, *, store: Store, reporter: Reporter) -> Source:
    """Return the end of the named run, or the checkpoint in the named folder.

    Raises:
        NotInCacheError: The run is unknown, or its corpus is missing.
        CheckpointError: The run is not finished, or has no checkpoint.
        UsageError: The run is a fine-tuning, or the model one of other authors.
    """
    folder = Path(name).absolute()
    if not store.has(Kind.RUNS, name) and (folder / STATE_FILE).is_file():
        run, checkpoint = folder.parents[1], folder
    else:
        _refuse_published(name, folder, store)
        _refuse_finetuning(name, store)
        run = folder if _is_run(folder, name, store) else store.entry(Kind.RUNS, name).path
        read_summary(run)
        newest = newest_valid_checkpoint(run, reporter)
        if newest is None:
            raise CheckpointError(f"the run `{run.name}` has no checkpoint", hint="train it first")
        checkpoint = newest
    config = from_plain(PretrainConfig, read_config(run / RUN_CONFIG_FILE), where=RUN_CONFIG_FILE)
    identity: _Identity = read_json(run / RUN_IDENTITY_FILE, _Identity)
    return Source(
        run=run,
        checkpoint=checkpoint,
        step=read_step(checkpoint),
        config=config,
        corpus=open_corpus(store, identity["corpus"]),
    )


def _refuse_published(name: str, folder: Path, store: Store) -> None:
    """Refuse a model of other authors, which no run of ours has trained.

    Raises:
        UsageError: The name is an address, a known model, or a folder with its weights.
    """
    if store.has(Kind.RUNS, name) or _is_run(folder, name, store):
        return
    addresses = {word: model.address for model in known_models() for word in model.names}
    address = addresses.get(name.lower(), name)
    config = folder / CONFIG_FILE
    if not address.startswith(SCHEME) and not (
        config.is_file() and is_published(read_json(config))
    ):
        return
    raise UsageError(
        f"`{name}` is a model of other authors, and `release` makes a bundle of a run",
        hint=f"tune it first, `genomeformer finetune DATA --model {address} --name NAME`, and "
        "release `weights/NAME`; `release RUN --as transformers` is for models that you trained",
    )


def _refuse_finetuning(name: str, store: Store) -> None:
    """Refuse a fine-tuning, whose model is a bundle already.

    Raises:
        UsageError: The run is a fine-tuning.
    """
    if not store.has(Kind.RUNS, name):
        return
    identity = store.entry(Kind.RUNS, name).path / RUN_IDENTITY_FILE
    if identity.is_file() and _TASK in read_json(identity):
        raise UsageError(
            f"`{name}` is a fine-tuning, and its model is a bundle already",
            hint=f"`genomeformer release weights/{name}` copies, signs, packs or sends it",
        )


def _is_run(folder: Path, name: str, store: Store) -> bool:
    return not store.has(Kind.RUNS, name) and (folder / RUN_CONFIG_FILE).is_file()


def choose_weights(source: Source, queries: Queries, which: WhichWeights) -> SelectedWeights:
    """Return the last weights or their moving average; `auto` selects by score on held-out bases.

    Raises:
        CheckpointError: The average is requested and missing.
        CorruptError: A file does not match its checksum.
    """
    last = read_model(source.checkpoint)
    last_name = f"the weights after step {source.step:,}"
    recorded = _recorded_scores(source)
    if not (source.checkpoint / AVERAGE_FILE).is_file():
        if which == "average":
            raise CheckpointError(
                f"the run `{source.run.name}` has no moving average of its weights",
                hint="train with `--set training.ema=0.999`, or leave out `--weights average`",
            )
        score = recorded.get("last") or likelihood(last.model, queries)
        return SelectedWeights(loaded=last, score=score, name=last_name)
    averaged = read_model(source.checkpoint)
    tensors = {**averaged.model.state_dict(), **read_average(source.checkpoint)}
    load_weights(averaged.model, tensors, source.checkpoint)
    name = f"the moving average of the weights at step {source.step:,}"
    models = {"last": last.model, "average": averaged.model}
    scores = {key: recorded.get(key) or likelihood(models[key], queries) for key in models}
    selected = which
    if which == "auto":
        selected = min(("last", "average"), key=lambda candidate: scores[candidate].bits_per_base)
    alternative = "last" if selected == "average" else "average"
    beside = f"{scores[selected].bits_per_base:.4f} bits per base on held-out bases, where the "
    beside += f"{'last weights' if alternative == 'last' else 'moving average'} "
    beside += f"took {scores[alternative].bits_per_base:.4f}"
    return SelectedWeights(
        loaded=averaged if selected == "average" else last,
        score=scores[selected],
        name=f"{name if selected == 'average' else last_name} ({beside})",
    )


def _recorded_scores(source: Source) -> dict[str, Score]:
    """Return the recorded validation scores of the weights and of their average."""
    names = {"last": "validation", "average": "validation_average"}
    rows = read_rows(source.run / METRICS_FILE)
    row = next((row for row in rows if row["step"] == source.step), {})
    return {name: score_of(row, key) for name, key in names.items() if key in row}


def summary_of(source: Source, selected: SelectedWeights, queries: Queries) -> RunSummary:
    """Return the summary of the run at the checkpoint, with the selected weights."""
    if (source.run / SUMMARY_FILE).is_file():
        summary = read_summary(source.run)
        if summary.num_steps == source.step:
            return replace(summary, model=selected.score)
    rows = read_rows(source.run / METRICS_FILE)[: source.step]
    speeds = read_rows(source.run / THROUGHPUT_FILE)
    seconds = [row["seconds"] for row in speeds if row.get("step", 0) <= source.step]
    baseline = read_record(source.run / BASELINE_FILE, CountBaseline)
    twin = build_model(source.config.model, seed=source.config.training.seed + TWIN_SEED_SHIFT)
    manifest = source.corpus.manifest
    return RunSummary(
        model=selected.score,
        counts=baseline.score,
        counts_order=baseline.order,
        counts_looks=baseline.looks,
        random_twin=likelihood(twin.eval(), queries),
        num_parameters=selected.loaded.model.num_parameters,
        num_steps=source.step,
        num_bases_seen=sum(row["num_bases"] for row in rows),
        num_train_bases=manifest.num_train,
        split_rule=manifest.split_rule,
        training_seconds=max(seconds, default=0.0),
        environment={"genomeformer": __version__},
        corpus=manifest.name,
    )
