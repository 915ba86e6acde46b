"""Fine-tune a model on labelled sequences; the same request again resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from genomeformer_cli._version import __version__
from genomeformer_cli.core.config_text import read_config
from genomeformer_cli.core.configuration import from_plain, merge_values, to_plain
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import EntryExistsError
from genomeformer_cli.core.evaluation.labels import Missing
from genomeformer_cli.core.finetuning.adaptation import adapt
from genomeformer_cli.core.finetuning.base_model import BaseModel, describe_base
from genomeformer_cli.core.finetuning.baselines import fit_baselines
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows, check_tokens, label_rows
from genomeformer_cli.core.finetuning.ensemble import evaluate_ensemble
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.finetuning.reading import read_task_table
from genomeformer_cli.core.finetuning.run import (
    FinetuningRun,
    evaluate_linear,
    prepare_run,
    train_seed,
)
from genomeformer_cli.core.finetuning.splits import TEST
from genomeformer_cli.core.finetuning.stacking import load_final_model, stack_seeds
from genomeformer_cli.core.finetuning.summary import (
    PRETRAINED,
    SCRATCH,
    FinetuneSummary,
    Origin,
    SeedResult,
)
from genomeformer_cli.core.formats.labelled import Example, LabelColumns
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.genomes.genome import genome_file
from genomeformer_cli.core.model_io.bundle_layout import LICENCE_FILE
from genomeformer_cli.core.model_io.bundle_layout import RESULTS_FILE as RESULTS_OF_BUNDLE
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.model_folder import read_model, read_tokenizer
from genomeformer_cli.core.model_io.resolve import resolve_model
from genomeformer_cli.core.release.derived_licence import (
    derived_licence,
    derived_licence_text,
    report_licence,
)
from genomeformer_cli.core.release.finetuned_bundle import (
    TunedTexts,
    verify_tuned_bundle,
    write_tuned_bundle,
    write_tuned_card,
)
from genomeformer_cli.core.release.output_folder import check_output, copy_bundle
from genomeformer_cli.core.reporting import Event, Reporter, SilentReporter
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.store.layout import (
    RUN_IDENTITY_FILE,
    TRIALS_FILE,
    Kind,
    Store,
    check_name,
)
from genomeformer_cli.core.store.output_lock import lock_outputs
from genomeformer_cli.core.store.run_record import note_output
from genomeformer_cli.core.training.precision import ComputeConfig, choose_compute, report_kernels
from genomeformer_cli.core.workflows.devices import choose_device, environment, set_threads
from genomeformer_cli.core.workflows.records import changed_settings, refuse_changes
from genomeformer_cli.core.workflows.run_config import RUN_CONFIG_FILE

RESULTS_FILE = "results.json"
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_ROWS_COMPARED = 8


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest:
    """Request to fine-tune."""

    data: Path  # TSV, CSV or FASTA file of labelled sequences, or a folder of tasks.
    model: str | None = None  # Model, see `core/model_io/resolve.py`; None: `default`.
    targets: tuple[str, ...] = ("label",)  # Columns of the labels.
    sequence: str | None = None  # Column of the sequences; None: `sequence`, or a FASTA file.
    missing: Missing = Missing.REFUSE  # Treatment of rows without a label or a sequence.
    genome: str | None = None  # FASTA file or cached genome of the rows of a table of regions.
    only: str | None = None  # Prefix of the name of one task of a folder.
    kind: TaskKind | None = None  # Kind of the task; None: inferred from the labels.
    # Column whose values never occur on both sides of a split; None: `group`, if present.
    group: str | None = None
    name: str | None = None  # Name of the run and of the model; None: from model and data.
    config: FinetuneConfig = field(default_factory=FinetuneConfig)  # All other settings.
    num_seeds: int = 1  # Number of seeds, beginning with the configuration's.
    from_scratch: bool = False  # Train the same model from random weights too, with every seed.
    output: Path | None = None  # Folder of the bundle; None: only in the cache.
    replace: bool = False  # Replace a bundle of the same name.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    threads: int | None = None  # CPU threads; None: all usable cores.

    @property
    def model_name(self) -> str:
        """Name of the model, for the name of the run."""
        return Path(self.model or DEFAULT_MODEL).name or "model"


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """Result of fine-tuning."""

    name: str  # Name in the cache.
    folder: Path  # Folder of the bundle: the output folder if given, otherwise in the cache.
    run: Path  # Folder of the run.
    summary: FinetuneSummary  # Scores and settings.
    members: tuple[str, ...] = ()  # Names of the models of all seeds, if they were requested.


@dataclass(frozen=True, kw_only=True)
class TuningStarted(Event):
    """Training of one seed is about to start."""

    name: str  # Name of the run.
    task: str  # Name of the task.
    kind: str  # Kind of the task.
    classes: tuple[str, ...]  # Classes, labels or quantities.
    origin: str  # Initial weights.
    seed: int
    metric: str  # Validation metric.
    num_rows: dict[str, int]  # Rows of each split.
    num_parameters: int  # Number of parameters of model and head.


def finetune_model(
    request: FinetuneRequest, *, reporter: Reporter, store: Store | None = None
) -> FinetuneResult:
    """Train every seed, score it on the test rows, and install the model with the best validation.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
        InputError, AlphabetError, FastaError: The labelled sequences are invalid.
        ConfigError: The configuration is invalid, or differs from that of the started run.
        EntryExistsError: Another model has the name and `replace` is false.
        StoreError: The output folder exists and is not empty.
        TrainingError: The loss is not finite.
    """
    store = store or Store()
    check_output(request.output)
    rows = read_rows(request, reporter=reporter, store=store)
    resolved = resolve_model(request.model, store=store, reporter=reporter)
    base = describe_base(read_model(resolved.folder), resolved.address)
    report_licence(base, reporter)
    check_tokens(rows, read_tokenizer(resolved.folder))
    set_threads(request.threads)
    device = choose_device(request.device, reporter)
    tuning = prepare_run(rows, request.config, resolved.folder, device)
    name = check_name(request.name or default_name(request.model_name, rows.name))
    run = store.path(Kind.RUNS, name)
    with lock_outputs(request.output, reporter=reporter), store.lock(Kind.RUNS, name, timeout=1):
        members = _member_names(request, name)
        for saved in (name, *members):
            _check_place(request, store, saved, rows.name, base.weights_sha256)
        note_output(run)
        config = dataclasses.replace(
            tuning.config, compute=_compute(tuning, run, store.root / TRIALS_FILE, reporter)
        )
        tuning = dataclasses.replace(tuning, config=config)
        _open(run, config, rows, base.weights_sha256)
        for note in rows.notes:
            reporter.note(note)
        tuning = adapt(tuning, run, reporter)
        baselines = fit_baselines(tuning, run, reporter) if config.baselines else ()
        results = _all_seeds(request, tuning, run, name, reporter)
        stacked = stack_seeds(tuning, run, results, reporter)
        summary = dataclasses.replace(
            _summary(request, tuning, run, results, base), stacked=stacked, baselines=baselines
        )
        write_json(run / RESULTS_FILE, dataclasses.asdict(summary))
        for member, seed in members.items():
            of_seed = dataclasses.replace(summary, name=member, saved_seed=seed)
            _install(request, tuning, run, of_seed, store)
        folder = _install(request, tuning, run, summary, store)
        if request.output is not None:
            copy_bundle(folder, request.output, replace=request.replace)
            folder = request.output
    return FinetuneResult(
        name=name, folder=folder, run=run, summary=summary, members=tuple(members)
    )


def _member_names(request: FinetuneRequest, name: str) -> dict[str, int]:
    """Return the seed of each model that is saved beside the best, by name."""
    if request.config.members == "best":
        return {}
    first = request.config.training.seed
    return {f"{name}-seed-{seed}": seed for seed in range(first, first + request.num_seeds)}


def read_rows(
    request: FinetuneRequest, *, reporter: Reporter, store: Store | None = None
) -> LabelledRows:
    """Read the labelled rows of a request, split and encoded.

    Raises:
        InputError, AlphabetError, FastaError: The labelled sequences are invalid.
    """
    genome = None
    if request.genome is not None:
        genome = NamedFile(*genome_file(request.genome, store or Store()))
    return label_rows(
        read_task_table(
            request.data,
            LabelColumns(labels=request.targets, sequence=request.sequence, group=request.group),
            prefix=request.only,
            genome=genome,
        ),
        kind=request.kind,
        split=request.config.split,
        reporter=reporter,
        missing=request.missing,
    )


def default_name(model: str, task: str) -> str:
    """Return the name of a run from its model and task."""
    return _NO_NAME.sub("-", f"{model}-{task}").strip("-._") or "finetuned"


def _compute(tuning: FinetuningRun, run: Path, trials: Path, reporter: Reporter) -> ComputeConfig:
    """Return the requested precision and kernels, those of the started run, or the fastest."""
    compute, begun, trial = tuning.config.compute, run / RUN_CONFIG_FILE, tuning.trial()
    if begun.exists():
        recorded = from_plain(ComputeConfig, read_config(begun)["compute"], where=str(begun))
        if compute.precision == "auto":
            compute = dataclasses.replace(compute, precision=recorded.precision)
        if compute.kernels == "auto":
            compute = dataclasses.replace(compute, kernels=recorded.kernels)
    else:
        compute = choose_compute(compute, trial, trials, reporter)
    report_kernels(compute, trial, reporter)
    return compute


def _open(run: Path, config: FinetuneConfig, rows: LabelledRows, base_sha256: str) -> None:
    """Create a run folder, or check that settings and rows are those it was started with.

    Raises:
        ConfigError: Settings or rows differ; the message lists them.
    """
    plain = to_plain(config)
    identity = {
        "task": rows.name,
        "rows_sha256": _digest(rows.examples),
        "targets": to_plain(rows.label_space),
        "base_sha256": base_sha256,
    }
    if not (run / RUN_CONFIG_FILE).exists():
        write_json(run / RUN_IDENTITY_FILE, {**identity, "genomeformer": __version__})
        write_text(run / RUN_CONFIG_FILE, tomli_w.dumps(plain))
        return
    recorded = read_json(run / RUN_IDENTITY_FILE)
    # A run of an earlier version lacks the settings that came later, and had their defaults.
    settings = merge_values(to_plain(FinetuneConfig()), read_config(run / RUN_CONFIG_FILE))
    before = {**settings, **recorded}
    # These can be added to a finished run: its seeds do not depend on them.
    before |= {name: plain[name] for name in ("baselines", "members", "network")}
    changes = changed_settings(before, {**plain, **identity})
    refuse_changes(f"run `{run.name}`", changes, "a new run")
    write_text(run / RUN_CONFIG_FILE, tomli_w.dumps(plain))


def _digest(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        cells = (example.id, example.sequence, example.label, example.split, example.group)
        digest.update("\t".join(cells).encode() + b"\n")
    return digest.hexdigest()


def _all_seeds(
    request: FinetuneRequest, tuning: FinetuningRun, run: Path, name: str, reporter: Reporter
) -> list[SeedResult]:
    origins: tuple[Origin, ...] = (PRETRAINED, SCRATCH) if request.from_scratch else (PRETRAINED,)
    first = tuning.config.training.seed
    results = []
    for seed in range(first, first + request.num_seeds):
        for origin in origins:
            started = TuningStarted(
                name=name,
                task=tuning.rows.name,
                kind=tuning.task.targets.kind.value,
                classes=tuning.task.targets.names,
                origin=origin,
                seed=seed,
                metric=tuning.config.tuning.metric,
                num_rows=tuning.num_rows,
                num_parameters=tuning.num_parameters,
            )
            reporter.record(started)
            results.append(train_seed(tuning, run, origin, seed, reporter))
    return results


def _summary(
    request: FinetuneRequest,
    tuning: FinetuningRun,
    run: Path,
    results: list[SeedResult],
    base: BaseModel,
) -> FinetuneSummary:
    return FinetuneSummary(
        name=run.name,
        base=request.model_name,
        base_sha256=base.weights_sha256,
        base_model=base,
        licence=derived_licence(base),
        task=tuning.rows.name,
        kind=tuning.task.targets.kind.value,
        classes=tuning.task.targets.names,
        metric=tuning.config.tuning.metric,
        reported=tuning.report_metric,
        method=tuning.config.tuning.method,
        num_parameters=tuning.num_parameters,
        num_rows=tuning.num_rows,
        official_split=tuning.rows.official_split,
        count=tuning.rows.count,
        duplicates=tuning.rows.duplicates,
        results=tuple(results),
        ensemble=evaluate_ensemble(
            tuning, run, [result for result in results if result.origin == PRETRAINED]
        ),
        linear=evaluate_linear(tuning, run, SilentReporter()),
        environment=environment(tuning.device, precision=tuning.config.compute.precision),
    )


def _install(
    request: FinetuneRequest,
    tuning: FinetuningRun,
    run: Path,
    summary: FinetuneSummary,
    store: Store,
) -> Path:
    """Install the selected weights in the cache, after verifying that they reproduce the run."""
    tuned = load_final_model(tuning, run, summary.saved)
    card = write_tuned_card(summary, tuning.config, tuned[1])
    train_config = (run / RUN_CONFIG_FILE).read_text(encoding="utf-8")
    compared = [tuning.rows.codes[row] for row in tuning.rows.splits[TEST][:_ROWS_COMPARED]]
    replaced = _check_place(request, store, summary.name, summary.task, summary.base_sha256)
    with (
        store.lock(Kind.WEIGHTS, summary.name),
        store.create(Kind.WEIGHTS, summary.name, replace=replaced) as folder,
    ):
        write_tuned_bundle(
            folder,
            tuned,
            summary,
            TunedTexts(
                card=card,
                train_config=train_config,
                licence=derived_licence_text(summary.base_model, tuning.base / LICENCE_FILE),
            ),
        )
        verify_tuned_bundle(folder, tuned, compared)
    return store.entry(Kind.WEIGHTS, summary.name).path


def _check_place(
    request: FinetuneRequest, store: Store, name: str, task: str, base_sha256: str
) -> bool:
    """Return True if existing weights of that name may be replaced.

    They may be if they are from this run, with any number of seeds.

    Raises:
        EntryExistsError: They are from another run.
    """
    if not store.has(Kind.WEIGHTS, name) or request.replace:
        return request.replace
    path = store.path(Kind.WEIGHTS, name) / RESULTS_OF_BUNDLE
    try:
        results = read_json(path)
    except DocumentError:
        results = {}
    identity = (results.get("name"), results.get("task"), results.get("base_sha256"))
    if identity != (name, task, base_sha256):
        raise EntryExistsError(
            f"the cache already has a model `{name}` of other origin",
            hint="choose another `--name`, or give `--replace`",
        )
    return True
