"""Words of messages: numbers with nouns, lists of names, and proposals for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import TypeVar

from genomeformer_cli.core.errors import ConfigError, GenomeformerError

Entry = TypeVar("Entry")

_MAX_PROPOSALS = 3
_LEAST_SIMILAR = 0.6
_NEAR_BEST = 0.1


def count_noun(number: int, noun: str) -> str:
    """Return a number with its noun, as in `2 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def quoted(names: Iterable[object]) -> str:
    """Join names in backticks with commas."""
    return ", ".join(f"`{name}`" for name in names)


def look_up(
    entries: Mapping[str, Entry],
    name: str,
    what: str,
    *,
    error: type[GenomeformerError] = ConfigError,
) -> Entry:
    """Return the entry of a registry; an unknown name is an error that proposes known ones."""
    if name not in entries:
        hint = propose(name, entries, otherwise=f"known: {quoted(entries)}")
        raise error(f"unknown {what} `{name}`", hint=hint)
    return entries[name]


def closest(name: str, candidates: Iterable[str]) -> list[str]:
    """Return the known names that resemble a name, the most similar first."""
    similarities = {
        candidate: _similarity(name.lower(), candidate.lower()) for candidate in candidates
    }
    least = max(_LEAST_SIMILAR, max(similarities.values(), default=0.0) - _NEAR_BEST)
    matches = [candidate for candidate, value in similarities.items() if value >= least]
    return sorted(matches, key=lambda candidate: -similarities[candidate])[:_MAX_PROPOSALS]


def propose(name: str, candidates: Iterable[str], *, otherwise: str) -> str:
    """Return a hint: `did you mean ...?` if known names resemble a name, then the other hint."""
    matches = closest(name, candidates)
    if not matches:
        return otherwise
    question = f"did you mean {' or '.join(f'`{match}`' for match in matches)}?"
    return f"{question} {otherwise}".rstrip()


def _similarity(name: str, candidate: str) -> float:
    # Swapped letters are the commonest mistake in short names.
    if name != candidate and sorted(name) == sorted(candidate):
        return 0.95
    return SequenceMatcher(None, name, candidate).ratio()
