"""GFF3 reader: nine columns per line, and features of one or several lines.

Implemented here, because the maintained packages add a database (gffutils, with an LGPL
dependency), Arrow, or Biopython to split nine columns (docs/adr/0006).
"""

from __future__ import annotations

import re
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
    genetic_code,
    kind_of,
)
from genomeformer_cli.core.formats.text import Line, require_text

_STRANDS = {"+": PLUS, "-": MINUS, ".": UNSTRANDED, "?": UNSTRANDED}
_PHASES = {"0": 0, "1": 1, "2": 2, ".": None}
_KEPT = ("ID", "Name", "Parent", "gene", "locus_tag", "partial", "transl_table")
_USED = frozenset(
    (
        *(*_KEPT, "Is_circular", "pseudo", "pseudogene", "gene_biotype", "biotype"),
        *("start_range", "end_range"),
    )
)
_GTF = re.compile(r'\s*[A-Za-z]\w*\s+"')
_NUMBER = re.compile(r"[0-9]{1,15}")
_NUM_COLUMNS = 9

Attributes = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GffFile:
    """Annotation of a file."""

    records: dict[str, RecordFeatures]  # Annotation by record.
    # First line of the sequences, already consumed; None if a directive precedes them, or there are
    # none.
    sequence_line: Line | None = None
    has_sequences: bool = False  # True if sequences follow the annotation.


@dataclass(slots=True)
class _Row:
    """Coordinates of a line, as written."""

    first: int
    last: int
    strand: int
    phase: int | None
    line: int


@dataclass(slots=True)
class _FeatureLines:
    """Lines of one feature, which share type and ID (or parent), with the attributes in use."""

    kind: Kind | None
    pseudo: bool
    attributes: Attributes
    rows: list[_Row] = field(default_factory=list)
    open_low: bool = False
    open_high: bool = False


def read_gff(lines: Iterator[Line], display_name: str) -> GffFile:
    """Read the annotation; the lines after it stay in `lines`.

    Args:
        lines: Lines of the file.
        display_name: Name of the file in errors.

    Raises:
        AnnotationError: A line is not GFF3, or a feature is invalid; the message has the line
            number.
    """
    reader = _Reader(display_name)
    for line in lines:
        text = line.text.lstrip(" ")
        if text.startswith(">"):
            return GffFile(records=reader.finish(), sequence_line=line, has_sequences=True)
        if text.startswith("#"):
            words = text.casefold().split()
            if words[0] == "##fasta":
                return GffFile(records=reader.finish(), has_sequences=True)
            if words[0] == "##gff-version" and words[1:2] and not words[1].startswith("3"):
                raise reader.failure(
                    line.number, f"states GFF version {words[1]}", "export it as GFF3, or GenBank"
                )
        elif text.strip():
            reader.take(line)
    return GffFile(records=reader.finish())


def refuse_annotation(line: Line, display_name: str) -> None:
    """Check a line of the sequences that follow an annotation.

    Raises:
        AnnotationError: The line is annotation, as in concatenated files.
    """
    if "\t" in line.text and not line.text.lstrip().startswith((">", ";")):
        raise AnnotationError(
            f"`{display_name}`: line {line.number} is annotation after the sequences",
            hint="sequences are the last part of a GFF3 file: give joined files one by one",
        )


class _Reader:
    def __init__(self, display_name: str) -> None:
        self._display_name = display_name
        self._lines: dict[str, dict[tuple[str, str], _FeatureLines]] = {}
        self._circular: set[str] = set()
        self._lengths: dict[str, int] = {}
        self._pseudo: set[str] = set()
        self._pseudo_tags: set[str] = set()
        self._parents: dict[str, list[str]] = {}

    def failure(self, number: int, words: str, hint: str) -> AnnotationError:
        return AnnotationError(f"`{self._display_name}`: line {number} {words}", hint=hint)

    def take(self, line: Line) -> None:
        """Parse a line of annotation."""
        number = line.number
        columns = self._columns(line)
        seqid, type_name = unquote(columns[0]), columns[2]
        require_text(seqid, f"`{self._display_name}`, line {number}, column 1")
        attributes = _attributes(columns[8])
        if _GTF.match(columns[8]):
            raise self.failure(number, "is GTF, not GFF3", "export it as GFF3, or GenBank")
        kind = kind_of(type_name)
        row = self._row(columns, number, is_cds=kind is Kind.CDS)
        if _is_true(attributes, "Is_circular"):
            self._circular.add(seqid)
            if kind is None:
                self._lengths[seqid] = max(row.last, self._lengths.get(seqid, 0))
        name = _first(attributes, "ID")
        pseudo = "pseudogen" in type_name.lower() or _is_pseudo(attributes)
        if name:
            self._parents.setdefault(name, attributes.get("Parent", []))
        if pseudo and name:
            self._pseudo.add(name)
        if pseudo and kind is Kind.GENE:
            self._pseudo_tags.add(_first(attributes, "locus_tag"))
        features = self._lines.setdefault(seqid, {})
        key = (type_name, name or _shared_parent(kind, attributes) or f"line {number}")
        feature = features.get(key)
        if feature is None:
            used = {key: attributes[key] for key in _KEPT if key in attributes}
            feature = features[key] = _FeatureLines(kind, pseudo, used)
        feature.pseudo |= pseudo
        feature.rows.append(row)
        # NCBI writes an unknown end as `start_range=.,12` or `end_range=90,.`.
        feature.open_low |= "." in attributes.get("start_range", [])
        feature.open_high |= "." in attributes.get("end_range", [])

    def _columns(self, line: Line) -> list[str]:
        columns = [cell.strip() for cell in line.text.split("\t")]
        while len(columns) > _NUM_COLUMNS and not columns[-1]:
            columns.pop()
        if len(columns) == _NUM_COLUMNS:
            return columns
        hint = "columns are separated by tabs; fetch or export the file again"
        if len(columns) == 1 and len(line.text.split()) >= _NUM_COLUMNS - 1:
            hint = "blanks separate its columns, and tabs must: export the file again"
        raise self.failure(line.number, f"has {len(columns)} columns and not the 9 of GFF3", hint)

    def _row(self, columns: list[str], number: int, *, is_cds: bool) -> _Row:
        start, end, sign, phase = columns[3], columns[4], columns[6], columns[7]
        first, last = (
            int(number_text) if _NUMBER.fullmatch(number_text) else 0
            for number_text in (start, end)
        )
        if first < 1 or last < 1:
            raise self.failure(
                number,
                f"goes from `{start}` to `{end}`",
                "start and end are numbers from 1 on, start first, on either strand",
            )
        if sign not in _STRANDS or phase not in _PHASES:
            raise self.failure(
                number,
                f"has strand `{sign}` and phase `{phase}`",
                "a strand is `+`, `-`, `.` or `?`, a phase 0, 1, 2 or `.`",
            )
        return _Row(first, last, _STRANDS[sign], _PHASES[phase] if is_cds else None, number)

    def finish(self) -> dict[str, RecordFeatures]:
        """Return the features of all lines."""
        self._mark_descendants()
        return {seqid: self._record(seqid, features) for seqid, features in self._lines.items()}

    def _mark_descendants(self) -> None:
        """Mark all descendants of pseudogenes as pseudo."""
        children: dict[str, list[str]] = {}
        for name, parents in self._parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(name)
        queue = list(self._pseudo)
        while queue:
            pseudo_children = [
                name for name in children.get(queue.pop(), ()) if name not in self._pseudo
            ]
            self._pseudo.update(pseudo_children)
            queue += pseudo_children

    def _record(
        self, seqid: str, lines_by_key: dict[tuple[str, str], _FeatureLines]
    ) -> RecordFeatures:
        features: list[Feature] = []
        num_described = 0
        children: dict[str, list[Part]] = {}
        for (type_name, _), lines in lines_by_key.items():
            if lines.kind is None:
                num_described += 1
                continue
            parts = [self._part(row, seqid, lines.attributes) for row in lines.rows]
            parts.sort(key=lambda part: part.start)
            feature = self._feature(lines, lines.kind, tuple(parts))
            features.append(replace(feature, type=type_name))
            for parent in lines.attributes.get("Parent", []):
                children.setdefault(parent, []).extend(parts)
        present = {name for _, name in lines_by_key}
        features += [
            _implied(parent, parts) for parent, parts in children.items() if parent not in present
        ]
        return RecordFeatures(
            id=seqid,
            features=features,
            circular=seqid in self._circular,
            length=self._lengths.get(seqid),
            num_described=num_described,
            in_order=False,
        )

    def _part(self, row: _Row, seqid: str, attributes: Attributes) -> Part:
        if row.first <= row.last:
            return Part(row.first - 1, row.last, row.strand, row.phase)
        length = self._lengths.get(seqid)
        name = _first(attributes, "ID") or _first(attributes, "Name") or "a feature"
        if length is None or row.first > length:
            where = f"`{seqid}` is not marked as a circle of known length"
            if length is not None:
                where = f"`{seqid}` has {length:,} bases"
            raise self.failure(
                row.line,
                f"goes from `{row.first}` to `{row.last}`: `{name}` runs backwards, and {where}",
                "start comes first, on either strand; a circle has a region with "
                "`Is_circular=true`",
            )
        return Part(row.first - 1, length + row.last, row.strand, row.phase)

    def _feature(self, lines: _FeatureLines, kind: Kind, parts: tuple[Part, ...]) -> Feature:
        attributes = lines.attributes
        ends = lines.open_low, lines.open_high
        if not any(ends) and _is_true(attributes, "partial"):
            ends = True, True
        locus_tag = _first(attributes, "locus_tag")
        feature = Feature(
            kind=kind,
            parts=parts,
            id=_first(attributes, "ID") or _first(attributes, "Parent"),
            gene=_symbol(kind, attributes),
            locus_tag=locus_tag,
            genetic_code=genetic_code(_first(attributes, "transl_table")),
            pseudo=lines.pseudo
            or not self._pseudo.isdisjoint(attributes.get("Parent", ()))
            or (bool(locus_tag) and locus_tag in self._pseudo_tags),
            line=lines.rows[0].line,
        )
        open_5, open_3 = ends[::-1] if feature.strand == MINUS else ends
        return replace(feature, open_5=open_5, open_3=open_3)


def _shared_parent(kind: Kind | None, attributes: Attributes) -> str:
    """Return the parent that the parts of a CDS without an ID share, as in TAIR; else nothing."""
    parents = ",".join(attributes.get("Parent", ()))
    return f"parent {parents}" if kind is Kind.CDS and parents else ""


def _implied(parent: str, parts: list[Part]) -> Feature:
    """Return the gene of children whose parent has no line, introns included."""
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    return Feature(kind=Kind.OTHER, parts=(Part(start, end, UNSTRANDED),), id=parent, implied=True)


def _attributes(text: str) -> Attributes:
    """Return the attributes in use; escapes are decoded after the split, as GFF3 requires."""
    attributes: dict[str, list[str]] = {}
    for pair in text.split(";"):
        key, equals, values = pair.partition("=")
        key = key.strip()
        if equals and key in _USED:
            values = values.strip()
            if len(values) > 1 and values[0] == values[-1] == '"':
                values = values[1:-1]
            attributes[key] = [unquote(value.strip()) for value in values.split(",")]
    return attributes


def _first(attributes: Attributes, key: str) -> str:
    values = attributes.get(key)
    return values[0] if values else ""


def _is_true(attributes: Attributes, key: str) -> bool:
    return _first(attributes, key).lower() == "true"


def _is_pseudo(attributes: Attributes) -> bool:
    kinds = _first(attributes, "gene_biotype"), _first(attributes, "biotype")
    return (
        _is_true(attributes, "pseudo")
        or "pseudogene" in attributes
        or any("pseudogen" in text.lower() for text in kinds)
    )


def _symbol(kind: Kind, attributes: Attributes) -> str:
    """Return `gene`, or the `Name` of a gene unless it is a tag (for a CDS, often its protein)."""
    name = _first(attributes, "Name") if kind is Kind.GENE else ""
    return _first(attributes, "gene") or (name if name != _first(attributes, "locus_tag") else "")
