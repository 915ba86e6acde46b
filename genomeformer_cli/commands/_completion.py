"""Names that the shell completes, from the cache folder and without torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from genomeformer_cli.core.store.kinds import Kind

if TYPE_CHECKING:
    from genomeformer_cli.core.store.layout import Entry

# Names of registries that import torch; a test compares both.
PRESET_NAMES = (
    *("tiny", "small", "default", "default-large", "medium", "base", "large", "xl"),
    *("stock-causal", "stock-masked"),
)
ATTENTION_NAMES = (
    "softmax",
    "local",
    "longformer",
    "reformer",
    "linformer",
    "nystromformer",
    "performer",
    "linear",
    "gated-linear",
    "gated-delta",
)
TOKENIZER_NAMES = ("char", "kmer", "bpe")
OBJECTIVE_NAMES = ("masked", "causal", "surrounding")
_VARIANT_SETTINGS = (
    *(f"attention={name}" for name in ATTENTION_NAMES),
    *(f"objective={name}" for name in OBJECTIVE_NAMES),
    *("batch_size=", "context=", "learning_rate="),
)
_DEFAULT_MODEL = "default"


def complete_presets(incomplete: str) -> list[str]:
    """Return the presets that begin with a text."""
    return _matching(PRESET_NAMES, incomplete)


def complete_attentions(incomplete: str) -> list[str]:
    """Return the mechanisms that begin with a text, after the last `,` or `+` of a list."""
    from genomeformer_cli.core.plugins import ATTENTION, installed_plugins

    start = max(incomplete.rfind(","), incomplete.rfind("+")) + 1
    plugins = (plugin.point.name for plugin in installed_plugins(ATTENTION))
    names = _matching((*ATTENTION_NAMES, *plugins), incomplete[start:])
    return [incomplete[:start] + name for name in names]


def complete_tokenizers(incomplete: str) -> list[str]:
    """Return the kinds of tokenizers that begin with a text."""
    return _matching(TOKENIZER_NAMES, incomplete)


def complete_genomes(incomplete: str) -> list[str]:
    """Return the genomes of the cache that begin with a text."""
    return _names(incomplete, Kind.GENOMES)


def complete_sources(incomplete: str) -> list[str]:
    """Return the genomes of the cache and the files that begin with a text.

    Without such a genome nothing is returned, and the shell completes files by itself.
    """
    genomes = complete_genomes(incomplete)
    return [*genomes, *_files(incomplete)] if genomes else []


def complete_variants(incomplete: str) -> list[str]:
    """Return the settings `KEY=VALUE` or `KEY=` that begin with a text, after a name or comma."""
    start = max(incomplete.rfind(sign) for sign in ",:") + 1
    start += len(incomplete[start:]) - len(incomplete[start:].lstrip())
    matches = _matching(_VARIANT_SETTINGS, incomplete[start:])
    return [incomplete[:start] + match for match in matches]


def complete_corpora(incomplete: str) -> list[str]:
    """Return the corpora of the cache that begin with a text."""
    return _names(incomplete, Kind.CORPORA)


def complete_vocabularies(incomplete: str) -> list[str]:
    """Return the vocabularies of the cache that begin with a text."""
    return _names(incomplete, Kind.VOCABULARIES)


def complete_runs(incomplete: str) -> list[str]:
    """Return the runs of the cache that begin with a text."""
    return _names(incomplete, Kind.RUNS)


def complete_comparisons(incomplete: str) -> list[str]:
    """Return the comparisons of the cache that begin with a text."""
    return _names(incomplete, Kind.COMPARISONS)


def complete_released(incomplete: str) -> list[str]:
    """Return the released models of the cache that begin with a text."""
    return _names(incomplete, Kind.WEIGHTS)


def complete_models(incomplete: str) -> list[str]:
    """Return `default`, the released models and the runs that begin with a text.

    The known models of other authors follow once the text has a letter of their addresses.
    """
    from genomeformer_cli.core.known_models import known_addresses

    cached = [entry.name for kind in (Kind.WEIGHTS, Kind.RUNS) for entry in _entries(kind)]
    addresses = known_addresses() if incomplete else ()
    return _matching((_DEFAULT_MODEL, *cached, *addresses), incomplete)


def complete_known_models(incomplete: str) -> list[str]:
    """Return the known models of other authors, and their families, that begin with a text."""
    from genomeformer_cli.core.known_models import known_families, known_models

    names = (*known_families(), *(model.name for model in known_models()))
    return _matching(names, incomplete)


def complete_release_sources(incomplete: str) -> list[str]:
    """Return the runs, `default` and the bundles as `weights/NAME` that begin with a text."""
    runs = [entry.name for entry in _entries(Kind.RUNS)]
    bundles = [f"{entry.kind}/{entry.name}" for entry in _entries(Kind.WEIGHTS)]
    return _matching((*runs, _DEFAULT_MODEL, *bundles), incomplete)


def complete_entries(incomplete: str) -> list[str]:
    """Return the entries of the cache that begin with a text, as `KIND/NAME` where needed."""
    entries = _entries(None)
    counts = Counter(entry.name for entry in entries)
    qualified = "/" in incomplete
    return _matching(
        (
            f"{entry.kind}/{entry.name}" if qualified or counts[entry.name] > 1 else entry.name
            for entry in entries
        ),
        incomplete,
    )


def _files(incomplete: str) -> list[str]:
    folder, slash, name = incomplete.rpartition("/")
    with suppress(OSError):
        entries = sorted(os.scandir((folder or "/") if slash else "."), key=lambda e: e.name)
        return [
            f"{folder}{slash}{entry.name}" + ("/" if entry.is_dir() else "")
            for entry in entries
            if entry.name.startswith(name) and (name or not entry.name.startswith("."))
        ]
    return []


def _names(incomplete: str, kind: Kind) -> list[str]:
    return _matching((entry.name for entry in _entries(kind)), incomplete)


def _entries(kind: Kind | None) -> list[Entry]:
    from genomeformer_cli.core.store.layout import Store

    with suppress(OSError):  # an unreadable cache must not print into the line that is typed
        return Store().entries(kind)
    return []


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
