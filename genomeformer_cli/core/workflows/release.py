"""Make a bundle of a finished run, prove that it gives the same vectors, and install it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.checkpoints.rotation import newest_whole_checkpoint
from genomeformer_cli.core.checkpoints.weights import read_model
from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.corpus.reader import load_manifest
from genomeformer_cli.core.errors import CheckpointError, StoreError
from genomeformer_cli.core.genomes.genome import genome_from_json
from genomeformer_cli.core.presets.pretrain import PretrainConfig
from genomeformer_cli.core.release.bundle import verify_bundle, write_bundle
from genomeformer_cli.core.release.card import write_card
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.training.summary import RunSummary, read_summary
from genomeformer_cli.core.workflows.run_folder import RUN_CONFIG_FILE, read_toml


@dataclass(frozen=True, kw_only=True)
class ReleaseRequest:
    """What to release, and where.

    Attributes:
        run: Name of a run in the cache.
        name: Of the released model; None: the run's.
        output: Folder to write the bundle to; None: only into the cache.
        replace: Put the bundle in the place of one of the same name.
    """

    run: str
    name: str | None = None
    output: Path | None = None
    replace: bool = False


@dataclass(frozen=True, kw_only=True)
class ReleaseResult:
    """A released model.

    Attributes:
        name: In the cache.
        folder: Where it lies: the output folder if one was given, else the cache.
        largest_difference: Between the vectors of the run and of the bundle read back.
        num_bytes: Size of the bundle.
        summary: The run's result.
    """

    name: str
    folder: Path
    largest_difference: float
    num_bytes: int
    summary: RunSummary


def release_run(
    request: ReleaseRequest, *, reporter: Reporter, store: Store | None = None
) -> ReleaseResult:
    """Write, verify and install a bundle.

    Raises:
        NotInCacheError: There is no such run, or its corpus is gone.
        CheckpointError: The run is not finished, or the bundle does not reproduce it.
        EntryExistsError: The name is taken and `replace` is false.
        StoreError: The output folder exists and is not empty.
    """
    store = store or Store()
    entry = store.entry(Kind.RUNS, request.run)
    name = check_name(request.name or request.run)
    summary = read_summary(entry.path)
    checkpoint = newest_whole_checkpoint(entry.path, reporter)
    if checkpoint is None:
        raise CheckpointError(f"the run `{request.run}` has no checkpoint", hint="train it first")
    original = read_model(checkpoint)
    train_config = (entry.path / RUN_CONFIG_FILE).read_text(encoding="utf-8")
    manifest = load_manifest(store.entry(Kind.CORPORA, summary.corpus).path)
    config = from_plain(
        PretrainConfig, read_toml(entry.path / RUN_CONFIG_FILE), where=RUN_CONFIG_FILE
    )
    card = write_card(
        name,
        (config.model, config.masking, config.training),
        summary=summary,
        genomes=[genome_from_json(genome) for genome in manifest.genomes],
        tokenizer=manifest.tokenizer,
    )
    results = json.dumps(to_plain(summary), indent=2) + "\n"
    output = request.output
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise StoreError(
            f"`{output}` exists and is not an empty folder",
            hint="choose another `-o`, or remove it first",
        )
    with (
        store.lock(Kind.WEIGHTS, name),
        store.create(Kind.WEIGHTS, name, replace=request.replace) as folder,
    ):
        write_bundle(
            folder, checkpoint=checkpoint, card=card, results=results, train_config=train_config
        )
        difference = verify_bundle(folder, original)
    cached = store.entry(Kind.WEIGHTS, name)
    if output is not None:
        with atomic_folder(output, replace=output.exists()) as folder:
            shutil.copytree(cached.path, folder, dirs_exist_ok=True)
    return ReleaseResult(
        name=name,
        folder=output or cached.path,
        largest_difference=difference,
        num_bytes=cached.num_bytes,
        summary=summary,
    )
