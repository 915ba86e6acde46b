"""View of a genome for pictures: genes, hits, and scores in bins of bounded number.

Shape letters: N bins, or spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.annotation.windows import GENE_SUBSTITUTES
from genomeformer_cli.core.formats.feature import MINUS, PLUS, Feature, Kind
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.formats.tracks.elements import Chromosome, Hit, Spans
from genomeformer_cli.core.formats.tracks.palette import class_color
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.workflows.sources import Look

_MAX_BINS = 40_000
_MAX_HITS = 20_000
_SIGNS = {PLUS: "+", MINUS: "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """Gene of a picture."""

    chrom: str
    start: int  # First base, 0-based.
    end: int  # End (exclusive).
    strand: str  # `+`, `-` or `.`.
    name: str


@dataclass(frozen=True, kw_only=True)
class ScoreLane:
    """Scores of one class."""

    label: str
    color: str
    values: dict[str, npt.NDArray[np.float32]]  # Score of each bin, by chromosome; or NaN.


@dataclass(frozen=True, kw_only=True)
class GenomeView:
    """Everything that a picture shows."""

    title: str
    chromosomes: tuple[Chromosome, ...]
    bin_width: int  # Bases per bin of scores.
    lanes: tuple[ScoreLane, ...]
    hits: tuple[Hit, ...]
    labels: tuple[str, ...]  # Classes, in the order of their colours.
    genes: tuple[Gene, ...]
    quantity: str = "score"  # Name of the values.
    # A bin, or a pixel, shows the mean of its values, and not the largest one.
    shows_means: bool = False


class ViewBuilder:
    """Collector of a view in bounded memory.

    Args:
        title: Name of the model.
        chromosomes: Records of the genome.
        labels: Classes, in the order of their colours.
    """

    def __init__(
        self, *, title: str, chromosomes: Sequence[Chromosome], labels: Sequence[str]
    ) -> None:
        self._title, self._labels = title, tuple(labels)
        self._chromosomes = tuple(row for row in chromosomes if row.length)
        self._bin_width = _bin_width(chromosomes)
        self._lanes: list[ScoreLane] = []
        self._hits: list[Hit] = []
        self._num_hits = 0
        self._genes: list[Gene] = []

    def add_scores(self, label: str, number: int, spans: Iterable[Spans]) -> None:
        """Add the scores of a class; a bin takes the largest score of its spans."""
        width = self._bin_width
        values = {
            row.name: np.full(-(-row.length // width), np.nan, dtype=np.float32)
            for row in self._chromosomes
        }
        for piece in spans:
            value_N, score_N = values[piece.chrom], piece.value_N.astype(np.float32)
            first_N, end_N = piece.start_N // width, -(-piece.end_N // width)
            if (end_N - first_N == 1).all():
                np.fmax.at(value_N, first_N, score_N)
                continue
            for first, end, score in zip(first_N, end_N, score_N, strict=True):
                value_N[first:end] = np.fmax(value_N[first:end], score)
        self._lanes.append(ScoreLane(label=label, color=class_color(number), values=values))

    def add_hits(self, hits: Iterable[Hit]) -> None:
        """Add hits, up to the number that a picture can hold."""
        for hit in hits:
            self._num_hits += 1
            if len(self._hits) < _MAX_HITS:
                self._hits.append(hit)

    def add_genes(self, genes: Iterable[Gene]) -> None:
        """Add genes of the records."""
        names = {chromosome.name for chromosome in self._chromosomes}
        self._genes += [gene for gene in genes if gene.chrom in names]

    def finish(self, reporter: Reporter) -> GenomeView:
        """Return the view; warn of hits that it leaves out."""
        if self._num_hits > len(self._hits):
            reporter.warn(
                f"the picture shows the first {len(self._hits):,} of {self._num_hits:,} hits; "
                "raise `--threshold`, or merge them with `--merge-within 0`"
            )
        return GenomeView(
            title=self._title,
            chromosomes=self._chromosomes,
            bin_width=self._bin_width,
            lanes=tuple(self._lanes),
            hits=tuple(self._hits),
            labels=self._labels,
            genes=tuple(self._genes),
        )


class MeanLane:
    """Collector of the mean of values along a genome, in bins of bounded number.

    Args:
        chromosomes: Records of the genome.
    """

    def __init__(self, chromosomes: Sequence[Chromosome]) -> None:
        self._chromosomes = {row.name: row for row in chromosomes if row.length}
        self._width = _bin_width(chromosomes)
        self._sums = {
            row.name: np.zeros((2, -(-row.length // self._width)))
            for row in self._chromosomes.values()
        }

    def add(self, chrom: str, start: int, value_L: npt.NDArray[np.float64]) -> None:
        """Add the values of consecutive bases; those past the end continue at the origin."""
        finite_N = np.flatnonzero(np.isfinite(value_L))
        if chrom in self._sums:
            bin_N = (start + finite_N) % self._chromosomes[chrom].length // self._width
            size = self._sums[chrom].shape[1]
            self._sums[chrom][0] += np.bincount(bin_N, value_L[finite_N], minlength=size)
            self._sums[chrom][1] += np.bincount(bin_N, minlength=size)

    def view(self, title: str, quantity: str, genes: Iterable[Gene]) -> GenomeView:
        """Return the view of the records that have a value."""
        chromosomes = tuple(
            row for name, row in self._chromosomes.items() if self._sums[name][1].any()
        )
        values = {}
        for row in chromosomes:
            sum_N, count_N = self._sums[row.name]
            mean_N = np.divide(sum_N, count_N, out=np.full_like(sum_N, np.nan), where=count_N > 0)
            values[row.name] = mean_N.astype(np.float32)
        return GenomeView(
            title=title,
            chromosomes=chromosomes,
            bin_width=self._width,
            lanes=(ScoreLane(label=quantity, color=class_color(0), values=values),),
            hits=(),
            labels=(),
            genes=tuple(gene for gene in genes if gene.chrom in values),
            quantity=quantity,
            shows_means=True,
        )


def _bin_width(chromosomes: Sequence[Chromosome]) -> int:
    return max(-(-sum(chromosome.length for chromosome in chromosomes) // _MAX_BINS), 1)


def read_genes(
    look: Look,
    annotation: Path | None,
    reporter: Reporter,
) -> Iterator[Gene]:
    """Yield the genes of the files that have an annotation.

    Args:
        look: Result of reading the sources.
        annotation: Annotation of the first file; None: that of the cache, or a GenBank file itself.
        reporter: Receives a note if there are none.

    Raises:
        AnnotationError: The annotation cannot be read.
    """
    has_annotation = False
    for file, own_features in look.files:
        features = own_features if annotation is None else NamedFile(annotation, str(annotation))
        if features is None:
            continue
        has_annotation = True
        sequences = None if features == file else file
        for record in annotated_records(
            sequences, features, reporter=SilentReporter(), needs_genes=False
        ):
            for feature in _genes_of(record.features):
                yield Gene(
                    chrom=record.id,
                    start=feature.start,
                    end=feature.end,
                    strand=_SIGNS.get(feature.strand, "."),
                    name=feature.gene or feature.locus_tag or feature.id,
                )
    if not has_annotation:
        reporter.note("the picture has no genes: name an annotation with `--gff`")


def _genes_of(features: Sequence[Feature]) -> list[Feature]:
    genes = [feature for feature in features if feature.kind is Kind.GENE]
    return genes or [feature for feature in features if feature.kind in GENE_SUBSTITUTES]
