"""Release a run: make a bundle, verify that it reproduces the run, install it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.evaluation.masked_queries import make_queries
from genomeformer_cli.core.genomes.lockfile import row_of
from genomeformer_cli.core.model_io.bundle_layout import ONNX_FILE
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.embedding_rule import LAST_LAYER, Recommended
from genomeformer_cli.core.model_io.model_folder import LoadedModel, weights_digest
from genomeformer_cli.core.model_io.tensors import MAX_SHARD_BYTES
from genomeformer_cli.core.release.bundle import Layout, Papers, Weights, write_bundle
from genomeformer_cli.core.release.card import CardFacts, write_card
from genomeformer_cli.core.release.card_data import CardGenome
from genomeformer_cli.core.release.citation import DEFAULT_LICENCE, licence_text, write_citation
from genomeformer_cli.core.release.eval_report import Picture, read_evidence
from genomeformer_cli.core.release.onnx_export import export_onnx, need_onnx
from genomeformer_cli.core.release.output_folder import check_output, copy_bundle
from genomeformer_cli.core.release.selftest import reference_outputs
from genomeformer_cli.core.release.signature import need_cryptography, sign
from genomeformer_cli.core.release.stock_check import (
    check_stock,
    largest_difference,
    need_transformers,
)
from genomeformer_cli.core.release.stock_layout import as_loaded, stock_class
from genomeformer_cli.core.release.storage import (
    Storage,
    StorageCost,
    cost_of_storing,
    model_as_stored,
    stored_tensors,
)
from genomeformer_cli.core.release.verify import LARGEST_DIFFERENCE, Verified, verify_bundle
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.training.summary import RunSummary
from genomeformer_cli.core.workflows.release_genomes import card_genomes
from genomeformer_cli.core.workflows.release_source import (
    Source,
    WhichWeights,
    choose_weights,
    find_source,
    summary_of,
)
from genomeformer_cli.core.workflows.run_baselines import validation_queries
from genomeformer_cli.core.workflows.run_config import RUN_CONFIG_FILE

LOSS_PICTURE = "loss.png"
# Of held-out windows, to see what storing weights costs: the same queries to both.
_TOKENS_ASKED = 2**19


@dataclass(frozen=True, kw_only=True)
class ReleaseRequest:
    """Request to release a run."""

    run: str  # Run in the cache, or folder of a run or of a checkpoint.
    name: str | None = None  # Name of the released model; None: name of the run.
    output: Path | None = None  # Folder of the bundle; None: only in the cache.
    replace: bool = False  # Replace a bundle of the same name.
    weights: WhichWeights = "auto"  # Last weights, their moving average, or the better of both.
    storage: Storage = field(default_factory=Storage)  # Precision of the stored weights.
    evaluations: tuple[Path, ...] = ()  # Results of `evaluate` to quote.
    notes: Path | None = None  # Markdown of the authors, for the end of the card.
    authors: tuple[str, ...] = ()  # Authors for `CITATION.cff`.
    licence: str = DEFAULT_LICENCE  # SPDX id of the licence of the weights.
    licence_file: Path | None = None  # Text of the licence, unless it is Apache-2.0.
    onnx: bool = False  # Write an ONNX file too.
    sign: Path | None = None  # Ed25519 private key.
    max_shard_bytes: int = MAX_SHARD_BYTES  # Largest size of a file of weights.
    layers: Recommended = LAST_LAYER  # Defaults of `embed` for this model.
    # `transformers`: the layout of a stock class, which opens without code of ours.
    layout: Layout = "genomeformer"


@dataclass(frozen=True, kw_only=True)
class ReleaseResult:
    """Released model."""

    name: str  # Name in the cache.
    folder: Path  # Folder of the bundle: the output folder if given, otherwise in the cache.
    largest_difference: float  # Largest difference between vectors of the run and of the bundle.
    verified: Verified  # Result of the verification.
    num_bytes: int  # Size of the bundle.
    weights: str  # Released weights of the run, in words.
    stored_as: str  # Precision of the stored weights.
    cost: StorageCost | None  # Loss of accuracy through storing; None if exact.
    summary: RunSummary  # Summary of the run with these weights.
    signed_by: str | None = None  # Fingerprint of the key, if signed.
    stock_class: str | None = None  # Class of transformers that opens the bundle, if any.
    stock_difference: float | None = None  # Largest difference of its logits.


def release_run(
    request: ReleaseRequest, *, reporter: Reporter, store: Store | None = None
) -> ReleaseResult:
    """Write, verify and install a bundle.

    Raises:
        NotInCacheError: The run is unknown, or its corpus is missing.
        CheckpointError: The run is not finished, or the bundle does not reproduce it.
        ConfigError: The model has no such layers.
        EntryExistsError: Another model has the name and `replace` is false.
        StoreError: The output folder exists and holds other files.
        InputError: An evaluation, notes, licence or key is invalid.
        MissingExtraError: An option needs an extra that is not installed.
    """
    store = store or Store()
    _check(request)
    ready = _prepare(request, store, reporter)
    name, model = ready.name, ready.model
    signed_by = None
    with (
        store.lock(Kind.WEIGHTS, name),
        store.create(Kind.WEIGHTS, name, replace=request.replace, accept_same=True) as folder,
    ):
        facts = _facts(request, ready)
        papers = _write_texts(request, ready, facts)
        write_bundle(folder, ready.weights, papers, max_shard_bytes=request.max_shard_bytes)
        if request.onnx:
            export_onnx(model, folder / ONNX_FILE)
        seal(folder)
        allowed_names = " ".join([name, *request.authors, facts.notes])
        context = model.model.config.context
        largest = largest_difference(context) if ready.stock_class else LARGEST_DIFFERENCE
        verified = verify_bundle(
            folder, reference_outputs(model), allowed=allowed_names, largest=largest
        )
        difference = check_stock(folder, model) if ready.stock_class else None
        if request.sign is not None:
            signed_by = sign(folder, request.sign)
    cached = store.entry(Kind.WEIGHTS, name)
    if request.output is not None:
        copy_bundle(cached.path, request.output, replace=request.replace)
    return ReleaseResult(
        name=name,
        folder=request.output or cached.path,
        largest_difference=verified.vectors,
        verified=verified,
        num_bytes=cached.num_bytes,
        weights=ready.weights.which,
        stored_as=request.storage.name,
        cost=ready.cost,
        summary=ready.summary,
        signed_by=signed_by,
        stock_class=ready.stock_class,
        stock_difference=difference,
    )


@dataclass(frozen=True, kw_only=True)
class _PreparedModel:
    """Model to be written."""

    name: str  # Name of the model.
    source: Source  # Run and checkpoint.
    summary: RunSummary  # Summary of the run with the selected weights.
    weights: Weights  # Weights as stored.
    model: LoadedModel  # Model as loaded from the bundle.
    trained_digest: str  # Digest of the weights as trained.
    cost: StorageCost | None  # Loss of accuracy through storing.
    genomes: tuple[CardGenome, ...]  # Genomes of training and validation.
    stock_class: str | None  # Class of transformers that opens the bundle, if any.


def _prepare(request: ReleaseRequest, store: Store, reporter: Reporter) -> _PreparedModel:
    """Select the weights, and measure the loss through storing them."""
    source = find_source(request.run, store=store, reporter=reporter)
    as_stock = request.layout == "transformers"
    stock = stock_class(source.config.model) if as_stock else None
    name = check_name(request.name or source.run.name)
    if name == DEFAULT_MODEL:
        raise UsageError(
            f"`{name}` is reserved for the model of the package",
            hint="choose another `--name`",
        )
    queries = make_queries(source.corpus, validation_queries(source.config))
    selected = choose_weights(source, queries, request.weights)
    trained, tokenizer = selected.loaded.model, selected.loaded.tokenizer
    tensors = stored_tensors(trained, request.storage)
    stored, cost = trained, None
    if not request.storage.is_exact:
        stored = model_as_stored(trained, tensors)
        settings = validation_queries(source.config)
        most = max(_TOKENS_ASKED // settings.length, 1)
        settings = replace(settings, max_windows=min(settings.max_windows, most))
        cost = cost_of_storing(trained, stored, make_queries(source.corpus, settings))
    loaded = LoadedModel(
        model=stored,
        tokenizer=tokenizer,
        folder=source.checkpoint,
        layers=request.layers.layers,
        rules=request.layers.rules,
    )
    for options in (EmbedOptions(pool="mean"), *map(EmbedOptions.of_rule, request.layers.rules)):
        Embedder(loaded, options)
    return _PreparedModel(
        name=name,
        source=source,
        summary=summary_of(source, selected, queries),
        weights=Weights(
            config=stored.config,
            tokenizer=tokenizer,
            tensors=tensors,
            storage=request.storage,
            digest=weights_digest(
                as_loaded(stored.config, tokenizer, tensors) if as_stock else stored
            ),
            which=selected.name,
            recommended=request.layers,
            layout=request.layout,
        ),
        stock_class=stock,
        model=loaded,
        trained_digest=weights_digest(trained),
        cost=cost,
        genomes=card_genomes(source.corpus, store=store, reporter=reporter),
    )


def _check(request: ReleaseRequest) -> None:
    """Check the request before any work."""
    for rule in request.layers.rules.values():
        EmbedOptions(pool=cast(Pool, rule.pool))
    if request.onnx:
        need_onnx()
    if request.sign is not None:
        need_cryptography()
    if request.layout == "transformers":
        need_transformers()
        if request.storage.quantize is not None or request.layers != LAST_LAYER:
            raise UsageError(
                "stock classes of transformers read neither 8-bit matrices with scales nor "
                "recommended layers",
                hint="leave `--dtype int8` and `--layers` out, or `--as transformers`",
            )
    licence_text(request.licence, request.licence_file)
    check_output(request.output)


def _facts(request: ReleaseRequest, ready: _PreparedModel) -> CardFacts:
    """Return the facts of the model card."""
    source = ready.source
    manifest, config = source.corpus.manifest, source.config
    settings = ", ".join(f"{key} {value}" for key, value in manifest.tokenizer_settings.items())
    picture = source.run / LOSS_PICTURE
    loss = None
    if picture.is_file():
        shows = "bits per base while it was trained, beside the table of counts"
        loss = Picture(name=LOSS_PICTURE, shows=shows, content=picture.read_bytes())
    digests = (ready.weights.digest, ready.trained_digest)
    return CardFacts(
        name=ready.name,
        licence=request.licence,
        configs=(config.model, config.masking, config.training),
        sampling=config.sampling,
        teacher=config.teacher,
        summary=ready.summary,
        weights=ready.weights.which,
        storage=request.storage,
        cost=ready.cost,
        genomes=ready.genomes,
        tokenizer=f"{manifest.tokenizer} ({settings})" if settings else manifest.tokenizer,
        evidence=read_evidence(request.evaluations, digests),
        loss=loss,
        onnx=request.onnx,
        recommended=request.layers,
        stock_class=ready.stock_class or "",
        notes=_read_notes(request.notes),
    )


def _read_notes(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise InputError(f"the notes `{path}` cannot be read: {failure}") from failure


def _write_texts(request: ReleaseRequest, ready: _PreparedModel, facts: CardFacts) -> Papers:
    """Return all texts of the bundle."""
    weights, run = ready.weights, ready.source.run
    manifest = ready.source.corpus.manifest
    results = {
        "name": facts.name,
        "corpus": manifest.name,
        "corpus_inputs_sha256": manifest.inputs_sha256,
        "vocabulary_sha256": manifest.vocabulary_sha256,
        "weights": weights.which,
        "weights_digest": weights.digest,
        "stored_as": weights.storage.name,
        "score": to_plain(facts.score),
        "storage_cost": None if facts.cost is None else to_plain(facts.cost),
        "run": to_plain(facts.summary),
        "evaluations": [report.results for report in facts.evidence],
    }
    return Papers(
        name=facts.name,
        card=write_card(facts),
        results=results,
        train_config=(run / RUN_CONFIG_FILE).read_text(encoding="utf-8"),
        genomes=[row_of(item.genome, item.records, item.descriptions) for item in facts.genomes],
        citation=write_citation(facts.name, facts.licence, request.authors),
        licence=facts.licence,
        licence_text=licence_text(request.licence, request.licence_file),
        pictures=facts.pictures,
    )
