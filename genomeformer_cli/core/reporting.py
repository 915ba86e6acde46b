"""How the core speaks: a `Reporter` it is handed, never the terminal itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Event:
    """Something that happened; subclasses live beside what they tell of."""


class Tracker(Protocol):
    """One running piece of work."""

    def advance(self, amount: int) -> None:
        """Say that `amount` more units are done."""


class Reporter(Protocol):
    """Where workflows send what a person may want to know."""

    def note(self, message: str) -> None:
        """Say something worth a line."""

    def debug(self, message: str) -> None:
        """Report a detail, such as the device; shown with `--verbose`."""

    def warn(self, message: str) -> None:
        """Say something the user should look at, though the work goes on."""

    def track(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Tracker]:
        """Follow a piece of long work of `total` units (`None`: unknown)."""

    def record(self, event: Event) -> None:
        """Take an event of a kind the reporter may draw; unknown kinds are ignored."""


class _SilentTracker:
    def advance(self, amount: int) -> None:
        del amount


class Silent:
    """A reporter that says nothing: the default for library use and tests."""

    def note(self, message: str) -> None:
        """Drop the note."""

    def debug(self, message: str) -> None:
        """Drop the detail."""

    def warn(self, message: str) -> None:
        """Drop the warning."""

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """Follow nothing."""
        del label, total, unit
        yield _SilentTracker()

    def record(self, event: Event) -> None:
        """Drop the event."""
