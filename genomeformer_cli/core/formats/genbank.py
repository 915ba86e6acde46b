"""GenBank flat files, read by gb-io: locations become parts, qualifiers become names and phases."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from genomeformer_cli.core.errors import AnnotationError, MissingExtraError
from genomeformer_cli.core.formats.feature import (
    MINUS,
    PLUS,
    Feature,
    Kind,
    Part,
    RecordFeatures,
    kind_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenBankRecord:
    """A record: its annotation, and its sequence if the file has it.

    Attributes:
        annotated: Its features, under its accession with version.
        sequence: Letters; empty if the file leaves them out.
        num_skipped: Features that lie between bases, or on another record.
    """

    annotated: RecordFeatures
    sequence: bytes
    num_skipped: int


def read_genbank(file: IO[bytes], shown: str) -> Iterator[GenBankRecord]:
    """Records one at a time.

    Args:
        file: The text.
        shown: The name used in errors.

    Raises:
        AnnotationError: It is no GenBank, or a record is cut off.
        MissingExtraError: gb-io is not installed.
    """
    try:
        gb_io = importlib.import_module("gb_io")
    except ImportError as failure:
        raise MissingExtraError(
            "reading GenBank needs the package `gb-io`",
            hint='install it with `pip install "genomeformer[annotation]"`, or give GFF3',
        ) from failure
    records = gb_io.iter(file)
    number = 0
    while True:
        number += 1
        try:
            record = next(records)
        except StopIteration:
            return
        except (RuntimeError, ValueError, TypeError) as failure:
            rest = " ".join(str(failure).partition(" while parsing [")[2].split())
            reason = str(failure).removeprefix("parser failed: ").removeprefix("Syntax error: ")
            near = f", near `{rest[:40]}`" if rest else f": {reason}"
            raise AnnotationError(
                f"`{shown}` cannot be read as GenBank in its record {number}{near}",
                hint="the file was cut off or edited: fetch or export it again",
            ) from failure
        yield _Record(gb_io, record, shown).read()


class _Record:
    def __init__(self, gb_io: Any, record: Any, shown: str) -> None:
        self._gb_io = gb_io
        self._record = record
        self._shown = shown
        version = (record.version or "").split()
        self._id = version[0] if version else (record.accession or record.name or "").split(" ")[0]

    def read(self) -> GenBankRecord:
        record = self._record
        sequence = bytes(record.sequence)
        features = [(one, _qualifiers(one)) for one in record.features if kind_of(one.kind)]
        pseudo = {
            tags["locus_tag"]
            for one, tags in features
            if one.kind == "gene" and _is_pseudo(tags)
            if "locus_tag" in tags
        }
        made = [self._feature(one, tags, pseudo) for one, tags in features]
        found = [one for one in made if one is not None]
        annotated = RecordFeatures(id=self._id, features=found, circular=bool(record.circular))
        return GenBankRecord(
            annotated=annotated, sequence=sequence, num_skipped=len(made) - len(found)
        )

    def _feature(self, one: Any, tags: dict[str, str], pseudo: set[str]) -> Feature | None:
        kind = kind_of(one.kind)
        pieces = list(self._pieces(one.location, PLUS))
        if kind is None or not pieces or None in pieces:
            return None
        parts = [piece[0] for piece in pieces if piece]
        first, last = pieces[0], pieces[-1]
        assert first is not None
        assert last is not None
        if kind is Kind.CDS:
            parts = _phased(parts, tags.get("codon_start", "1"))
        open_5, open_3 = _opens(first, 0), _opens(last, 1)
        if all(part.strand == MINUS for part in parts):
            parts.reverse()  # a feature's own order, 5' to 3', becomes that of the record
        locus_tag, gene = tags.get("locus_tag", ""), tags.get("gene", "")
        return Feature(
            kind=kind,
            parts=tuple(parts),
            id=tags.get("protein_id") or locus_tag or gene,
            gene=gene,
            locus_tag=locus_tag,
            open_5=open_5,
            open_3=open_3,
            pseudo=_is_pseudo(tags) or locus_tag in pseudo,
        )

    def _pieces(self, location: Any, strand: int) -> Iterator[tuple[Part, bool, bool] | None]:
        """Ranges in the feature's own order, each with whether its low and high end are open."""
        gb_io = self._gb_io
        if isinstance(location, gb_io.Complement):
            inner = list(self._pieces(location.location, -strand))
            yield from reversed(inner)
        elif isinstance(location, gb_io.Join | gb_io.Order):
            for one in location.locations:
                yield from self._pieces(one, strand)
        elif isinstance(location, gb_io.Range):
            part = Part(location.start, location.end, strand)
            # In `<1..5` gb-io sets `before`, in `1..>5` `after`.
            yield part, location.before, location.after
        else:
            yield None


def _opens(piece: tuple[Part, bool, bool], end: int) -> bool:
    """Whether the 5' (0) or 3' (1) end of a piece is open, by its strand."""
    part, low, high = piece
    return (low, high)[end if part.strand == PLUS else 1 - end]


def _phased(parts: list[Part], codon_start: str) -> list[Part]:
    """Give each part of a CDS its phase, from that of the first on."""
    if codon_start not in ("1", "2", "3"):
        return parts
    phase = int(codon_start) - 1
    phased = []
    for part in parts:
        phased.append(Part(part.start, part.end, part.strand, phase))
        phase = (phase - (part.end - part.start)) % 3
    return phased


def _qualifiers(feature: Any) -> dict[str, str]:
    """The first value of each key; a key without a value, such as `/pseudo`, has an empty one."""
    found: dict[str, str] = {}
    for qualifier in feature.qualifiers:
        found.setdefault(qualifier.key, qualifier.value or "")
    return found


def _is_pseudo(tags: dict[str, str]) -> bool:
    return "pseudo" in tags or "pseudogene" in tags
