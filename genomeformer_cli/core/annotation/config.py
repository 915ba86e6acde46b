"""Settings for cutting windows: classes, lengths, margins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from genomeformer_cli.core.errors import UsageError


class Label(StrEnum):
    """Class of a window, in the order of tables."""

    CODING = "coding"
    INTERGENIC = "intergenic"
    PROMOTER = "promoter"
    TERMINATOR = "terminator"
    RRNA = "rrna"
    TRNA = "trna"


class WrittenStrand(StrEnum):
    """Strand of the written sequence: that of the feature, or always that of the FASTA file."""

    FEATURE = "feature"
    PLUS = "plus"


DEFAULT_LABELS = (Label.CODING, Label.INTERGENIC, Label.PROMOTER, Label.TERMINATOR)


@dataclass(frozen=True, kw_only=True)
class WindowRules:
    """Rules for cutting windows."""

    labels: tuple[Label, ...] = DEFAULT_LABELS  # Classes of windows.
    length: int = 200  # Length in bases of windows other than promoters and terminators.
    promoter: tuple[int, int] = (150, 50)  # Bases before a gene's first base, and bases from it on.
    terminator: tuple[int, int] = (50, 150)  # Bases up to a gene's last base, and bases after it.
    margin: int = 50  # Minimum distance in bases between an intergenic window and a gene.
    max_n: float = 0.0  # Maximum fraction of N in a window.
    strand: WrittenStrand = WrittenStrand.FEATURE  # Strand of the written sequence.
    seed: int = 0  # Seed of window offsets, of the strand of windows without one, and of sampling.

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UsageError: A length, margin or fraction is out of range, or there is no class.
        """
        if not self.labels:
            raise UsageError("no classes of windows are given", hint=_KNOWN)
        if self.margin < 0:
            raise UsageError("invalid margin: below 0", hint="give `--margin 0` or more")
        if not 0 <= self.max_n <= 1:
            raise UsageError(
                f"`--max-n {self.max_n:g}` is not a share of a window", hint="give 0 to 1"
            )
        for label in self.labels:
            if self.length_of(label) < 1:
                raise UsageError(
                    f"invalid length of a {label} window: {self.length_of(label)} bases",
                    hint="give it at least one base",
                )

    def length_of(self, label: Label) -> int:
        """Return the length in bases of a class's windows."""
        if label is Label.PROMOTER:
            return sum(self.promoter)
        return sum(self.terminator) if label is Label.TERMINATOR else self.length


_KNOWN = "classes are " + ", ".join(f"`{label}`" for label in Label)


def labels_from_text(text: str) -> tuple[Label, ...]:
    """Parse comma-separated classes; return them in the order of tables.

    Raises:
        UsageError: A class is unknown.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in list(Label):
            raise UsageError(f"invalid class of windows `{name}`", hint=_KNOWN)
    return tuple(label for label in Label if label in names)


def flanks_from_text(text: str, option: str) -> tuple[int, int]:
    """Parse two numbers of bases, as in `150,50`.

    Args:
        text: Value of the option.
        option: Name of the option in the error.

    Raises:
        UsageError: The value is not two numbers.
    """
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 2 or not all(part.isascii() and part.isdigit() for part in numbers):
        raise UsageError(
            f"`{option} {text}` is not two numbers of bases",
            hint=f"give bases before and after, as in `{option} 150,50`",
        )
    return int(numbers[0]), int(numbers[1])
