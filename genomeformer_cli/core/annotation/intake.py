"""Counts of what was read of an annotation, what was used, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from genomeformer_cli.core.reporting import Reporter


class Reason(StrEnum):
    """Reason for which a feature or record is left out."""

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
    """Things read, and what became of each: read = used + left out.

    Attributes:
        read: Things in the file.
        used: Things that were used.
        left_out: Things that were not, by reason.
    """

    read: int = 0
    used: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def leave_out(self, reason: Reason, number: int = 1) -> None:
        """Count things that are not used."""
        if number:
            self.left_out[reason.value] += number

    def add(self, other: Tally) -> None:
        """Add the counts of another file."""
        self.read += other.read
        self.used += other.used
        self.left_out.update(other.left_out)

    def text(self, name: str) -> str:
        """Return the counts as a line, as in `features: 9 read, 8 used, 1 left out (why)`."""
        line = f"{name}: {self.read:,} read, {self.used:,} used"
        reasons = "; ".join(f"{number:,} {reason}" for reason, number in self.left_out.items())
        return f"{line}, {self.left_out.total():,} left out ({reasons})" if reasons else line


@dataclass(slots=True)
class Intake:
    """Counts of one annotation.

    Attributes:
        records: Sequences, and annotated records that have none.
        features: Features of the annotation.
        num_pseudo: Used features of pseudogenes, which give no windows.
    """

    records: Tally = field(default_factory=Tally)
    features: Tally = field(default_factory=Tally)
    num_pseudo: int = 0

    def warn(self, shown: str, reporter: Reporter) -> None:
        """Warn of features that could not be understood."""
        left_out = self.features.left_out
        for reason, consequence in _CONSEQUENCES.items():
            if number := left_out[reason.value]:
                noun = "feature" if number == 1 else "features"
                reporter.warn(
                    f"`{shown}`: {number:,} {noun} left out ({reason.value}): {consequence}"
                )
