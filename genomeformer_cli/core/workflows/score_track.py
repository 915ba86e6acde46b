"""Bits of every base along a genome as a track: bases that the model expects have few bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.finetuning.tracks import PlacedPrediction, central_pieces
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.tracks.elements import Chromosome, binned
from genomeformer_cli.core.formats.tracks.files import (
    TrackHead,
    check_chromosomes,
    is_hit_track,
    is_score_track,
    require_track,
    write_scores,
)
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.workflows.genome_view import GenomeView, MeanLane, read_genes
from genomeformer_cli.core.workflows.score import ScoredRecord
from genomeformer_cli.core.workflows.sources import Look

TABLE_SUFFIXES = ("", ".tsv", ".txt")


def check_base_file(sources: SequenceSources, path: Path, bin_width: int) -> None:
    """Refuse a file of bases that cannot be written.

    Raises:
        UsageError: The name or the bins fit no file of bases, or the track runs along no genome.
        MissingExtraError: A package is not installed.
    """
    if is_hit_track(path) or not (is_score_track(path) or path.suffix.lower() in TABLE_SUFFIXES):
        raise UsageError(
            f"`--per-base` writes no file of the name `{path.name}`",
            hint="a table ends with `.tsv` or `.txt`, a track with `.bedgraph` or `.bw`",
        )
    if not is_score_track(path):
        if bin_width > 1:
            raise UsageError(
                f"`--bin {bin_width}` with the table `{path.name}`",
                hint="bins are written to `.bedgraph` or `.bw`",
            )
        return
    if sources.has_regions and sources.tile is None:
        raise UsageError(
            f"the track `{path.name}` runs along a genome, the selected regions do not",
            hint="give whole records or `--tile`, or a table as `--per-base`",
        )
    require_track(path)


class BasePicture:
    """Collector of the bits of bases for a picture; tiles that overlap are averaged.

    Args:
        look: Sequences.

    Raises:
        InputError: Two records share an id.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._lane = MeanLane(_chromosomes(look))
        self._num_spliced = 0

    def collect(self, records: Iterable[ScoredRecord]) -> Iterator[ScoredRecord]:
        """Pass records on, and keep their bits."""
        for record in records:
            bits_L, place = np.asarray(record.score.bits_L, dtype=np.float64), record.region
            if place is None:
                self._lane.add(record.score.id, 0, bits_L)
            elif bits_L.size == place.end - place.start:
                oriented_L = bits_L[::-1] if place.strand == "-" else bits_L
                self._lane.add(place.chrom, place.start, oriented_L)
            elif bits_L.size:
                self._num_spliced += 1
            yield record

    def finish(self, title: str, annotation: Path | None, reporter: Reporter) -> GenomeView:
        """Return the view, with the genes of an annotation; None: that of the sources."""
        if self._num_spliced:
            regions = count_noun(self._num_spliced, "region")
            reporter.warn(f"the picture leaves out {regions} whose sequence is spliced")
        genes = read_genes(self._look, annotation, reporter)
        return self._lane.view(title, "bits per base", genes)


def _chromosomes(look: Look) -> list[Chromosome]:
    chromosomes = [Chromosome(name=row.id, length=row.codes.size) for row in look.records()]
    check_chromosomes(chromosomes, ", ".join(file.display_name for file, _ in look.files))
    return chromosomes


def write_base_track(
    records: Iterable[ScoredRecord], look: Look, path: Path, *, bin_width: int, title: str
) -> int:
    """Write the bits of every base as a track, and return the number of its rows.

    Args:
        records: Scored records or tiles; a base of several tiles counts in the one whose centre is
            the nearest.
        look: Sequences.
        path: bedGraph or bigWig file.
        bin_width: Bases whose mean is one value.
        title: Name of the track.

    Raises:
        InputError: Two records share an id.
        StoreError: The file cannot be written.
    """
    chromosomes = _chromosomes(look)
    placed = (
        PlacedPrediction(
            place=record.region or Region(chrom=record.score.id, start=0, end=record.codes.size),
            values=np.asarray(record.score.bits_L, dtype=np.float64)[:, None],
        )
        for record in records
    )
    spans = (
        binned(piece.place.chrom, piece.values[:, 0], bin_width, first=piece.place.start)
        for piece in central_pieces(placed, per_base=True)
    )
    return write_scores(spans, path, TrackHead(title=title, chromosomes=chromosomes))
