"""Tab-separated values and JSON of `score` and `predict`, one line at a time."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from textwrap import indent
from typing import IO, TYPE_CHECKING, Any, TypeVar

from genomeformer_cli.core.formats.region import COLUMNS, Region
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES
from genomeformer_cli.render.console import to_json

if TYPE_CHECKING:
    from genomeformer_cli.core.evaluation.variants import VariantScore
    from genomeformer_cli.core.finetuning.checkpoint import SavedTask
    from genomeformer_cli.core.finetuning.labels import LabelSpace
    from genomeformer_cli.core.workflows.predict import PredictedRecord
    from genomeformer_cli.core.workflows.score import MutatedRecord, ScoredRecord

RECORD_COLUMNS = (*("id", "length", "scored", "log_likelihood", "bits_per_base", "perplexity"),)
BASE_COLUMNS = ("id", "position", "base", "bits", "p_a", "p_c", "p_g", "p_t")
VARIANT_COLUMNS = (
    *("chromosome", "position", "id", "ref", "alt", "log_odds", "embedding_distance", "note"),
)
MAP_COLUMNS = ("id", "position", "ref", "alt", "log_odds")
_Record = TypeVar("_Record")
_NO_LABEL = "NaN"
_DIGITS = 6


def format_score(value: float | None, digits: int = 5) -> str:
    """Return a score, or `NA` for a missing or infinite one."""
    return "NA" if value is None or not math.isfinite(value) else f"{value:z.{digits}f}"


def tsv_line(cells: Iterable[object]) -> bytes:
    """Return one encoded line of a table."""
    return ("\t".join(str(cell) for cell in cells) + "\n").encode()


def with_coordinates(columns: tuple[str, ...], *, has_regions: bool) -> tuple[str, ...]:
    """Return the columns of a table, with the coordinates of regions after the id."""
    return (columns[0], *COLUMNS, *columns[1:]) if has_regions else columns


def id_cells(identifier: str, region: Region | None) -> tuple[str, ...]:
    """Return the id of a sequence, and its coordinates if it is a region."""
    return (identifier,) if region is None else (identifier, *region.cells)


def record_row(record: ScoredRecord) -> bytes:
    """Return the likelihood of one record."""
    score = record.score
    values = (score.log_likelihood, score.bits_per_base, score.perplexity)
    cells = id_cells(score.id, record.region)
    return tsv_line((*cells, score.length, score.num_scored, *map(format_score, values)))


def base_rows(record: ScoredRecord) -> Iterator[bytes]:
    """Return one row per base of a record."""
    probabilities_LR = 2.0**record.log2_LR
    names = id_cells(record.score.id, record.region)
    for index, code in enumerate(record.codes):
        scores = (record.score.bits_L[index], *probabilities_LR[index])
        cells = (format_score(float(score)) for score in scores)
        yield tsv_line((*names, index + 1, BASES[code], *cells))


def write_bases(records: Iterable[ScoredRecord], out: IO[bytes]) -> Iterator[ScoredRecord]:
    """Write the bases of each record while passing the records on."""
    for record in records:
        out.writelines(base_rows(record))
        yield record


def write_records(records: Iterable[ScoredRecord], out: IO[bytes]) -> Iterator[ScoredRecord]:
    """Write the likelihood of each record while passing the records on."""
    for record in records:
        out.write(record_row(record))
        yield record


def variant_row(score: VariantScore) -> bytes:
    """Return the scores of one allele."""
    variant = score.variant
    names = (variant.chromosome, variant.position, variant.id, variant.ref, variant.alt)
    numbers = (format_score(score.log_odds), format_score(score.embedding_distance))
    return tsv_line((*names, *numbers, score.note))


def substitution_rows(record: MutatedRecord) -> Iterator[bytes]:
    """Return one row per substitution of a record."""
    names = id_cells(record.id, record.region)
    for index, code in enumerate(record.codes):
        for base in range(NUM_REAL_BASES):
            if code < NUM_REAL_BASES and base != code:
                odds = format_score(float(record.odds_LR[index, base]))
                yield tsv_line((*names, index + 1, BASES[code], BASES[base], odds))


def write_rows(out: IO[bytes], columns: tuple[str, ...], rows: Iterable[bytes]) -> int:
    """Write a table and return the number of its rows."""
    lines = iter(rows)
    first = next(lines, None)  # an unreadable input must leave no header
    out.write(tsv_line(columns))
    count = 0
    for line in () if first is None else chain((first,), lines):
        out.write(line)
        count += 1
    out.flush()
    return count


def write_table(
    records: Iterable[_Record],
    out: IO[bytes],
    columns: tuple[str, ...],
    rows_of: Callable[[_Record], Iterable[bytes]],
) -> Iterator[_Record]:
    """Write the rows of each record while passing the records on."""
    remaining = iter(records)
    first = next(remaining, None)  # an unreadable input must leave no header
    out.write(tsv_line(columns))
    for record in () if first is None else chain((first,), remaining):
        out.writelines(rows_of(record))
        yield record
    out.flush()


def first_records(
    records: Iterable[_Record], limit: int, is_visible: Callable[[_Record], bool]
) -> Generator[_Record, None, tuple[list[_Record], str]]:
    """Pass all records on, then return the first visible ones and the end of a title for them."""
    visible: list[_Record] = []
    num_records = 0
    for record in records:
        num_records += 1
        if len(visible) < limit and is_visible(record):
            visible.append(record)
        yield record
    is_part = num_records > len(visible)
    return visible, f" (first {len(visible)} of {num_records:,} sequences)" if is_part else ""


def write_documents(
    records: Iterable[_Record], out: IO[bytes], document_of: Callable[[_Record], object]
) -> Iterator[_Record]:
    """Write a JSON list, one element per record, while passing the records on."""
    separator = "[\n"
    for record in records:
        text = json.dumps(document_of(record), indent=2)
        out.write((separator + indent(text, "  ")).encode())
        separator = ",\n"
        yield record
    out.write(b"[]\n" if separator.startswith("[") else b"\n]\n")
    out.flush()


def prediction_lines(
    task: SavedTask, predictions: Iterable[PredictedRecord], *, by_base: bool, as_json: bool
) -> Iterator[bytes]:
    """Return the output of `predict`; the header waits for the first prediction.

    Args:
        task: Task of the model.
        predictions: Predictions in input order.
        by_base: Write labels of bases as one row per base instead of one letter each.
        as_json: Write JSON instead of a table.
    """
    remaining = iter(predictions)
    first = next(remaining, None)
    ordered = () if first is None else chain((first,), remaining)
    if as_json:
        yield from _prediction_json(task, ordered)
        return
    columns = tuple(_prediction_columns(task.targets, by_base=by_base))
    has_regions = first is not None and first.region is not None
    yield tsv_line(with_coordinates(columns, has_regions=has_regions))
    for prediction in ordered:
        yield from _prediction_rows(task.targets, prediction, by_base=by_base)


def _prediction_columns(space: LabelSpace, *, by_base: bool) -> Sequence[str]:
    if space.is_per_base and not by_base:
        return ("id", "length", "labels", "note")
    position = ("position", "base") if space.is_per_base else ("length",)
    if _is_regression(space):
        return ("id", *position, *space.names, "note")
    label = "labels" if space.kind.value == "multi-label" else "label"
    return ("id", *position, label, *(f"p_{name}" for name in space.names), "note")


def _is_regression(space: LabelSpace) -> bool:
    return space.kind.value == "regression"


def _prediction_rows(
    space: LabelSpace, prediction: PredictedRecord, *, by_base: bool
) -> Iterator[bytes]:
    labels, size = prediction.labels(space), prediction.codes.size
    names = id_cells(prediction.id, prediction.region)
    if space.is_per_base and by_base:
        for index, code in enumerate(prediction.codes):
            label = _NO_LABEL if labels is None else labels[index]
            numbers = map(_format_number, prediction.answers[index])
            yield tsv_line((*names, index + 1, BASES[code], label, *numbers, prediction.note))
        if not size:
            missing = [_NO_LABEL] * (2 + len(space.names))
            yield tsv_line((*names, 0, *missing, prediction.note))
        return
    if space.is_per_base:
        letters = _NO_LABEL if labels is None else "".join(labels)
        yield tsv_line((*names, size, letters, prediction.note))
        return
    numbers = map(_format_number, prediction.answers[0])
    if _is_regression(space):
        yield tsv_line((*names, size, *numbers, prediction.note))
        return
    label = _NO_LABEL if labels is None else (space.separator or ";").join(labels)
    yield tsv_line((*names, size, label, *numbers, prediction.note))


def _format_number(value: float) -> str:
    return f"{value:.{_DIGITS}g}" if math.isfinite(value) else _NO_LABEL


def _prediction_json(task: SavedTask, predictions: Iterable[PredictedRecord]) -> Iterator[bytes]:
    from genomeformer_cli.core.workflows.predict import count_notes

    space = task.targets
    head = {"task": task.name, "kind": space.kind.value, "names": list(space.names)}
    opening = json.dumps(head, ensure_ascii=False)[:-1]
    yield f'{opening}, "records": ['.encode()
    separator = "\n"
    notes: Counter[str] = Counter()
    for prediction in predictions:
        notes[prediction.note] += 1
        record = json.dumps(_prediction_record(space, prediction), ensure_ascii=False)
        yield (separator + record).encode()
        separator = ",\n"
    count = json.dumps(to_json(count_notes(notes)))
    yield f'\n], "count": {count}}}\n'.encode()


def _prediction_record(space: LabelSpace, prediction: PredictedRecord) -> dict[str, Any]:
    labels = prediction.labels(space)
    values = [
        [round(float(value), 8) if math.isfinite(value) else None for value in row]
        for row in prediction.answers
    ]
    record: dict[str, Any] = {"id": prediction.id}
    if prediction.region is not None:
        record |= asdict(prediction.region)
    record["length"] = int(prediction.codes.size)
    if space.kind.value == "classification":
        record["label"] = None if labels is None else labels[0]
    elif not _is_regression(space):
        record["labels"] = labels
    key = "values" if _is_regression(space) else "probabilities"
    record[key] = values if space.is_per_base else values[0]
    return {**record, "note": prediction.note}
