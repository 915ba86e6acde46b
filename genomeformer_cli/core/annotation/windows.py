"""Windows of a record with an unambiguous label.

| class | window |
|---|---|
| coding | inside one unbroken part of a CDS; all CDS there agree on strand and codon position |
| intergenic | at least `margin` bases from every feature of both strands, introns included |
| promoter | from `promoter[0]` bases before a gene's first base to `promoter[1]` from it on |
| terminator | from `terminator[0]` bases up to a gene's last base to `terminator[1]` past it |
| rrna | inside an rRNA |
| trna | centred on a tRNA |

In a record that has only CDS and RNA features, these are used as genes. Pseudogenes and features
with an unclear location give no windows and are not intergenic. Windows of coding, intergenic and
rrna do not overlap within their class; intergenic windows do not overlap the requested promoters
and terminators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.annotation.base_labels import (
    circular_slice,
    feature_intervals,
    mark_intervals,
    single_frame,
    true_runs,
)
from genomeformer_cli.core.annotation.config import Label, WindowRules
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.formats.feature import MINUS, PLUS, UNSTRANDED, Feature, Kind, Part
from genomeformer_cli.core.sequence import Flags

GENE_SUBSTITUTES = (Kind.CDS, Kind.RRNA, Kind.TRNA)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Window without its sequence."""

    label: Label  # Class.
    start: int  # First base, 0-based, below the record's length.
    end: int  # End (exclusive); past the record's length across the origin of a circle.
    strand: int  # Strand of the feature; `UNSTRANDED` for intergenic windows.
    feature: Feature | None = None  # Feature of the window, if any.
    # Number of bases before the first whole codon of a coding window, from the 5' end on the
    # feature's strand.
    phase: int | None = None

    def __post_init__(self) -> None:
        """Check the interval.

        Raises:
            ValueError: The interval is empty or runs backwards.
        """
        if self.start >= self.end:
            raise ValueError(f"a window from {self.start} to {self.end}")


def candidates(record: AnnotatedRecord, rules: WindowRules, genome: str) -> list[Candidate]:
    """Return all windows of a record, by class.

    Args:
        record: Sequence and features.
        rules: Rules for cutting windows.
        genome: Name of the genome. The window offsets depend on it, on the record and on the seed
            only, so that no genome's windows depend on other genomes.
    """
    return _Cutter(record, rules, genome).cut()


class _Cutter:
    def __init__(self, record: AnnotatedRecord, rules: WindowRules, genome: str) -> None:
        self._record = record
        self._rules = rules
        self._genome = genome
        self._length = record.codes.size

    def cut(self) -> list[Candidate]:
        labels = self._rules.labels
        windows: list[Candidate] = []
        if Label.PROMOTER in labels:
            windows += self._promoters()
        if Label.TERMINATOR in labels:
            windows += self._terminators()
        if Label.INTERGENIC in labels:
            windows += self._intergenic([(window.start, window.end) for window in windows])
        if Label.CODING in labels:
            windows += self._coding()
        if Label.RRNA in labels:
            windows += self._within(Kind.RRNA, Label.RRNA)
        if Label.TRNA in labels:
            windows += self._trna()
        order = {label: rank for rank, label in enumerate(Label)}
        windows = [window for window in windows if window.end - window.start <= self._length]
        return sorted(
            windows, key=lambda window: (order[window.label], window.start, window.strand)
        )

    def _genes(self) -> list[Feature]:
        features = self._record.features
        genes = [feature for feature in features if feature.kind is Kind.GENE]
        genes = genes or [feature for feature in features if feature.kind in GENE_SUBSTITUTES]
        return [feature for feature in genes if feature.strand and feature.is_certain]

    def _promoters(self) -> Iterator[Candidate]:
        before, after = self._rules.promoter
        for gene in self._genes():
            if not gene.open_5:
                position = gene.start if gene.strand == PLUS else gene.end
                yield from self._around(Label.PROMOTER, gene, position, (before, after))

    def _terminators(self) -> Iterator[Candidate]:
        before, after = self._rules.terminator
        for gene in self._genes():
            if not gene.open_3:
                position = gene.end if gene.strand == PLUS else gene.start
                yield from self._around(Label.TERMINATOR, gene, position, (before, after))

    def _around(
        self, label: Label, feature: Feature, position: int, flanks: tuple[int, int]
    ) -> Iterator[Candidate]:
        """Yield the window around a boundary, with `flanks` on the feature's strand."""
        before, after = flanks if feature.strand == PLUS else flanks[::-1]
        yield from self._place_window(label, position - before, position + after, feature)

    def _place_window(
        self, label: Label, start: int, end: int, feature: Feature
    ) -> Iterator[Candidate]:
        """Yield the window, wrapped around a circle; nothing if it leaves a linear record."""
        if self._record.circular:
            start, end = start % self._length, start % self._length + end - start
        elif start < 0 or end > self._length:
            return
        yield Candidate(label, start, end, feature.strand, feature)

    def _intergenic(self, positives: Iterable[tuple[int, int]]) -> Iterator[Candidate]:
        margin = self._rules.margin
        excluded = (
            (low - margin, high + margin) for low, high in feature_intervals(self._record.features)
        )
        free = ~self._mark([*excluded, *positives])
        runs = true_runs(free, circular=self._record.circular)
        for start, end in self._rows(runs, self._generator(Label.INTERGENIC)):
            start, end = self._on_record(start, end)
            yield Candidate(Label.INTERGENIC, start, end, UNSTRANDED)

    def _coding(self) -> Iterator[Candidate]:
        generator = self._generator(Label.CODING)
        clear = single_frame(self._record.features, self._length)
        for feature in self._record.features:
            if feature.kind is not Kind.CDS or not feature.is_certain:
                continue
            for part in feature.parts:
                if part.phase is not None and part.strand:
                    for start, end in self._cut_from(part, clear, generator):
                        skipped = start - part.start if part.strand == PLUS else part.end - end
                        phase = (part.phase - skipped) % 3
                        start, end = self._on_record(start, end)
                        yield Candidate(Label.CODING, start, end, part.strand, feature, phase)

    def _within(self, kind: Kind, label: Label) -> Iterator[Candidate]:
        generator = self._generator(label)
        clear = np.ones(self._length, dtype=np.bool_)
        for feature in self._record.features:
            if feature.kind is kind and feature.is_certain:
                for part in feature.parts:
                    for start, end in self._cut_from(part, clear, generator):
                        start, end = self._on_record(start, end)
                        yield Candidate(label, start, end, part.strand, feature)

    def _cut_from(
        self, part: Part, clear: Flags, generator: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Return rows of windows in the unused runs of a part, and mark these runs as used."""
        part_clear = circular_slice(clear, part.start, part.end)
        runs = [
            (part.start + low, part.start + high)
            for low, high in true_runs(part_clear, circular=False)
        ]
        for start, end in runs:
            clear[np.arange(start, end) % self._length] = False
        return list(self._rows(runs, generator))

    def _trna(self) -> Iterator[Candidate]:
        for feature in self._record.features:
            if feature.kind is Kind.TRNA and feature.strand and feature.is_certain:
                start = (feature.start + feature.end - self._rules.length) // 2
                end = start + self._rules.length
                yield from self._place_window(Label.TRNA, start, end, feature)

    def _rows(
        self, runs: Iterable[tuple[int, int]], generator: np.random.Generator
    ) -> Iterator[tuple[int, int]]:
        """Yield adjacent windows in each run, with a random offset."""
        length = self._rules.length
        for start, end in runs:
            number, remainder = divmod(end - start, length)
            if number:
                first = start + int(generator.integers(0, remainder + 1))
                yield from ((first + n * length, first + (n + 1) * length) for n in range(number))

    def _generator(self, label: Label) -> np.random.Generator:
        key = f"{self._rules.seed}|{self._genome}|{self._record.id}|{label}"
        return np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))

    def _on_record(self, start: int, end: int) -> tuple[int, int]:
        return start % self._length, start % self._length + end - start

    def _mark(self, intervals: Iterable[tuple[int, int]]) -> Flags:
        return mark_intervals(intervals, self._length, circular=self._record.circular)


def strand_sign(strand: int) -> str:
    """Return the sign of a strand in tables."""
    return {PLUS: "+", MINUS: "-"}.get(strand, ".")
