"""Measure a model and write its card: bits per base, probes, phage against host, each with floors.

    make card DATA=FOLDER
    python benchmarks/card.py --data FOLDER [--model FOLDER] [--only likelihood] [--seconds 300]

The folder holds `genomes/` (`genomes.tsv`, `train_*.fa.gz`, `validation_*.fa.gz`) and `tasks/`
(labelled sequences in any layout of `evaluate --suite`). Every part that was measured is saved in
the work folder, under a digest of the weights, the settings and the files that it depends on; the
same command continues. A part whose data are absent, or that has not been measured, is left out of
the card, which says so. The results are written to `eval_results.json` beside the card.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from card_likelihood import Arrays, LikelihoodConfig, measure_likelihood
from features import draw
from frozen_vectors import ROWS
from frozen_vectors import measure as measure_vectors
from int8_record import describe as describe_int8
from phage_genomes import PhageHostConfig
from phage_host import MODEL, TWIN, Cache
from phage_host import measure as measure_phages

from genomeformer_cli._version import __version__
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.tasks import read_suite
from genomeformer_cli.core.genomes.lockfile import LOCK_NAME, read_lock
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE, PICTURES, RESULTS_FILE
from genomeformer_cli.core.model_io.model_folder import (
    CONFIG_FILE,
    LoadedModel,
    read_model,
    weights_digest,
)
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.release.organisms import parse_organism
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.atomic import atomic_file, write_json, write_text
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import file_sha256, seal
from genomeformer_cli.core.templates import render_file

TEMPLATE = Path(__file__).with_name("card.md.j2")
LIKELIHOOD, PROBES, PHAGES = "likelihood", "probes", "phage_host"
SECTIONS = (LIKELIHOOD, PROBES, PHAGES)
UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Settings of the measurements."""

    windows: int = LikelihoodConfig.num_windows
    regions: int = PhageHostConfig.regions
    seed: int = 0
    saved: bool = False  # Take saved results alone.


class Workspace:
    """Results saved one by one.

    Args:
        folder: Folder of the results.
        identity: Digests that every result depends on.
        seconds: CPU seconds after which nothing new is begun; None: no limit.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], seconds: float | None) -> None:
        self.folder = folder
        self.seconds = seconds
        self._identity = dict(identity)

    def arrays(
        self, name: str, inputs: Mapping[str, object], compute: Callable[[], Arrays]
    ) -> Arrays:
        """Return saved arrays, or compute and save them.

        Raises:
            TimeoutError: The CPU seconds are spent.
        """
        text = json.dumps([name, self._identity, inputs], sort_keys=True, default=list)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
        if path.is_file():
            with np.load(path) as saved:
                return dict(saved)
        if self.seconds is not None and time.process_time() > self.seconds:
            raise TimeoutError(name)
        print(f"measuring {name}", file=sys.stderr, flush=True)
        arrays = compute()
        with atomic_file(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return arrays

    def values(self, name: str, inputs: Mapping[str, object], compute: Callable[[], Any]) -> Any:
        """Return saved plain values, or compute and save them."""
        saved = self.arrays(
            name, inputs, lambda: {"json": np.array(json.dumps(compute(), sort_keys=True))}
        )
        return json.loads(str(saved["json"]))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Model, data and settings of the measurements."""

    models: Mapping[str, LoadedModel]  # The model and its random twin.
    data: Path
    config: CardConfig
    workspace: Workspace


def likelihood(measured: Measured) -> list[dict[str, Any]]:
    """Return bits per base of every held-out genome."""
    genomes, loaded = measured.data / "genomes", measured.models[MODEL]
    lock = loaded.folder / LOCK_NAME
    names = [row.accession for row in read_lock(lock)] if lock.is_file() else []
    config = LikelihoodConfig(
        num_windows=measured.config.windows,
        corpus=tuple(sorted(name for name in names if name.startswith("train_"))),
        identity=checksums(genomes),
    )
    models = {source: loaded.model for source, loaded in measured.models.items()}
    return measure_likelihood(models, genomes, config, measured.workspace.arrays)


def probes(measured: Measured) -> list[dict[str, Any]]:
    """Return the probes of every labelled task with an official split, in int8 for either model."""
    models = {
        source: replace(loaded, model=copy.deepcopy(loaded.model))
        for source, loaded in measured.models.items()
    }
    for loaded in models.values():
        convert_linear_layers(loaded.model, "int8")
    seed, rows = measured.config.seed, []
    for task in read_suite(measured.data / "tasks"):
        if {example.split for example in task.examples} != {"train", "val", "test"}:
            print(f"{task.name} has no official split and is left out", file=sys.stderr)
            continue
        digest = hashlib.sha256(repr(task.examples).encode()).hexdigest()
        inputs = {"rows": digest, "limits": ROWS, "embedding": embedding_of(measured)}
        compute = partial(measure_vectors, draw(task, seed, ROWS), models, seed)
        try:
            rows.append(measured.workspace.values(f"probe {task.name}", inputs, compute))
        except TimeoutError:
            if not measured.config.saved:
                raise
            rows.append({"task": task.name})
    return rows


def embedding_of(measured: Measured) -> object:
    """Return the vectors that the bundle recommends."""
    return read_json(measured.models[MODEL].folder / CONFIG_FILE).get("embedding", {})


def phages(measured: Measured) -> dict[str, Any]:
    """Return the results of phage against host."""
    genomes = measured.data / "genomes"
    config = PhageHostConfig(regions=measured.config.regions, seed=measured.config.seed)
    compute = partial(
        measure_phages,
        measured.models[MODEL],
        genomes,
        config,
        Cache(folder=measured.workspace.folder, seconds=measured.workspace.seconds),
    )
    layers = measured.models[MODEL].layers
    inputs = {**asdict(config), **checksums(genomes), "layers": layers}
    result: dict[str, Any] = measured.workspace.values("phage against host", inputs, compute)
    return result


MEASURES: dict[str, Callable[[Measured], Any]] = {
    LIKELIHOOD: likelihood,
    PROBES: probes,
    PHAGES: phages,
}
FOLDERS = {LIKELIHOOD: "genomes", PROBES: "tasks", PHAGES: "genomes"}


def checksums(folder: Path) -> dict[str, str]:
    """Return the checksums of the files of a folder by name."""
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def measure_sections(measured: Measured, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Return the results of each section, and the reason of those that are left out."""
    results: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for section in SECTIONS:
        if not (measured.data / FOLDERS[section]).is_dir():
            missing[section] = f"the data have no folder `{FOLDERS[section]}`"
        elif section not in wanted:
            missing[section] = "it was not asked for"
        else:
            try:
                results[section] = MEASURES[section](measured)
            except InputError as failure:
                missing[section] = str(failure)
            except TimeoutError as unmeasured:
                if not measured.config.saved:
                    raise
                missing[section] = f"{unmeasured} is not measured yet"
    return {**results, "missing": missing}


def write_results(folder: Path, card: Mapping[str, Any], loaded: LoadedModel) -> None:
    """Write the card and its results into a bundle, and seal it."""
    results = read_json(folder / RESULTS_FILE)
    kept = {key: value for key, value in results.items() if key not in ("evaluations", "card")}
    write_json(folder / RESULTS_FILE, {**kept, "card": card})
    # Pictures of `evaluate` show other rows than the card.
    for picture in (folder / PICTURES).glob("evaluation-*.png"):
        picture.unlink()
    write_text(folder / CARD_FILE, render(folder, kept, card, loaded))
    seal(folder)


def render(
    folder: Path, results: Mapping[str, Any], card: Mapping[str, Any], loaded: LoadedModel
) -> str:
    """Return the text of the card."""
    lock = folder / LOCK_NAME
    organisms: dict[str, dict[str, int]] = {}
    for row in read_lock(lock) if lock.is_file() else ():
        of_file = organisms.setdefault(row.accession, {})
        for description in row.descriptions or [row.organism] * len(row.records):
            name = parse_organism(description)
            of_file[name] = of_file.get(name, 0) + 1
    probed = [row for row in card.get(PROBES, []) if "mcc" in row]
    return render_file(
        TEMPLATE,
        card=card,
        probed=probed,
        unprobed=[row["task"] for row in card.get(PROBES, []) if "mcc" not in row],
        beyond=partial(tasks_beyond, probed),
        model=loaded.model.config,
        num_parameters=loaded.model.num_parameters,
        layers=loaded.layers,
        int8="" if loaded.int8 is None else describe_int8(loaded.int8),
        name=results.get("name", folder.name),
        results=results,
        organisms=organisms,
        picture=f"{PICTURES}/loss.png" if (folder / PICTURES / "loss.png").is_file() else "",
        version=__version__,
    )


def tasks_beyond(probed: Sequence[Mapping[str, Any]], pair: str, *, is_ahead: bool) -> list[str]:
    """Return the tasks whose difference of two kinds of vectors is beyond the interval."""
    gains = {row["task"]: row["gain"][pair] for row in probed}
    return [task for task, (_, low, high) in gains.items() if (low > 0 if is_ahead else high < 0)]


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the card, or stop in between; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="folder of a bundle; default: the model of the package")
    parser.add_argument("--work", type=Path, default=Path("build/card"))
    parser.add_argument("--only", choices=SECTIONS, action="append", default=[])
    parser.add_argument("--seconds", type=float, help="CPU seconds, after which nothing is begun")
    parser.add_argument("--no-write", action="store_true", help="measure, leave the card as it is")
    parser.add_argument("--saved", action="store_true", help="write the card from saved results")
    for field, default in asdict(CardConfig(saved=False)).items():
        if field == "saved":
            continue
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, default=default)
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"`{options.data}` is not a folder")
    torch.set_num_threads(1)
    folder = model_folder(options.model, store=Store(), reporter=SilentReporter())
    loaded = read_model(folder)
    (random,) = random_twins(loaded, options.seed, 1).values()
    twin = replace(loaded, model=random)
    config = CardConfig(**{field: getattr(options, field) for field in asdict(CardConfig())})
    digest = weights_digest(loaded.model)
    identity = {"weights": digest, "seed": str(options.seed), "version": __version__}
    measured = Measured(
        models={MODEL: loaded, TWIN: twin},
        data=options.data,
        config=config,
        workspace=Workspace(options.work, identity, 0 if options.saved else options.seconds),
    )
    try:
        sections = measure_sections(measured, tuple(options.only) or SECTIONS)
    except TimeoutError as stopped:
        print(f"stopped before {stopped}; the same command continues", file=sys.stderr)
        return UNFINISHED
    card = {
        **sections,
        "settings": asdict(config),
        "weights_digest": digest,
        "width": int(Embedder(loaded, EmbedOptions()).embed([np.arange(4, dtype=np.uint8)]).size),
        "num_bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    }
    if not options.no_write:
        write_results(folder, card, loaded)
        print(f"wrote `{folder / CARD_FILE}`", file=sys.stderr)
    for section, reason in card["missing"].items():
        print(f"{section} is left out: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
