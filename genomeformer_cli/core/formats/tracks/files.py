"""Track files by suffix; every file is complete or absent.

| suffix                   | content                              | needs      |
|--------------------------|--------------------------------------|------------|
| `.bed`                   | hits                                 |            |
| `.gff3`, `.gff`          | hits                                 |            |
| `.bedgraph`, `.bdg`      | scores, one value per interval       |            |
| `.bw`, `.bigwig`         | scores, one value per interval       | `pyBigWig` |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.tracks.bed import write_bed
from genomeformer_cli.core.formats.tracks.bedgraph import write_bedgraph
from genomeformer_cli.core.formats.tracks.bigwig import require_bigwig, write_bigwig
from genomeformer_cli.core.formats.tracks.elements import Chromosome, Hit, Spans
from genomeformer_cli.core.formats.tracks.gff3 import write_gff3
from genomeformer_cli.core.store.atomic import atomic_file

_BED, _GFF3, _BEDGRAPH, _BIGWIG = "BED", "GFF3", "bedGraph", "bigWig"
_HITS = {".bed": _BED, ".gff3": _GFF3, ".gff": _GFF3}
_SCORES = {".bedgraph": _BEDGRAPH, ".bdg": _BEDGRAPH, ".bw": _BIGWIG, ".bigwig": _BIGWIG}
HIT_SUFFIXES, SCORE_SUFFIXES = tuple(_HITS), tuple(_SCORES)


@dataclass(frozen=True, kw_only=True)
class TrackHead:
    """Header of a track."""

    title: str  # Name in a genome browser.
    chromosomes: Sequence[Chromosome]  # Records of the genome, in its order.
    labels: Sequence[str] = ()  # Classes, in the order of their colours.


def is_hit_track(path: Path | None) -> bool:
    """Return True for a file of hits."""
    return path is not None and path.suffix.lower() in _HITS


def is_score_track(path: Path | None) -> bool:
    """Return True for a file of scores."""
    return path is not None and path.suffix.lower() in _SCORES


def require_track(path: Path) -> None:
    """Check for the package that a track file needs.

    Raises:
        MissingExtraError: It is not installed.
    """
    if _SCORES.get(path.suffix.lower()) == _BIGWIG:
        require_bigwig()


def check_chromosomes(chromosomes: Sequence[Chromosome], source: str) -> None:
    """Refuse records without distinct ids: a coordinate would be ambiguous.

    Raises:
        InputError: Two records share an id.
    """
    counts = Counter(chromosome.name for chromosome in chromosomes)
    name, number = counts.most_common(1)[0] if counts else ("", 0)
    if number > 1:
        raise InputError(
            f"{number} records of `{source}` have the id `{name}`",
            hint="a track needs distinct ids; rename the records",
        )


def write_hits(hits: Iterable[Hit], path: Path, head: TrackHead) -> int:
    """Write sorted hits in the format of the suffix; return their number.

    Raises:
        StoreError: The file cannot be written.
    """
    with atomic_file(path) as file:
        if _HITS[path.suffix.lower()] == _BED:
            return write_bed(hits, file, title=head.title, labels=head.labels)
        return write_gff3(hits, file, chromosomes=head.chromosomes)


def write_scores(spans: Iterable[Spans], path: Path, head: TrackHead) -> int:
    """Write spans of scores in the format of the suffix; return their number.

    Raises:
        MissingExtraError: `pyBigWig` is not installed.
        StoreError: The file cannot be written.
    """
    with atomic_file(path) as file:
        if _SCORES[path.suffix.lower()] == _BEDGRAPH:
            return write_bedgraph(spans, file, title=head.title)
        # The package writes to a name; the open file only reserves it.
        return write_bigwig(spans, Path(file.name), chromosomes=head.chromosomes)
