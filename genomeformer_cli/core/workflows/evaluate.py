"""Evaluate a model on held-out bases and labelled sequences, beside counting baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from genomeformer_cli.core.corpus.reader import Corpus, open_corpus
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.codon_effects import (
    CodonConfig,
    CodonEffects,
    evaluate_codon_effects,
)
from genomeformer_cli.core.evaluation.gene_chains import ChainsResult, evaluate_chains
from genomeformer_cli.core.evaluation.held_out_scores import (
    HeldOutConfig,
    HeldOutScores,
    score_held_out,
)
from genomeformer_cli.core.evaluation.held_out_sequences import (
    HeldOutSequence,
    annotated_sequences,
    corpus_sequences,
    file_sequences,
)
from genomeformer_cli.core.evaluation.labelled_variants import VariantsConfig, VariantsResult
from genomeformer_cli.core.evaluation.labels import Missing
from genomeformer_cli.core.evaluation.probing import ProbingConfig, ProbingResult
from genomeformer_cli.core.evaluation.task_source import TaskSource
from genomeformer_cli.core.evaluation.tasks import Task, read_suite, read_task, special_sources
from genomeformer_cli.core.finetuning.network_probe import evaluate_labelled
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.formats.labelled import LabelColumns
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.generation.recovery import (
    RecoveryConfig,
    RecoveryResult,
    evaluate_recovery,
)
from genomeformer_cli.core.genomes.genome import genome_file
from genomeformer_cli.core.inference.precision import PrecisionName, set_precision
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, weights_digest
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import RUN_IDENTITY_FILE, Kind, Store
from genomeformer_cli.core.workflows.devices import choose_device, environment, set_threads
from genomeformer_cli.core.workflows.evaluate_variants import (
    LabelledVariantSource,
    annotated_genome,
    evaluate_variant_file,
)

BUNDLE_RESULTS_FILE = "eval_results.json"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of an evaluation."""

    # Settings of the evaluation on held-out bases.
    prediction: HeldOutConfig = field(default_factory=HeldOutConfig)
    # Settings of the evaluation on labelled sequences.
    labelled: ProbingConfig = field(default_factory=ProbingConfig)
    # Settings of the evaluation on labelled variants.
    variants: VariantsConfig = field(default_factory=VariantsConfig)
    # Settings of the evaluation on coding sequences.
    codons: CodonConfig = field(default_factory=CodonConfig)
    # Settings of sequence recovery.
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """Request to evaluate a model."""

    model: str  # Model, see `core/model_io/resolve.py`.
    # Evaluate held-out bases; None: unless variants, codon effects or recovery are evaluated.
    likelihood: bool | None = None
    # Corpus whose training part is counted, and whose held-out part is evaluated unless `held_out`
    # is given; None: the corpus of the model's training.
    corpus: str | None = None
    # Files of sequences, or cached genomes, to evaluate instead of the held-out part.
    held_out: tuple[Path, ...] = ()
    # GFF3 or GenBank file for the one file of `held_out`, for `genome`, or with sequence in it.
    annotation: Path | None = None
    genome: str | None = None  # FASTA or GenBank file, or name of a genome of the cache.
    variants: Path | None = None  # Labelled variants of the genome: a table or VCF file.
    recovery: bool = False  # Rewrite hidden stretches of the held-out bases.
    codon_effects: bool = False  # Evaluate substitutions in the coding sequences of the genome.
    tasks: tuple[Path, ...] = ()  # Files of labelled sequences.
    suites: tuple[Path, ...] = ()  # Folders of tasks.
    only: tuple[str, ...] = ()  # Prefix of the names of the tasks of suites.
    label: str = "label"  # Column of the labels in a table.
    sequence: str | None = None  # Column of the sequences; None: `sequence`, or a FASTA file.
    missing: Missing = Missing.REFUSE  # Treatment of rows without a label or a sequence.
    config: EvaluateConfig = field(default_factory=EvaluateConfig)  # Settings of the evaluation.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    workers: int | None = None  # CPU cores; None: every core, or `OMP_NUM_THREADS`.
    # Precision of the matrix products; `auto`: float32, and int8 for vectors where it is harmless.
    precision: PrecisionName = "auto"


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """Result of an evaluation."""

    model: str  # Model as named in the request.
    folder: Path  # Folder of the weights.
    num_parameters: int  # Number of parameters.
    attention: str  # Attention mechanism.
    direction: str  # Direction of the model.
    counted_on: str | None  # Corpus of the tables of counts; None: no counts.
    predictions: tuple[HeldOutScores, ...]  # Results on held-out bases, one per kind of query.
    tasks: tuple[ProbingResult, ...]  # Results on labelled sequences.
    prediction_config: HeldOutConfig  # Options of the evaluation on held-out bases.
    labelled_config: ProbingConfig  # Options of the evaluation on labelled sequences.
    variants: VariantsResult | None  # Result on labelled variants.
    variants_config: VariantsConfig  # Options of the evaluation on labelled variants.
    # Results on the labelled variants of suites.
    suite_variants: tuple[VariantsResult, ...]
    gene_chains: tuple[ChainsResult, ...]  # Results on neighbouring genes of suites.
    codon_effects: CodonEffects | None  # Result on coding sequences.
    codon_config: CodonConfig  # Options of the evaluation on coding sequences.
    recovery: RecoveryResult | None  # Result of sequence recovery.
    recovery_config: RecoveryConfig  # Options of sequence recovery.
    environment: dict[str, str]  # Versions and device.
    weights_digest: str = ""  # Digest of the weights, by which a model card finds its evaluation.


def evaluate_model(
    request: EvaluateRequest, *, reporter: Reporter, store: Store | None = None
) -> EvaluateResult:
    """Evaluate a model.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model or the corpus cannot be loaded.
        ConfigError: The request names no data, or data that do not fit the model.
        InputError: Labelled or held-out sequences cannot be read.
    """
    store = store or Store()
    is_special = request.codon_effects or request.variants is not None
    is_partial = is_special or request.recovery
    has_likelihood = not is_partial if request.likelihood is None else request.likelihood
    if not (request.tasks or request.suites or has_likelihood or is_partial):
        raise ConfigError(
            "nothing to evaluate: likelihood is off and no task is given",
            hint="give `--task`, `--suite`, `--variants`, `--codon-effects` or `--recovery`",
        )
    special = special_sources(request.suites, request.only)
    has_variants = is_special or any(source.variants for source in special)
    if request.genome is not None and not (has_variants or request.tasks):
        raise ConfigError(
            "`--genome` alone is not evaluated",
            hint="give `--variants`, `--codon-effects`, a `--task` of regions or a `--suite` of "
            "variants with it, or `--held-out FASTA` instead",
        )
    set_threads(request.workers)
    loaded = read_model(model_folder(request.model, store=store, reporter=reporter))
    loaded.model.to(choose_device(request.device, reporter))
    precision = set_precision(loaded, request.precision, reporter)
    corpus: Corpus | None = None
    predictions: tuple[HeldOutScores, ...] = ()
    recovery: RecoveryResult | None = None
    if has_likelihood or request.recovery:
        corpus = _corpus(request, loaded, store, reporter)
        texts = _texts(request, corpus, store, reporter)
        if has_likelihood:
            predictions = score_held_out(loaded, texts, corpus, request.config.prediction, reporter)
        if request.recovery:
            recovery = evaluate_recovery(loaded, texts, corpus, request.config.recovery, reporter)
    results = []
    for task in read_tasks(request, reporter, store):
        results.append(evaluate_labelled(loaded, task, request.config.labelled, reporter))
        reporter.note(_short(results[-1]))
    variants = codon_effects = None
    if request.variants is not None:
        if request.genome is None:
            raise ConfigError("`--variants` needs a genome", hint="name it with `--genome`")
        source = LabelledVariantSource(
            variants=request.variants,
            genome=request.genome,
            annotation=request.annotation,
            label=request.label,
        )
        variants = evaluate_variant_file(loaded, source, request.config.variants, reporter, store)
    suite_variants = tuple(_suite_variants(loaded, special, request, reporter, store))
    chains = [
        evaluate_chains(loaded, task.name, task.chains(), request.config.labelled, reporter)
        for task in special
        if task.chains
    ]
    if request.codon_effects:
        records, name = annotated_genome(request.genome, request.annotation, store, reporter)
        codon_effects = evaluate_codon_effects(
            loaded, records, name, request.config.codons, reporter
        )
    return EvaluateResult(
        model=request.model,
        folder=loaded.folder,
        num_parameters=loaded.model.num_parameters,
        attention=loaded.model.config.mechanism,
        direction=loaded.model.config.direction,
        counted_on=corpus.manifest.name if corpus else None,
        predictions=predictions,
        tasks=tuple(results),
        prediction_config=request.config.prediction,
        labelled_config=request.config.labelled,
        variants=variants,
        variants_config=request.config.variants,
        suite_variants=suite_variants,
        gene_chains=tuple(chains),
        codon_effects=codon_effects,
        codon_config=request.config.codons,
        recovery=recovery,
        recovery_config=request.config.recovery,
        environment=environment(loaded.model.device, precision=precision),
        weights_digest=weights_digest(loaded.model),
    )


def _suite_variants(
    loaded: LoadedModel,
    tasks: Sequence[TaskSource],
    request: EvaluateRequest,
    reporter: Reporter,
    store: Store,
) -> Iterator[VariantsResult]:
    """Evaluate the labelled variants of suites, if their genome is named."""
    for task in tasks:
        if task.variants is not None and request.genome is not None:
            source = LabelledVariantSource(
                variants=task.variants,
                genome=request.genome,
                annotation=request.annotation,
                label=request.label,
            )
            config = request.config.variants
            result = evaluate_variant_file(loaded, source, config, reporter, store)
            yield replace(result, name=task.name)


def _short(result: ProbingResult) -> str:
    first = result.rows[0]
    words = result.best_kmers(first.seed)
    return (
        f"{result.name}: MCC {first.logistic.mcc.value:.3f}, "
        f"best k-mers ({words.who}) {words.logistic.mcc.value:.3f}"
    )


def read_tasks(
    request: EvaluateRequest, reporter: Reporter | None = None, store: Store | None = None
) -> Iterator[Task]:
    """Read the tasks of a request, one at a time in memory.

    Args:
        request: Request.
        reporter: Receives the tasks of a suite that are not evaluated.
        store: Cache with the genome of regions; default: from the environment.

    Raises:
        InputError, FastaError: A task cannot be used.
    """
    genome = None
    if request.genome is not None:
        genome = NamedFile(*genome_file(request.genome, store or Store()))
    for path in request.tasks:
        columns = LabelColumns(labels=(request.label,), sequence=request.sequence)
        yield read_task(path, columns=columns, missing=request.missing, genome=genome)
    for folder in request.suites:
        yield from read_suite(
            folder,
            request.only,
            missing=request.missing,
            reporter=reporter,
            has_genome=request.genome is not None,
        )


def _corpus(
    request: EvaluateRequest, loaded: LoadedModel, store: Store, reporter: Reporter
) -> Corpus | None:
    name = request.corpus or _identity(loaded.folder).get("corpus")
    if name is not None and (request.corpus or store.has(Kind.CORPORA, name)):
        corpus = open_corpus(store, name)
        _check_same(corpus, loaded.folder, reporter)
        return corpus
    if not request.held_out and request.annotation is None:
        raise ConfigError(
            f"the corpus `{name}` of the model is not in the cache"
            if name
            else "the model does not record the corpus that it was trained on",
            hint="give `--corpus NAME`, or `--held-out FASTA`; or only tasks, `--no-likelihood`",
        )
    reporter.warn(
        "no table of counts: the corpus that the model was trained on is not in the cache; "
        "name it with `--corpus NAME`"
    )
    return None


def _identity(folder: Path) -> dict[str, str]:
    """Return the corpus recorded in a bundle, or in the run of a checkpoint."""
    for path in (folder / BUNDLE_RESULTS_FILE, folder.parent.parent / RUN_IDENTITY_FILE):
        if path.is_file():
            results = read_json(path)
            return {key: value for key, value in results.items() if isinstance(value, str)}
    return {}


def _check_same(corpus: Corpus, folder: Path, reporter: Reporter) -> None:
    identity = _identity(folder)
    inputs = identity.get("corpus_inputs_sha256")
    if inputs not in (None, corpus.manifest.inputs_sha256) or identity.get("corpus") not in (
        None,
        corpus.manifest.name,
    ):
        reporter.warn(
            f"the model was not trained on the corpus `{corpus.manifest.name}` as it is: the "
            "tables know other sequences, and its held-out part may have been trained on"
        )


def _texts(
    request: EvaluateRequest, corpus: Corpus | None, store: Store, reporter: Reporter
) -> list[HeldOutSequence]:
    if request.annotation is not None:
        if len(request.held_out) > 1:
            raise ConfigError(
                "`--gff` describes one genome, and several are given",
                hint="give one `--held-out` with it",
            )
        fasta = genome_file(str(request.held_out[0]), store)[0] if request.held_out else None
        return annotated_sequences(
            fasta, request.annotation, GroupBy(request.config.prediction.by), reporter
        )
    if request.held_out:
        files = [genome_file(str(path), store)[0] for path in request.held_out]
        return file_sequences(files, GroupBy(request.config.prediction.by), reporter)
    assert corpus is not None, "`_corpus` gives one or raises"
    return corpus_sequences(corpus, GroupBy(request.config.prediction.by))
