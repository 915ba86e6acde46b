"""Proposals for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_MAX_PROPOSALS = 3
_LEAST_SIMILAR = 0.6
_NEAR_BEST = 0.1


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that resemble a name, the most similar first."""
    similarities = {candidate: _similarity(name.lower(), candidate.lower()) for candidate in known}
    least = max(_LEAST_SIMILAR, max(similarities.values(), default=0.0) - _NEAR_BEST)
    matches = [candidate for candidate, value in similarities.items() if value >= least]
    return sorted(matches, key=lambda candidate: -similarities[candidate])[:_MAX_PROPOSALS]


def propose(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return a hint: `did you mean ...?` if known names resemble a name, then the other hint."""
    matches = closest(name, known)
    if not matches:
        return otherwise
    question = f"did you mean {' or '.join(f'`{match}`' for match in matches)}?"
    return f"{question} {otherwise}".rstrip()


def _similarity(name: str, candidate: str) -> float:
    # Swapped letters are the commonest mistake in short names.
    if name != candidate and sorted(name) == sorted(candidate):
        return 0.95
    return SequenceMatcher(None, name, candidate).ratio()
