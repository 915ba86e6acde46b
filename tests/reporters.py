"""A reporter that remembers."""

from __future__ import annotations

from genomeformer_cli.core.reporting import Event, SilentReporter


class Listening(SilentReporter):
    """Keeps what it is told, for a test to look at."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.details: list[str] = []
        self.warnings: list[str] = []
        self.events: list[Event] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def debug(self, message: str) -> None:
        self.details.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def record(self, event: Event) -> None:
        self.events.append(event)
