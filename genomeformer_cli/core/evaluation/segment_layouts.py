"""Segments of LAMBDA that are tested by a probe of its training segments.

| folder                 | test rows                                                       |
|------------------------|-----------------------------------------------------------------|
| `genome_wide/2k`       | `GENOME_genomic_segments.csv`; segments of a genome are a group |
| `shuffled_controls/2k` | `test_shuffled.csv`                                             |

Training and validation rows are those of `train_val_test/2k`. Rows of `fpr_test` and `fnr_test` are
of one class: these tasks are named and not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from genomeformer_cli.core.evaluation.task_source import TaskSource, concatenate
from genomeformer_cli.core.formats.labelled import SPLIT_NAMES, LabelledFile, read_labelled

_SUITE = "lambda"
_TRAINING = "train_val_test"
_TESTED = ("genome_wide", "shuffled_controls")
_ONE_CLASS = ("fpr_test", "fnr_test")
_SEGMENTS = "_genomic_segments"


def segment_tasks(task_folder: Path, name: str, _root: Path) -> list[TaskSource]:
    """Recognise the test segments of one length."""
    kind = task_folder.parent.name
    tables = sorted(path for path in task_folder.glob("*.csv*") if path.is_file())
    if not tables or kind not in (*_TESTED, *_ONE_CLASS):
        return []
    training = task_folder.parent.parent / _TRAINING / task_folder.name
    if kind in _ONE_CLASS:
        return [TaskSource(name=name, suite=_SUITE, unread="its rows are of one class")]
    if not any(training.glob("train.csv*")):
        reason = f"its training rows, `{_TRAINING}/{task_folder.name}/train.csv`, are not there"
        return [TaskSource(name=name, suite=_SUITE, unread=reason)]
    return [TaskSource(name=name, suite=_SUITE, read=partial(_read, training, tables))]


def _read(training: Path, tables: Sequence[Path]) -> LabelledFile:
    files = []
    for path in sorted(training.glob("*.csv*")):
        split = SPLIT_NAMES.get(path.name.partition(".")[0], "")
        if split in ("train", "val"):
            files.append(_prefixed(read_labelled(path, split=split), split, group=""))
    for path in tables:
        stem = path.name.partition(".csv")[0]
        group = stem.removesuffix(_SEGMENTS) if stem.endswith(_SEGMENTS) else ""
        files.append(_prefixed(read_labelled(path, split="test"), stem, group=group))
    return concatenate(files)


def _prefixed(file: LabelledFile, prefix: str, *, group: str) -> LabelledFile:
    examples = tuple(
        replace(example, id=f"{prefix}:{example.id}", group=group) for example in file.examples
    )
    return LabelledFile(examples=examples, count=file.count, notes=file.notes)
