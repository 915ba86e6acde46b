"""Scores of variants as INFO fields of VCF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from genomeformer_cli._version import __version__
from genomeformer_cli.core.evaluation.variants import VariantScore
from genomeformer_cli.core.formats.vcf_info import InfoField

_LOG_ODDS, _DISTANCE, _NOTE = "GF_LOG_ODDS", "GF_DISTANCE", "GF_NOTE"
_MISSING = "."


def score_fields(model: str) -> tuple[InfoField, ...]:
    """Return the declarations of the scores of a model."""
    source = f"genomeformer {__version__}, model {model}, mean of both strands"
    return (
        InfoField(
            id=_LOG_ODDS,
            number="A",
            type="Float",
            description=f"log2 p(alt) - log2 p(ref) ({source})",
        ),
        InfoField(
            id=_DISTANCE,
            number="A",
            type="Float",
            description=f"Distance of the vectors of the windows with REF and ALT ({source})",
        ),
        InfoField(
            id=_NOTE,
            number=".",
            type="String",
            description="Reason of a missing number, one per alternative allele",
        ),
    )


def info_of_lines(scores: Sequence[VariantScore]) -> dict[int, str]:
    """Return the INFO entries of every row, by line number."""
    return {
        line: _entries(list(alleles))
        for line, alleles in groupby(scores, key=lambda score: score.variant.line)
    }


def _entries(alleles: Sequence[VariantScore]) -> str:
    columns = {
        _LOG_ODDS: [_number(score.log_odds) for score in alleles],
        _DISTANCE: [_number(score.embedding_distance) for score in alleles],
        _NOTE: [_category(score.note) for score in alleles],
    }
    return ";".join(
        f"{key}={','.join(values)}"
        for key, values in columns.items()
        if any(value != _MISSING for value in values)
    )


def _number(value: float | None) -> str:
    return _MISSING if value is None or not math.isfinite(value) else f"{value:.5f}"


def _category(note: str) -> str:
    """Return the category of a note; INFO holds no blanks."""
    return note.partition(":")[0].replace(" ", "_") or _MISSING
