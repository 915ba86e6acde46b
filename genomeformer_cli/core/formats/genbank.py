"""GenBank flat file reader: feature tables, and sequences if present.

Implemented here, because a location that a parser silently shortens becomes a mislabelled window
(docs/adr/0018).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from genomeformer_cli.core.errors import AnnotationError
from genomeformer_cli.core.formats.feature import (
    Feature,
    Kind,
    Part,
    RecordFeatures,
    genetic_code,
    kind_of,
)
from genomeformer_cli.core.formats.location import Location, LocationError, LocationReader
from genomeformer_cli.core.formats.text import Line, NamedFile

# A feature's key begins in column 6, its location and qualifiers in column 22.
_LARGEST_KEY_INDENT = 11
_KEY = re.compile(r"(?=[^ ]*[A-Za-z])[\w'*+.-]+", re.ASCII)
_FEATURE = re.compile(r" *[A-Za-z][\w'-]*\s+[a-z-]*\(?[<>(]*[0-9]+(\.\.|\^|,)[^\s]+")
_HEADER = re.compile(r"[A-Z][A-Z0-9_]*")
_AFTER_FEATURES = frozenset(("BASE", "CONTIG", "FEATURES", "ORIGIN", "WGS", "WGS_SCAFLD"))
_LENGTH = re.compile(r"\s(\d{1,15})\s+(bp|aa|rc)\b", re.ASCII)
_NO_ID = (".", "unknown", "<unknown")
_NOT_LETTERS = {ord(letter): None for letter in "0123456789 \t/"}
_CUT_OFF = "the file was cut off or edited: fetch or export it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenBankRecord:
    """Record of a GenBank file."""

    annotated: RecordFeatures  # Features, with the accession and version as id.
    sequence: bytes  # Letters; empty if the file has none.


def is_genbank(file: NamedFile) -> bool:
    """Return True for a file whose first line with text is a LOCUS line.

    Raises:
        FormatError: The file cannot be read, or is not text.
    """
    first = next((line.text for line in file.lines() if line.text.strip()), "")
    return re.match(r"LOCUS(\s|$)", first.lstrip()) is not None


def read_genbank(lines: Iterator[Line], display_name: str) -> Iterator[GenBankRecord]:
    """Yield the records of a file, one at a time in memory.

    Args:
        lines: Lines of the file.
        display_name: Name of the file in errors.

    Raises:
        AnnotationError: The file is not GenBank, or a record is truncated, duplicated, or has an
            invalid feature.
    """
    record: _Record | None = None
    number = 0
    ids: set[str] = set()
    for line in lines:
        if record is None:
            if not line.text.strip():
                continue
            number += 1
            record = _Record(line, number, display_name)
        elif not line.text.startswith("//"):
            record.take(line)
        else:
            parsed = record.read()
            if parsed.annotated.id in ids:
                raise AnnotationError(
                    f"`{display_name}` has two records `{parsed.annotated.id}`",
                    hint="give each record a VERSION of its own, or split the file",
                )
            ids.add(parsed.annotated.id)
            yield parsed
            record = None
    if record is not None:
        raise record.failure("has no end (`//`)", hint=_CUT_OFF)


@dataclass(slots=True)
class _Entry:
    """Feature as written."""

    key: str
    line: int
    location: list[str]
    lines: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        if self.lines or text.startswith("/"):
            self.lines.append(text)
        else:
            self.location.append(text)


class _Record:
    def __init__(self, locus: Line, number: int, display_name: str) -> None:
        self._display_name = display_name
        self._number = number
        self._locus_line = locus.number
        self._locus = locus.text
        self._section = "LOCUS"
        self._names: dict[str, str] = {}
        self._entries: list[_Entry] = []
        self._sequence: list[str] = []
        if not re.match(r"LOCUS(\s|$)", locus.text):
            raise self.failure("does not begin with a LOCUS line", hint=_CUT_OFF, line=locus.number)

    def failure(self, words: str, *, hint: str, line: int = 0) -> AnnotationError:
        place = f", line {line}" if line else ""
        return AnnotationError(
            f"`{self._display_name}` cannot be read as GenBank{place}: record {self._number} "
            f"{words}",
            hint=hint,
        )

    def take(self, line: Line) -> None:
        text = line.text.expandtabs() if "\t" in line.text else line.text
        if text[:1].strip() and not (self._section == "ORIGIN" and text[0].isdigit()):
            self._header(text, line)
        elif self._section == "FEATURES":
            if text.strip():
                self._feature_line(text, line)
        elif ".." in text and _indent(text) <= _LARGEST_KEY_INDENT and _FEATURE.fullmatch(text):
            raise self.failure(
                f"has `{text.strip()[:40]}` outside of its features",
                hint=_CUT_OFF,
                line=line.number,
            )
        elif self._section == "ORIGIN":
            self._sequence.append(text.translate(_NOT_LETTERS))

    def _header(self, text: str, line: Line) -> None:
        word, *rest = text.split()
        if word == "LOCUS":
            raise self.failure("has no end (`//`)", hint=_CUT_OFF, line=line.number)
        if self._section in _AFTER_FEATURES and word not in _AFTER_FEATURES:
            raise self.failure(
                f"has `{text[:40]}` where a feature or sequence is expected",
                hint="features are indented by 5 blanks: fetch or export the file again",
                line=line.number,
            )
        if self._section == "LOCUS" and not _HEADER.fullmatch(word):
            self._locus += f" {text}"  # Prokka's long names push the rest onto a second line
            return
        self._section = word
        if word in ("VERSION", "ACCESSION") and rest:
            self._names.setdefault(word, rest[0])

    def _feature_line(self, text: str, line: Line) -> None:
        stripped = text.strip()
        if _indent(text) <= _LARGEST_KEY_INDENT and not stripped.startswith("/"):
            key, _, location = stripped.partition(" ")
            if not _KEY.fullmatch(key):
                raise self.failure(
                    f"has `{stripped[:40]}` where a feature is expected",
                    hint=_CUT_OFF,
                    line=line.number,
                )
            self._entries.append(_Entry(key, line.number, [location.strip()]))
        elif not self._entries:
            raise self.failure(
                f"has `{stripped[:40]}` before its first feature", hint=_CUT_OFF, line=line.number
            )
        else:
            entry = self._entries[-1]
            if _FEATURE.fullmatch(stripped) and not _is_open(entry.lines):
                raise self.failure(
                    f"has `{stripped[:40]}`, which looks like a feature, among the qualifiers of "
                    "another",
                    hint="features are indented by 5 blanks: fetch or export the file again",
                    line=line.number,
                )
            entry.take(stripped)

    def read(self) -> GenBankRecord:
        """Return the parsed record.

        Raises:
            AnnotationError: The record is a protein, differs in length from its LOCUS line, or has
                an invalid feature.
        """
        sequence = "".join(self._sequence).encode("utf-8")
        length = self._length(len(sequence))
        identity = self._id(len(sequence))
        names = frozenset((identity, *self._names.values(), identity.partition(".")[0]))
        circular = "circular" in self._locus.lower().split()[2:]
        reader = LocationReader(length=length, circular=circular, names=names)
        entries = [(entry, kind_of(entry.key)) for entry in self._entries]
        features = _Features(
            [
                (entry, kind, _qualifiers(entry.lines))
                for entry, kind in entries
                if kind is not None
            ],
            reader,
            self,
            identity,
        ).read()
        annotated = RecordFeatures(
            id=identity,
            features=[entry for entry in features if not isinstance(entry, str)],
            circular=circular,
            length=length,
            num_described=len(entries) - len(features),
            placeless=tuple(entry for entry in features if isinstance(entry, str)),
        )
        return GenBankRecord(annotated=annotated, sequence=sequence)

    def _length(self, num_letters: int) -> int | None:
        """Return the length of the sequence, or that of the LOCUS line."""
        match = _LENGTH.search(f" {self._locus.partition(' ')[2].strip().partition(' ')[2]}")
        if match is not None and match[2] == "aa":
            raise self.failure(
                "is a protein", hint="give nucleotide records", line=self._locus_line
            )
        declared = int(match[1]) if match else None
        if num_letters and declared is not None and declared != num_letters:
            raise self.failure(
                f"has {num_letters:,} bases, but {declared:,} in its LOCUS line",
                hint=_CUT_OFF,
                line=self._locus_line,
            )
        return num_letters or declared

    def _id(self, num_letters: int) -> str:
        for key in ("VERSION", "ACCESSION"):
            if self._names.get(key, ".") not in _NO_ID:
                return self._names[key]
        words = self._locus.split()
        name = words[1] if len(words) > 1 else ""
        is_glued = len(words) > 2 and words[2] == "bp" and name.endswith(str(num_letters))
        if is_glued and num_letters:  # a long name runs into the length after it
            name = name.removesuffix(str(num_letters))
        if not name:
            raise self.failure(
                "has no name", hint="give it a VERSION or LOCUS name", line=self._locus_line
            )
        return name


@dataclass(eq=False)
class _Features:
    """Parser of the features of one record."""

    entries: list[tuple[_Entry, Kind, dict[str, str]]]
    reader: LocationReader
    record: _Record
    identity: str

    def read(self) -> list[Feature | str]:
        """Return every feature, or its name if its location cannot be interpreted."""
        pseudo_tags = {
            tags["locus_tag"]
            for _, kind, tags in self.entries
            if kind is Kind.GENE and _is_pseudo(tags) and "locus_tag" in tags
        }
        features = [self._feature(*feature, pseudo_tags) for feature in self.entries]
        pseudogenes: dict[str, list[Feature]] = {}
        for feature in features:
            if (
                isinstance(feature, Feature)
                and feature.kind is Kind.GENE
                and feature.pseudo
                and feature.gene
            ):
                pseudogenes.setdefault(feature.gene, []).append(feature)
        return [_mark_pseudo(feature, pseudogenes) for feature in features]

    def _feature(
        self, entry: _Entry, kind: Kind, tags: dict[str, str], pseudo_tags: set[str]
    ) -> Feature | str:
        locus_tag, gene = tags.get("locus_tag", ""), tags.get("gene", "")
        name = tags.get("protein_id") or locus_tag or gene or tags.get("label", "")
        try:
            location = self.reader.read("".join(entry.location))
        except LocationError as failure:
            title = name or "".join(entry.location)[:40]
            raise self.record.failure(
                f"(`{self.identity}`) has the {entry.key} `{title}` that {failure}",
                hint="correct the location, or the shape (`circular`) in the LOCUS line",
                line=entry.line,
            ) from failure
        if not location.parts:
            return name or entry.key
        parts = location.parts
        if kind is Kind.CDS and not location.unclear:
            parts = _with_phases(location, tags.get("codon_start", "1"))
        return Feature(
            kind=kind,
            parts=parts,
            type=entry.key,
            id=name,
            gene=gene,
            locus_tag=locus_tag,
            genetic_code=genetic_code(tags.get("transl_table", "")),
            open_5=location.open_5,
            open_3=location.open_3,
            pseudo=_is_pseudo(tags) or entry.key == "pseudogene" or locus_tag in pseudo_tags,
            unclear=location.unclear,
            line=entry.line,
        )


def _mark_pseudo(
    feature: Feature | str, pseudogenes: Mapping[str, Sequence[Feature]]
) -> Feature | str:
    """Mark a feature without locus tag inside a pseudogene of its symbol as pseudo."""
    if isinstance(feature, str) or feature.pseudo or feature.locus_tag or not feature.gene:
        return feature
    inside = any(
        gene.start <= feature.start and feature.end <= gene.end
        for gene in pseudogenes.get(feature.gene, ())
    )
    return replace(feature, pseudo=True) if inside else feature


def _with_phases(location: Location, codon_start: str) -> tuple[Part, ...]:
    """Compute the phase of each part of a CDS from that of the first.

    Parts in an `order` may not be joined: after the first of them the phase is unknown.
    """
    if codon_start not in ("1", "2", "3"):
        return location.parts
    phase: int | None = int(codon_start) - 1
    phased = []
    for part in location.own_order:
        phased.append(Part(part.start, part.end, part.strand, phase))
        if phase is not None:
            phase = None if location.is_order else (phase - (part.end - part.start)) % 3
    return tuple(phased if location.parts == location.own_order else reversed(phased))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _is_open(lines: list[str]) -> bool:
    """Return True inside an unterminated quoted value."""
    return sum(line.count('"') for line in lines) % 2 == 1


def _qualifiers(lines: list[str]) -> dict[str, str]:
    """Return the first value of each key; empty for a key without value, such as `/pseudo`."""
    texts: list[list[str]] = []
    is_quoted = False
    is_balanced = not _is_open(lines)
    for line in lines:
        if line.startswith("/") and not (is_quoted and is_balanced):
            texts.append([line])
            is_quoted = False
        elif texts:
            texts[-1].append(line)
        # With unpaired quotes, every line with a slash is a qualifier, so that none is lost.
        is_quoted ^= line.count('"') % 2 == 1
    values: dict[str, str] = {}
    for text in texts:
        key, _, value = " ".join(text)[1:].partition("=")
        values.setdefault(key.strip(), value.strip().removeprefix('"').removesuffix('"').strip())
    return values


def _is_pseudo(tags: dict[str, str]) -> bool:
    return "pseudo" in tags or "pseudogene" in tags
