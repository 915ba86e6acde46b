"""Folder of a comparison: settings, trainings and paths.

ROOT/comparisons/NAME/
    settings.json             shared settings and variants
    plans/RUN.json            number of steps that the budget allows
    runs/CORPUS-VARIANT-SEED/ ordinary run folders
    results.json              results, rewritten after every training
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genomeformer_cli._version import __version__
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import ConfigError, CorruptError
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.workflows.records import VERSION, changed_settings, refuse_changes

SETTINGS_FILE = "settings.json"
RESULTS_FILE = "results.json"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Compared configuration."""

    name: str  # Name of the variant.
    # Settings of the variant, nested as in a TOML file.
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training of a comparison."""

    corpus: str  # Name of the corpus.
    variant: Variant  # Compared configuration.
    seed: int  # Seed of weights, data order, masks and strands.

    @property
    def run(self) -> str:
        """Name of the run."""
        return check_name(f"{self.subject}-{self.seed}")

    @property
    def subject(self) -> str:
        """Name of corpus and variant, without the seed."""
        return f"{self.corpus}-{self.variant.name.replace('+', '_')}"


def trainings(
    corpora: tuple[str, ...], variants: tuple[Variant, ...], seeds: range
) -> list[Training]:
    """Return every variant on every corpus with every seed, by seed.

    Raises:
        ConfigError: Two trainings have equal names.
        UsageError: A name is invalid.
    """
    planned = [
        Training(corpus=corpus, variant=variant, seed=seed)
        for seed in seeds
        for corpus in corpora
        for variant in variants
    ]
    runs = [training.run for training in planned]
    twice = sorted({run for run in runs if runs.count(run) > 1})
    if twice:
        raise ConfigError(
            f"two of a comparison have one name: `{twice[0]}`",
            hint="give each mechanism once, and variants and corpora names of their own",
        )
    return planned


def comparison_folder(store: Store, name: str) -> Path:
    """Return the folder of a comparison."""
    return store.path(Kind.COMPARISONS, name)


def plan_path(folder: Path, training: Training) -> Path:
    """Return the path of the plan of a training, which all seeds share."""
    return folder / "plans" / f"{training.subject}.json"


def open_comparison(folder: Path, settings: Mapping[str, Any]) -> None:
    """Create the folder of a comparison, or check that the settings are those it was started with.

    Raises:
        ConfigError: The settings differ; the message lists them.
        CorruptError: The records are damaged.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        write_json(path, {**settings, VERSION: __version__})
        return
    try:
        before: dict[str, Any] = read_json(path)
    except DocumentError as failure:
        raise CorruptError(
            f"`{path}` is damaged", hint=f"`genomeformer cache rm comparisons/{folder.name}`"
        ) from failure
    changes = changed_settings(before, settings)
    refuse_changes(f"comparison `{folder.name}`", changes, "a new one")
