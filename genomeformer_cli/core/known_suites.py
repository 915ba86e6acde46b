"""Suites of other authors that are known: facts from `assets/known_suites.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from genomeformer_cli.core.documents import convert, read_toml

_FILE = Path(__file__).parents[1] / "assets" / "known_suites.toml"


@dataclass(frozen=True, kw_only=True)
class SuiteRule:
    """Rule of a suite."""

    subject: str  # Subject: splits, metric, pooling, window, task.
    theirs: str  # Rule of the authors.
    ours: str  # Rule of `evaluate --suite`.
    followed: bool  # True if the numbers are comparable in this respect.


@dataclass(frozen=True, kw_only=True)
class KnownSuite:
    """Facts about a suite."""

    name: str  # Name of its layout.
    title: str  # Name in its authors' words.
    about: str  # Contents.
    tasks: str  # Tasks, and those that are not read.
    get: str  # Command or address of the data.
    layout: str  # Files that are read.
    metrics: tuple[str, ...]  # Metrics of the suite, reported beside ours.
    sources: tuple[str, ...]  # Documents that state the facts.
    rules: tuple[SuiteRule, ...]
    licence: str | None = None  # Licence; None: unknown.


@dataclass(frozen=True, kw_only=True)
class _File:
    suites: tuple[KnownSuite, ...]


@cache
def known_suites() -> tuple[KnownSuite, ...]:
    """Return all known suites."""
    file: _File = convert(read_toml(_FILE), _File, source=str(_FILE))
    return file.suites


def suite_metrics(name: str) -> tuple[str, ...]:
    """Return the metrics of a suite; none for another name."""
    return next((suite.metrics for suite in known_suites() if suite.name == name), ())
