"""Tracks and views of predictions along a genome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.finetuning.labels import LabelSpace
from genomeformer_cli.core.finetuning.tracks import (
    PlacedPrediction,
    TrackRules,
    find_hits,
    find_scores,
    hit_threshold,
    selected_labels,
)
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.tracks.elements import Chromosome
from genomeformer_cli.core.formats.tracks.files import (
    HIT_SUFFIXES,
    SCORE_SUFFIXES,
    TrackHead,
    check_chromosomes,
    is_hit_track,
    is_score_track,
    require_track,
    write_hits,
    write_scores,
)
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.workflows.genome_view import GenomeView, ViewBuilder, read_genes
from genomeformer_cli.core.workflows.predict import PredictedRecord, Prediction

TABLE_SUFFIXES = ("", ".tsv", ".txt", ".json")
_MAX_LANES = 4


def is_track(path: Path) -> bool:
    """Return True for a file of hits or scores."""
    return is_hit_track(path) or is_score_track(path)


def check_output_name(path: Path) -> None:
    """Refuse an output that no writer serves.

    Raises:
        UsageError: The suffix is unknown.
        MissingExtraError: A package is not installed.
    """
    if is_track(path):
        require_track(path)
        return
    if path.suffix.lower() not in TABLE_SUFFIXES:
        suffixes = ", ".join(f"`{suffix}`" for suffix in (*HIT_SUFFIXES, *SCORE_SUFFIXES))
        raise UsageError(
            f"`predict` writes no file of the name `{path.name}`",
            hint=f"tables end with `.tsv`, `.txt` or `.json`, tracks with {suffixes}; `--plot` "
            "writes pictures",
        )


def check_tracks(
    space: LabelSpace,
    sources: SequenceSources,
    outputs: Sequence[Path],
    rules: TrackRules,
    *,
    draws: bool,
) -> None:
    """Refuse tracks that the model or the sequences cannot give.

    Args:
        space: Outputs of the model.
        sources: Sequences.
        outputs: Output files.
        rules: Classes and hits.
        draws: A picture is drawn.

    Raises:
        UsageError: The sequences have no order along a genome, the choice of classes is invalid, or
            no output depends on a choice.
    """
    tracks = [output for output in outputs if is_track(output)]
    has_hits = draws or any(map(is_hit_track, tracks))
    _refuse_unread(rules, has_hits=has_hits, has_scores=bool(tracks))
    if not tracks and not draws:
        return
    name = f"the track `{tracks[0].name}`" if tracks else "the picture"
    if sources.tile is None and sources.has_regions:
        raise UsageError(
            f"{name} runs along a genome, the selected regions do not",
            hint="give `--tile` instead, or write a table",
        )
    if sources.tile is None and not space.is_per_base:
        raise UsageError(
            f"{name} needs predictions along the records, not one per record",
            hint="give the width of tiles, such as `--tile 200 --step 50`",
        )
    if has_hits:
        hit_threshold(space, rules)
        selected_labels(space, rules, single=False)
    if any(map(is_score_track, tracks)):
        selected_labels(space, rules, single=True)


def _refuse_unread(rules: TrackRules, *, has_hits: bool, has_scores: bool) -> None:
    """Refuse rules of hits and scores that no output reads."""
    unread = {
        "--class": rules.labels and not (has_hits or has_scores),
        "--threshold": rules.threshold is not None and not has_hits,
        "--merge-within": rules.merge is not None and not has_hits,
    }
    for option in (option for option, is_unread in unread.items() if is_unread):
        raise UsageError(
            f"`{option}` has no effect: no output holds hits",
            hint="write hits along the records with `--tile 200 -o hits.bed`, or draw them with "
            "`--plot`",
        )


def write_track(prediction: Prediction, path: Path, rules: TrackRules, reporter: Reporter) -> int:
    """Write hits or scores, and return the number of their rows.

    Raises:
        InputError: Two records share an id.
        StoreError: The file cannot be written.
    """
    space = prediction.predictor.task.targets
    chromosomes = _chromosomes(prediction)
    title = prediction.predictor.task.name
    head = TrackHead(title=title, chromosomes=chromosomes, labels=space.names)
    placed = _placed(prediction.records(reporter))
    if is_hit_track(path):
        return write_hits(find_hits(space, placed, rules), path, head)
    return write_scores(find_scores(space, placed, rules), path, head)


def view_prediction(
    prediction: Prediction,
    rules: TrackRules,
    genes: Path | None,
    reporter: Reporter,
    *,
    counts: Reporter,
) -> GenomeView:
    """Collect genes, hits and scores for a picture.

    Args:
        prediction: Prediction with finished parts, because it is read several times.
        rules: Classes and hits.
        genes: Annotation; None: that of the genome, if it has one.
        reporter: Receives warnings.
        counts: Receives progress and counts of the first reading.
    """
    space = prediction.predictor.task.targets
    chromosomes = _chromosomes(prediction)
    title = prediction.predictor.task.name
    builder = ViewBuilder(title=title, chromosomes=chromosomes, labels=space.names)
    current = counts
    for number in selected_labels(space, rules, single=False)[:_MAX_LANES]:
        single = TrackRules(labels=(space.names[number],))
        spans = find_scores(space, _placed(prediction.records(current)), single)
        builder.add_scores(space.names[number], number, spans)
        current = SilentReporter()
    builder.add_hits(find_hits(space, _placed(prediction.records(current)), rules))
    builder.add_genes(read_genes(prediction.look, genes, reporter))
    return builder.finish(reporter)


def _chromosomes(prediction: Prediction) -> list[Chromosome]:
    chromosomes = prediction.chromosomes()
    check_chromosomes(
        chromosomes, ", ".join(file.display_name for file, _ in prediction.look.files)
    )
    return chromosomes


def _placed(records: Iterator[PredictedRecord]) -> Iterator[PlacedPrediction]:
    for record in records:
        place = record.region
        if place is None:
            place = Region(chrom=record.id, start=0, end=record.codes.size)
        if record.codes.size:
            yield PlacedPrediction(place=place, values=record.answers)
