"""Proposals for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_PROPOSALS = 3


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that resemble a name, the most similar first."""
    spelled: dict[str, str] = {}
    for candidate in known:
        spelled.setdefault(candidate.lower(), candidate)
    return [spelled[match] for match in get_close_matches(name.lower(), spelled, _MAX_PROPOSALS)]


def propose(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return a hint: `did you mean ...?` if known names resemble a name, then the other hint."""
    matches = closest(name, known)
    if not matches:
        return otherwise
    question = f"did you mean {' or '.join(f'`{match}`' for match in matches)}?"
    return f"{question} {otherwise}".rstrip()
