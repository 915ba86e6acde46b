"""What `predict` found, as tab-separated values or JSON; numbers that there are not are NaN."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.render.console import to_json
from genomeformer_cli.render.scores import row

if TYPE_CHECKING:
    from genomeformer_cli.core.finetuning.checkpoint import SavedTask
    from genomeformer_cli.core.finetuning.labels import LabelSpace
    from genomeformer_cli.core.workflows.predict import Answered

_NOTHING = "NaN"
_DIGITS = 6


def lines(
    task: SavedTask, found: Iterable[Answered], *, by_base: bool, as_json: bool
) -> Iterator[bytes]:
    """The output, a line at a time; the first one comes when the first answer is there.

    Args:
        task: What is answered.
        found: Answers.
        by_base: Of labels of bases, a row each, in place of a letter each.
        as_json: JSON in place of a table.
    """
    answers = iter(found)
    first = next(answers, None)
    everyone = [] if first is None else _chained(first, answers)
    if as_json:
        yield from _json(task, everyone)
    else:
        yield row(_columns(task.targets, by_base=by_base))
        for one in everyone:
            yield from _rows(task.targets, one, by_base=by_base)


def _chained(first: Answered, rest: Iterator[Answered]) -> Iterator[Answered]:
    yield first
    yield from rest


def _columns(targets: LabelSpace, *, by_base: bool) -> Sequence[str]:
    if targets.is_per_base and not by_base:
        return ("id", "length", "labels", "note")
    place = ("position", "base") if targets.is_per_base else ("length",)
    numbers = _is_numbers(targets)
    said = () if numbers else ("labels" if targets.kind.value == "multi-label" else "label",)
    chances = targets.names if numbers else [f"p_{name}" for name in targets.names]
    return ("id", *place, *said, *chances, "note")


def _is_numbers(targets: LabelSpace) -> bool:
    return targets.kind.value == "regression"


def _rows(targets: LabelSpace, one: Answered, *, by_base: bool) -> Iterator[bytes]:
    labels = one.labels(targets)
    if targets.is_per_base and by_base:
        for place, code in enumerate(one.codes):
            said = _NOTHING if labels is None else labels[place]
            chances = map(_number, one.answers[place])
            yield row((one.id, place + 1, BASES[code], said, *chances, one.note))
        if not one.codes.size:
            yield row((one.id, 0, _NOTHING, *[_NOTHING] * (1 + len(targets.names)), one.note))
        return
    size = one.codes.size
    if targets.is_per_base:
        yield row((one.id, size, _NOTHING if labels is None else "".join(labels), one.note))
        return
    numbers = map(_number, one.answers[0])
    if _is_numbers(targets):
        yield row((one.id, size, *numbers, one.note))
        return
    said = _NOTHING if labels is None else (targets.separator or ";").join(labels)
    yield row((one.id, size, said, *numbers, one.note))


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}" if math.isfinite(value) else _NOTHING


def _json(task: SavedTask, found: Iterable[Answered]) -> Iterator[bytes]:
    from genomeformer_cli.core.workflows.predict import count_notes

    targets = task.targets
    head = {"task": task.name, "kind": targets.kind.value, "names": list(targets.names)}
    opening = json.dumps(head, ensure_ascii=False)[:-1]
    yield f'{opening}, "records": ['.encode()
    before = "\n"
    notes: Counter[str] = Counter()
    for one in found:
        notes[one.note] += 1
        yield (before + json.dumps(_record(targets, one), ensure_ascii=False)).encode()
        before = ",\n"
    count = json.dumps(to_json(count_notes(notes)))
    yield f'\n], "count": {count}}}\n'.encode()


def _record(targets: LabelSpace, one: Answered) -> dict[str, Any]:
    labels = one.labels(targets)
    plain = [
        [round(float(value), 8) if math.isfinite(value) else None for value in values]
        for values in one.answers
    ]
    record: dict[str, Any] = {"id": one.id, "length": int(one.codes.size)}
    if targets.kind.value == "classification":
        record["label"] = None if labels is None else labels[0]
    elif not _is_numbers(targets):
        record["labels"] = labels
    key = "values" if _is_numbers(targets) else "probabilities"
    record[key] = plain if targets.is_per_base else plain[0]
    return {**record, "note": one.note}
