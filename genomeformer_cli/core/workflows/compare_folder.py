"""What a comparison is: its settings, the trainings they call for, and where each of them lies.

ROOT/comparisons/NAME/
    settings.json             what all trainings share and in what they differ
    plans/RUN.json            how many steps the budget buys
    runs/CORPUS-VARIANT-SEED/ each an ordinary run folder
    results.json              what came of it, rewritten after every training
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genomeformer_cli._version import __version__
from genomeformer_cli.core.configuration import differences
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import ConfigError, CorruptError
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store, check_name

SETTINGS_FILE = "settings.json"
RESULTS_FILE = "results.json"
_VERSION = "genomeformer"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of those that are compared.

    Attributes:
        name: What it is called.
        overrides: Values of a configuration in which it differs, nested as in a TOML.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a comparison.

    Attributes:
        corpus: What it is trained on.
        variant: Which one.
        seed: Of weights, data order, masks and strands.
    """

    corpus: str
    variant: Variant
    seed: int

    @property
    def run(self) -> str:
        """The name of its run."""
        return check_name(f"{self.subject}-{self.seed}")

    @property
    def subject(self) -> str:
        """What it is a training of, whatever the seed."""
        return f"{self.corpus}-{self.variant.name.replace('+', '_')}"


def trainings(
    corpora: tuple[str, ...], variants: tuple[Variant, ...], seeds: range
) -> list[Training]:
    """Every variant on every corpus with every seed; all of the first seed come first.

    Raises:
        ConfigError: Two would lie in one folder.
        UsageError: A name cannot be one.
    """
    found = [
        Training(corpus=corpus, variant=variant, seed=seed)
        for seed in seeds
        for corpus in corpora
        for variant in variants
    ]
    runs = [one.run for one in found]
    twice = sorted({run for run in runs if runs.count(run) > 1})
    if twice:
        raise ConfigError(
            f"two of a comparison have one name: `{twice[0]}`",
            hint="give each mechanism once, and variants and corpora names of their own",
        )
    return found


def comparison_folder(store: Store, name: str) -> Path:
    """Where a comparison lies."""
    return store.path(Kind.COMPARISONS, name)


def plan_path(folder: Path, training: Training) -> Path:
    """Where the plan of a training lies: one for all its seeds."""
    return folder / "plans" / f"{training.subject}.json"


def open_comparison(folder: Path, settings: Mapping[str, Any]) -> None:
    """Begin a comparison, or make sure that one was begun with the same settings.

    Raises:
        ConfigError: It was begun with others; they are named.
        CorruptError: Its records are damaged.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        write_json(path, {**settings, _VERSION: __version__})
        return
    try:
        before: dict[str, Any] = read_json(path)
    except DocumentError as failure:
        raise CorruptError(
            f"`{path}` is damaged", hint=f"`genomeformer cache rm comparisons/{folder.name}`"
        ) from failure
    changed = differences(before, {**settings, _VERSION: before.get(_VERSION)})
    if changed:
        raise ConfigError(
            f"the comparison `{folder.name}` was started with other settings: "
            + "; ".join(changed),
            hint="give the same settings to go on with it, or another `--name` to start a new one",
        )
