"""Every window of a record whose label is beyond doubt.

| class | a window |
|---|---|
| coding | lies in one unbroken part of a CDS; all CDS there agree on strand and codon position |
| intergenic | keeps `margin` bases from every feature of both strands, introns included |
| promoter | runs from `promoter[0]` bases before a gene's first base to `promoter[1]` from it on |
| terminator | runs from `terminator[0]` bases up to a gene's last base to `terminator[1]` past it |
| rrna | lies in an rRNA |
| trna | has a tRNA in its middle |

Where a record has no genes but CDS and RNA, these stand for genes. Pseudogenes and features that
are not understood give no windows and are not intergenic. Windows of coding, intergenic and rrna do
not overlap within their class; those of intergenic do not overlap the promoters and terminators
asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.annotation.base_labels import (
    marked,
    single_frame,
    spans,
    stretches,
    taken,
)
from genomeformer_cli.core.annotation.config import Label, WindowRules
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.formats.feature import MINUS, PLUS, UNSTRANDED, Feature, Kind, Part
from genomeformer_cli.core.sequence import Flags

_STANDS_FOR_GENES = (Kind.CDS, Kind.RRNA, Kind.TRNA)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A window before it is read.

    Attributes:
        label: Class.
        start: First base, 0-based, below the record's length.
        end: One past its last base; on a circle it may be past the record's length.
        strand: Strand of the feature; `UNSTRANDED` for intergenic windows.
        feature: Feature that it was cut for, if any.
        phase: In coding windows, bases to skip, from the 5' end on the feature's strand, to the
            first whole codon.
    """

    label: Label
    start: int
    end: int
    strand: int
    feature: Feature | None = None
    phase: int | None = None

    def __post_init__(self) -> None:
        """Check the interval.

        Raises:
            ValueError: The interval is empty or runs backwards.
        """
        if self.start >= self.end:
            raise ValueError(f"a window from {self.start} to {self.end}")


def candidates(record: AnnotatedRecord, rules: WindowRules, genome: str) -> list[Candidate]:
    """All windows of a record, class by class.

    Args:
        record: Sequence and features.
        rules: Rules of cutting.
        genome: Name of the genome; with the record's and the seed it decides where a row begins,
            so that no genome's windows depend on what other genomes there are.
    """
    return _Cutter(record, rules, genome).cut()


class _Cutter:
    def __init__(self, record: AnnotatedRecord, rules: WindowRules, genome: str) -> None:
        self._record = record
        self._rules = rules
        self._genome = genome
        self._length = record.codes.size

    def cut(self) -> list[Candidate]:
        wanted = self._rules.labels
        found: list[Candidate] = []
        if Label.PROMOTER in wanted:
            found += self._promoters()
        if Label.TERMINATOR in wanted:
            found += self._terminators()
        if Label.INTERGENIC in wanted:
            found += self._intergenic([(one.start, one.end) for one in found])
        if Label.CODING in wanted:
            found += self._coding()
        if Label.RRNA in wanted:
            found += self._within(Kind.RRNA, Label.RRNA)
        if Label.TRNA in wanted:
            found += self._trna()
        order = {label: place for place, label in enumerate(Label)}
        found = [one for one in found if one.end - one.start <= self._length]
        return sorted(found, key=lambda one: (order[one.label], one.start, one.strand))

    def _genes(self) -> list[Feature]:
        features = self._record.features
        genes = [one for one in features if one.kind is Kind.GENE]
        genes = genes or [one for one in features if one.kind in _STANDS_FOR_GENES]
        return [one for one in genes if one.strand and one.is_certain]

    def _promoters(self) -> Iterator[Candidate]:
        before, after = self._rules.promoter
        for gene in self._genes():
            if not gene.open_5:
                at = gene.start if gene.strand == PLUS else gene.end
                yield from self._around(Label.PROMOTER, gene, at, (before, after))

    def _terminators(self) -> Iterator[Candidate]:
        before, after = self._rules.terminator
        for gene in self._genes():
            if not gene.open_3:
                at = gene.end if gene.strand == PLUS else gene.start
                yield from self._around(Label.TERMINATOR, gene, at, (before, after))

    def _around(
        self, label: Label, feature: Feature, at: int, flanks: tuple[int, int]
    ) -> Iterator[Candidate]:
        """A window around the border between two bases, `flanks` read on the feature's strand."""
        before, after = flanks if feature.strand == PLUS else flanks[::-1]
        yield from self._placed(label, at - before, at + after, feature)

    def _placed(self, label: Label, start: int, end: int, feature: Feature) -> Iterator[Candidate]:
        """The window, led around a circle; none if it leaves a record that is not one."""
        if self._record.circular:
            start, end = start % self._length, start % self._length + end - start
        elif start < 0 or end > self._length:
            return
        yield Candidate(label, start, end, feature.strand, feature)

    def _intergenic(self, positives: Iterable[tuple[int, int]]) -> Iterator[Candidate]:
        margin = self._rules.margin
        around = ((low - margin, high + margin) for low, high in spans(self._record.features))
        free = ~self._marked([*around, *positives])
        runs = stretches(free, circular=self._record.circular)
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
        """Rows of windows in the clear stretches of a part, which are clear no longer after it."""
        here = taken(clear, part.start, part.end)
        runs = [
            (part.start + low, part.start + high) for low, high in stretches(here, circular=False)
        ]
        for start, end in runs:
            clear[np.arange(start, end) % self._length] = False
        return list(self._rows(runs, generator))

    def _trna(self) -> Iterator[Candidate]:
        for feature in self._record.features:
            if feature.kind is Kind.TRNA and feature.strand and feature.is_certain:
                start = (feature.start + feature.end - self._rules.length) // 2
                end = start + self._rules.length
                yield from self._placed(Label.TRNA, start, end, feature)

    def _rows(
        self, runs: Iterable[tuple[int, int]], generator: np.random.Generator
    ) -> Iterator[tuple[int, int]]:
        """Windows side by side in each run; what is left over is divided by chance."""
        length = self._rules.length
        for start, end in runs:
            number, left = divmod(end - start, length)
            if number:
                first = start + int(generator.integers(0, left + 1))
                yield from ((first + n * length, first + (n + 1) * length) for n in range(number))

    def _generator(self, label: Label) -> np.random.Generator:
        key = f"{self._rules.seed}|{self._genome}|{self._record.id}|{label}"
        return np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))

    def _on_record(self, start: int, end: int) -> tuple[int, int]:
        return start % self._length, start % self._length + end - start

    def _marked(self, intervals: Iterable[tuple[int, int]]) -> Flags:
        return marked(intervals, self._length, circular=self._record.circular)


def strand_sign(strand: int) -> str:
    """A strand as tables show it."""
    return {PLUS: "+", MINUS: "-"}.get(strand, ".")
