"""Counts of records and features: read, used, and left out by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from genomeformer_cli.core.reporting import Reporter


class Reason(StrEnum):
    """Reason for leaving out a feature or record."""

    DESCRIBES = "type describes the record"
    UNCLEAR = "location not understood"
    PLACELESS = "location names no base of the record"
    NO_SEQUENCE = "record without sequence"
    NO_GENES = "record without genes"
    UNANNOTATED = "no genes annotated"
    MISSING = "no sequence"


_CONSEQUENCES = {
    Reason.UNCLEAR: "no windows from their extent",
    Reason.PLACELESS: "no intergenic windows from their records",
}


@dataclass(slots=True)
class Tally:
    """Counts of items: read = used + left out."""

    read: int = 0  # Number of items in the file.
    used: int = 0  # Number of items used.
    left_out: Counter[str] = field(default_factory=Counter)  # Number of items left out, by reason.

    def leave_out(self, reason: Reason, number: int = 1) -> None:
        """Count items that are left out."""
        if number:
            self.left_out[reason.value] += number

    def add(self, other: Tally) -> None:
        """Add the counts of another file."""
        self.read += other.read
        self.used += other.used
        self.left_out.update(other.left_out)

    def text(self, name: str) -> str:
        """Return the counts as a line, as in `features: 9 read, 8 used, 1 left out (reason)`."""
        line = f"{name}: {self.read:,} read, {self.used:,} used"
        reasons = "; ".join(f"{number:,} {reason}" for reason, number in self.left_out.items())
        return f"{line}, {self.left_out.total():,} left out ({reasons})" if reasons else line


@dataclass(slots=True)
class Intake:
    """Counts of one annotation."""

    records: Tally = field(default_factory=Tally)  # Sequences, and annotated records without one.
    features: Tally = field(default_factory=Tally)  # Features of the annotation.
    num_pseudo: int = 0  # Number of used features of pseudogenes, which give no windows.

    def warn(self, display_name: str, reporter: Reporter) -> None:
        """Warn about features with an unclear location."""
        left_out = self.features.left_out
        for reason, consequence in _CONSEQUENCES.items():
            if number := left_out[reason.value]:
                noun = "feature" if number == 1 else "features"
                reporter.warn(
                    f"`{display_name}`: {number:,} {noun} left out ({reason.value}): {consequence}"
                )
