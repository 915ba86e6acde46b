"""GFF3: lines are split and decoded by gffutils; what they mean together is put together here.

gffutils' own database is left alone: it writes every feature to sqlite before the first is read.
Its line parser takes one line, knows GFF3's escapes, and is handed lines from our verified reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from genomeformer_cli.core.annotation.extra import annotation_module
from genomeformer_cli.core.annotation.feature import (
    MINUS,
    PLUS,
    UNSTRANDED,
    Feature,
    Kind,
    Part,
    RecordFeatures,
    kind_of,
)
from genomeformer_cli.core.errors import AnnotationError

_STRANDS = {"+": PLUS, "-": MINUS, ".": UNSTRANDED, "?": UNSTRANDED}
_PHASES = {"0": 0, "1": 1, "2": 2, ".": None}
_USED = ("ID", "Name", "Parent", "gene", "locus_tag", "partial")

Attributes = Mapping[str, list[str]]


@dataclass(slots=True)
class _Gathered:
    """Lines that are one feature: they share type and ID. Of attributes, those that are used."""

    kind: Kind
    pseudo: bool
    attributes: Attributes
    parts: list[Part] = field(default_factory=list)
    open_low: bool = False
    open_high: bool = False


def read_gff(lines: Iterator[str], shown: str) -> dict[str, RecordFeatures]:
    """Everything annotated, by record.

    Args:
        lines: Of the file, without line ends.
        shown: The name used in errors.

    Raises:
        AnnotationError: A line is no GFF3; the message says which.
        MissingExtraError: gffutils is not installed.
    """
    reader = _Reader(shown)
    for number, line in enumerate(lines, start=1):
        if line == "##FASTA" or line.startswith(">"):
            break
        if line and not line.startswith("#"):
            reader.take(line, number)
    return reader.finish()


class _Reader:
    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._parse = annotation_module("gffutils.feature").feature_from_line
        self._dialect = annotation_module("gffutils.constants").dialect
        self._gathered: dict[str, dict[tuple[str, str], _Gathered]] = {}
        self._circular: set[str] = set()
        self._pseudo: set[str] = set()
        self._parents: dict[str, list[str]] = {}

    def take(self, line: str, number: int) -> None:
        row, attributes = self._row(line, number)
        seqid = unquote(row.seqid)
        features = self._gathered.setdefault(seqid, {})
        if _first(attributes, "Is_circular").lower() == "true":
            self._circular.add(seqid)
        kind = kind_of(row.featuretype)
        if kind is None:
            return
        name = _first(attributes, "ID")
        pseudo = "pseudogen" in row.featuretype or _first(attributes, "pseudo").lower() == "true"
        if name:
            self._parents.setdefault(name, attributes.get("Parent", []))
            if pseudo:
                self._pseudo.add(name)
        key = (row.featuretype, name or f"line {number}")
        phase = _PHASES[row.frame] if kind is Kind.CDS else None
        part = Part(row.start - 1, row.end, _STRANDS[row.strand], phase)
        one = features.get(key)
        if one is None:
            kept = {key: attributes[key] for key in _USED if key in attributes}
            one = features[key] = _Gathered(kind, pseudo, kept)
        one.parts.append(part)
        # NCBI writes an end that is not known as `start_range=.,12` or `end_range=90,.`.
        one.open_low |= "." in attributes.get("start_range", [])
        one.open_high |= "." in attributes.get("end_range", [])

    def _row(self, line: str, number: int) -> tuple[Any, Attributes]:
        columns = line.split("\t")
        where = f"`{self._shown}`: line {number}"
        if len(columns) != 9:
            raise AnnotationError(
                f"{where} has {len(columns)} columns and not the 9 of GFF3",
                hint="columns are separated by tabs; fetch or export the file again",
            )
        if "=" not in columns[8] and ' "' in columns[8]:
            raise AnnotationError(f"{where} is GTF, not GFF3", hint="export it as GFF3, or GenBank")
        try:
            row = self._parse(line, dialect=self._dialect)
        except ValueError:
            row = None
        if row is None or not row.start or not row.end or not 1 <= row.start <= row.end:
            raise AnnotationError(
                f"{where} goes from `{columns[3]}` to `{columns[4]}`",
                hint="start and end are numbers from 1 on, start first, on either strand",
            )
        if row.strand not in _STRANDS or row.frame not in _PHASES:
            raise AnnotationError(
                f"{where} has strand `{row.strand}` and phase `{row.frame}`",
                hint="a strand is `+`, `-`, `.` or `?`, a phase 0, 1, 2 or `.`",
            )
        return row, {key: list(values) for key, values in row.attributes.items()}

    def finish(self) -> dict[str, RecordFeatures]:
        return {
            seqid: RecordFeatures(
                id=seqid,
                features=[self._feature(one) for one in features.values()],
                circular=seqid in self._circular,
            )
            for seqid, features in self._gathered.items()
        }

    def _feature(self, one: _Gathered) -> Feature:
        one.parts.sort(key=lambda part: part.start)
        kept = one.attributes
        ends = one.open_low, one.open_high
        if not any(ends) and _first(kept, "partial").lower() == "true":
            ends = True, True
        feature = Feature(
            kind=one.kind,
            parts=tuple(one.parts),
            id=_first(kept, "ID"),
            gene=_first(kept, "gene") or _first(kept, "Name"),
            locus_tag=_first(kept, "locus_tag"),
            pseudo=one.pseudo or self._of_a_pseudogene(kept),
        )
        open_5, open_3 = ends[::-1] if feature.strand == MINUS else ends
        return replace(feature, open_5=open_5, open_3=open_3)

    def _of_a_pseudogene(self, attributes: Attributes) -> bool:
        seen: set[str] = set()
        line = list(attributes.get("Parent", []))
        while line:
            name = line.pop()
            if name in self._pseudo:
                return True
            if name not in seen:
                seen.add(name)
                line += self._parents.get(name, [])
        return False


def _first(attributes: Attributes, key: str) -> str:
    values = attributes.get(key)
    return values[0] if values else ""
