"""Reporting: the core writes to a `Reporter` that it receives, never to the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Event:
    """Event of a workflow; subclasses are defined beside the code that emits them."""


class Tracker(Protocol):
    """Progress of one task."""

    def advance(self, amount: int) -> None:
        """Add `amount` completed units."""


class Reporter(Protocol):
    """Receiver of messages, progress and events."""

    def note(self, message: str) -> None:
        """Log an informative message."""

    def debug(self, message: str) -> None:
        """Report a detail, such as the device; shown with `--verbose`."""

    def warn(self, message: str) -> None:
        """Log a warning."""

    def track(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Tracker]:
        """Track a task of `total` units (None if unknown)."""

    def record(self, event: Event) -> None:
        """Receive an event; events of unknown types are ignored."""


class _SilentTracker:
    def advance(self, amount: int) -> None:
        del amount


class SilentReporter:
    """Reporter without output: the default for library use and tests."""

    def note(self, message: str) -> None:
        """Ignore the message."""

    def debug(self, message: str) -> None:
        """Drop the detail."""

    def warn(self, message: str) -> None:
        """Ignore the warning."""

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """Yield a tracker that ignores progress."""
        del label, total, unit
        yield _SilentTracker()

    def record(self, event: Event) -> None:
        """Ignore the event."""
