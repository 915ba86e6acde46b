"""Rules of cutting windows: classes, lengths, margins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from genomeformer_cli.core.errors import UsageError


class Label(StrEnum):
    """The classes of windows, in the order in which tables show them."""

    CODING = "coding"
    INTERGENIC = "intergenic"
    PROMOTER = "promoter"
    TERMINATOR = "terminator"
    RRNA = "rrna"
    TRNA = "trna"


class WrittenStrand(StrEnum):
    """Written strand: that of the feature, or always that of the FASTA file."""

    FEATURE = "feature"
    PLUS = "plus"


DEFAULT_LABELS = (Label.CODING, Label.INTERGENIC, Label.PROMOTER, Label.TERMINATOR)


@dataclass(frozen=True, kw_only=True)
class WindowRules:
    """Rules that windows are cut by.

    Attributes:
        labels: The classes.
        length: Bases of a window of every class but promoters and terminators.
        promoter: Bases upstream of a gene's first base, and bases from it on.
        terminator: Bases up to a gene's last base, and bases downstream of it.
        margin: Bases between an intergenic window and the nearest gene, at least.
        max_n: Largest part of a window that may be N.
        strand: Written strand.
        seed: Seed of the offset of rows, of the strand of windows that have none, and of sampling.
    """

    labels: tuple[Label, ...] = DEFAULT_LABELS
    length: int = 200
    promoter: tuple[int, int] = (150, 50)
    terminator: tuple[int, int] = (50, 150)
    margin: int = 50
    max_n: float = 0.0
    strand: WrittenStrand = WrittenStrand.FEATURE
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: A length, a margin or a fraction out of its range, or no class.
        """
        if not self.labels:
            raise UsageError("no classes of windows are asked for", hint=_KNOWN)
        if self.margin < 0:
            raise UsageError(
                "a margin below 0 reaches into genes", hint="give `--margin 0` or more"
            )
        if not 0 <= self.max_n <= 1:
            raise UsageError(
                f"`--max-n {self.max_n:g}` is not a share of a window", hint="give 0 to 1"
            )
        for label in self.labels:
            if self.length_of(label) < 1:
                raise UsageError(
                    f"a {label} window of {self.length_of(label)} bases holds nothing",
                    hint="give it at least one base",
                )

    def length_of(self, label: Label) -> int:
        """Bases of a window of a class."""
        if label is Label.PROMOTER:
            return sum(self.promoter)
        return sum(self.terminator) if label is Label.TERMINATOR else self.length


_KNOWN = "classes are " + ", ".join(f"`{label}`" for label in Label)


def labels_from_text(text: str) -> tuple[Label, ...]:
    """Classes as a user names them, comma-separated, in the order of tables.

    Raises:
        UsageError: One is unknown.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in list(Label):
            raise UsageError(f"invalid class of windows `{name}`", hint=_KNOWN)
    return tuple(label for label in Label if label in names)


def flanks_from_text(text: str, option: str) -> tuple[int, int]:
    """Two numbers of bases, as in `150,50`.

    Args:
        text: As the user wrote it.
        option: Named in the error.

    Raises:
        UsageError: It is not two numbers.
    """
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 2 or not all(part.isascii() and part.isdigit() for part in numbers):
        raise UsageError(
            f"`{option} {text}` is not two numbers of bases",
            hint=f"give bases before and after, as in `{option} 150,50`",
        )
    return int(numbers[0]), int(numbers[1])
