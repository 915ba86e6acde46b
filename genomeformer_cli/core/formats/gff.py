"""GFF3: nine columns a line, and what lines mean together.

Read here and not by a package: the well-kept ones bring a database (gffutils, and with it an LGPL
dependency), Arrow, or Biopython, to split nine columns. See docs/adr/0006.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from genomeformer_cli.core.errors import AnnotationError
from genomeformer_cli.core.formats.feature import (
    MINUS,
    PLUS,
    UNSTRANDED,
    Feature,
    Kind,
    Part,
    RecordFeatures,
    kind_of,
)

_STRANDS = {"+": PLUS, "-": MINUS, ".": UNSTRANDED, "?": UNSTRANDED}
_PHASES = {"0": 0, "1": 1, "2": 2, ".": None}
_KEPT = ("ID", "Name", "Parent", "gene", "locus_tag", "partial")
_USED = {*_KEPT, "Is_circular", "pseudo", "start_range", "end_range"}

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
        self._gathered: dict[str, dict[tuple[str, str], _Gathered]] = {}
        self._circular: set[str] = set()
        self._pseudo: set[str] = set()
        self._parents: dict[str, list[str]] = {}

    def take(self, line: str, number: int) -> None:
        columns = line.split("\t")
        if len(columns) != 9:
            raise self._failure(
                number,
                f"has {len(columns)} columns and not the 9 of GFF3",
                "columns are separated by tabs; fetch or export the file again",
            )
        seqid, type_name = unquote(columns[0]), columns[2]
        features = self._gathered.setdefault(seqid, {})
        attributes = _attributes(columns[8])
        if not attributes and ' "' in columns[8] and "=" not in columns[8]:
            raise self._failure(number, "is GTF, not GFF3", "export it as GFF3, or GenBank")
        if _first(attributes, "Is_circular").lower() == "true":
            self._circular.add(seqid)
        kind = kind_of(type_name)
        if kind is None:
            return
        name = _first(attributes, "ID")
        pseudo = "pseudogen" in type_name or _first(attributes, "pseudo").lower() == "true"
        if name:
            self._parents.setdefault(name, attributes.get("Parent", []))
            if pseudo:
                self._pseudo.add(name)
        key = (type_name, name or f"line {number}")
        part = self._part(columns, number, is_cds=kind is Kind.CDS)
        one = features.get(key)
        if one is None:
            kept = {key: attributes[key] for key in _KEPT if key in attributes}
            one = features[key] = _Gathered(kind, pseudo, kept)
        one.parts.append(part)
        # NCBI writes an end that is not known as `start_range=.,12` or `end_range=90,.`.
        one.open_low |= "." in attributes.get("start_range", [])
        one.open_high |= "." in attributes.get("end_range", [])

    def _part(self, columns: list[str], number: int, *, is_cds: bool) -> Part:
        start, end, sign, phase = columns[3], columns[4], columns[6], columns[7]
        numbers = [int(one) if one.isascii() and one.isdigit() else 0 for one in (start, end)]
        if not 1 <= numbers[0] <= numbers[1]:
            raise self._failure(
                number,
                f"goes from `{start}` to `{end}`",
                "start and end are numbers from 1 on, start first, on either strand",
            )
        if sign not in _STRANDS or phase not in _PHASES:
            raise self._failure(
                number,
                f"has strand `{sign}` and phase `{phase}`",
                "a strand is `+`, `-`, `.` or `?`, a phase 0, 1, 2 or `.`",
            )
        return Part(numbers[0] - 1, numbers[1], _STRANDS[sign], _PHASES[phase] if is_cds else None)

    def _failure(self, number: int, words: str, hint: str) -> AnnotationError:
        return AnnotationError(f"`{self._shown}`: line {number} {words}", hint=hint)

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
            gene=_symbol(one.kind, kept),
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


def _attributes(text: str) -> Attributes:
    """Those that are used: `key=value,value;...`, escapes decoded after the split, as GFF3 says."""
    found: dict[str, list[str]] = {}
    for pair in text.split(";"):
        key, equals, values = pair.strip().partition("=")
        if equals and key in _USED:
            found[key] = [unquote(value) for value in values.split(",")]
    return found


def _first(attributes: Attributes, key: str) -> str:
    values = attributes.get(key)
    return values[0] if values else ""


def _symbol(kind: Kind, attributes: Attributes) -> str:
    """`gene`, or the `Name` of a gene if it is none of its tags: a CDS's is often its protein."""
    name = _first(attributes, "Name") if kind is Kind.GENE else ""
    return _first(attributes, "gene") or (name if name != _first(attributes, "locus_tag") else "")
