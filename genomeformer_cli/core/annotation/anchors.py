"""Positions of annotated signals: centres of promoters and terminators, first bases of CDS."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.config import Label, WindowRules
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.annotation.windows import candidates
from genomeformer_cli.core.formats.feature import PLUS, Kind

CDS_START = "cds-start"
ANCHORS = (Label.PROMOTER.value, Label.TERMINATOR.value, CDS_START)


def anchors_of(record: AnnotatedRecord, kind: str) -> npt.NDArray[np.int64]:
    """Return the positions of a kind of signal on a record, ascending, each once.

    Promoters and terminators are those of `windows` with its default flanks: the centre lies 50
    bases before the first base, or after the last base, of a gene.

    Args:
        record: Sequence length and features.
        kind: Name in `ANCHORS`.
    """
    positions = _cds_starts(record) if kind == CDS_START else _centres(record, Label(kind))
    return np.unique(np.array([*positions], dtype=np.int64) % max(record.codes.size, 1))


def _centres(record: AnnotatedRecord, label: Label) -> Iterable[int]:
    rules = WindowRules(labels=(label,))
    return ((place.start + place.end) // 2 for place in candidates(record, rules, ""))


def _cds_starts(record: AnnotatedRecord) -> Iterable[int]:
    for feature in record.features:
        if feature.kind is Kind.CDS and feature.is_certain and feature.strand:
            start = feature.start if feature.strand == PLUS else feature.end - 1
            yield from () if feature.open_5 else (start,)
