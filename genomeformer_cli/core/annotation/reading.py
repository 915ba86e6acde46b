"""Records with sequence and annotation together, one at a time.

The features of one file are in memory, and the sequence of one record.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.errors import AnnotationError, FastaError
from genomeformer_cli.core.formats.fasta import local_copy, read_records
from genomeformer_cli.core.formats.feature import Feature, Kind, RecordFeatures, unwrap
from genomeformer_cli.core.formats.genbank import read_genbank
from genomeformer_cli.core.formats.gff import read_gff
from genomeformer_cli.core.formats.inflate import TextReader
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases

_SHOWN_IDS = 3


Pair = tuple[str, str | bytes, RecordFeatures, str]
"""A record's id, its letters, its features, and where it is from, for errors."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that can be read twice, and its name in messages."""

    path: Path
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedRecord:
    """A record ready to be cut.

    Attributes:
        id: As in the FASTA file, or in GenBank its accession with version.
        codes: Base codes.
        features: With coordinates that were checked against the sequence.
        circular: Whether the record is a circle.
    """

    id: str
    codes: Codes
    features: tuple[Feature, ...]
    circular: bool


def annotated_records(
    fasta: Path | None, annotation: Path, *, reporter: Reporter
) -> Iterator[AnnotatedRecord]:
    """Every record that has both sequence and genes, in the order of the sequences.

    Args:
        fasta: Sequences; None: they are in the annotation, a GenBank file.
        annotation: GFF3 or GenBank, plain or gzip'd; `-` is standard input.
        reporter: Is told of what is left out.

    Raises:
        AnnotationError: The annotation cannot be read, or is of other sequences.
        FastaError, AlphabetError: The sequences cannot be read.
        MissingExtraError: GenBank needs the extra `annotation`.
    """
    with ExitStack() as stack:
        genes = _File(*stack.enter_context(local_copy(str(annotation))))
        if fasta is None:
            pairs = _alone(genes, reporter)
        else:
            sequences = _File(*stack.enter_context(local_copy(str(fasta))))
            pairs = _fasta_pairs(sequences, _features(genes, reporter), genes.shown, reporter)
        yield from _checked(pairs, genes.shown, reporter)


def _checked(pairs: Iterator[Pair], shown: str, reporter: Reporter) -> Iterator[AnnotatedRecord]:
    oddities = _Oddities()
    for name, letters, annotated, where in pairs:
        codes = encode_bases(letters, where=where)
        features = tuple(_fitted(one, codes.size, annotated, shown) for one in annotated.features)
        oddities.look(features)
        yield AnnotatedRecord(id=name, codes=codes, features=features, circular=annotated.circular)
    oddities.tell(shown, reporter)


def _alone(genes: _File, reporter: Reporter) -> Iterator[Pair]:
    shown = genes.shown
    if not _is_genbank(genes):
        raise AnnotationError(
            f"`{shown}` is GFF3, which we read no sequence from",
            hint="give the sequence with `--fasta FILE`, or a `--genome` of the cache",
        )
    num_skipped = 0
    for record in read_genbank(_stream(genes), shown):
        annotated = record.annotated
        num_skipped += record.num_skipped
        if not record.sequence:
            raise AnnotationError(
                f"`{shown}`: record `{annotated.id}` has no sequence",
                hint="give its FASTA file with `--fasta FILE`",
            )
        if annotated.features:
            yield annotated.id, record.sequence, annotated, f"`{shown}`: record `{annotated.id}`"
        else:
            reporter.warn(f"record `{annotated.id}` has no genes annotated: no windows from it")
    _warn_skipped(num_skipped, shown, reporter)


def _fasta_pairs(
    fasta: _File, known: Mapping[str, RecordFeatures], shown: str, reporter: Reporter
) -> Iterator[Pair]:
    without: list[str] = []
    used: set[str] = set()
    for record in read_records(fasta.path, shown=fasta.shown):
        annotated = known.get(record.id)
        if annotated is None or not annotated.features:
            without.append(record.id)
            continue
        if record.id in used:
            raise FastaError(
                f"`{fasta.shown}` has two records `{record.id}`: which one is annotated?",
                hint="give each record an id of its own",
            )
        used.add(record.id)
        yield record.id, record.sequence, annotated, f"`{fasta.shown}`: record `{record.id}`"
    if not used:
        raise AnnotationError(
            f"no sequence of `{fasta.shown}` is annotated in `{shown}`: {_some(without)} "
            f"against {_some([one.id for one in known.values() if one.features])}",
            hint="both must use the same ids: take both files from the same source, or rename",
        )
    if without:
        reporter.warn(f"no genes are annotated on {_some(without)}: no windows from there")
    unused = [one.id for one in known.values() if one.features and one.id not in used]
    if unused:
        reporter.warn(f"`{fasta.shown}` lacks annotated sequences: {_some(unused)}")


def _features(genes: _File, reporter: Reporter) -> dict[str, RecordFeatures]:
    shown = genes.shown
    if not _is_genbank(genes):
        lines = io.TextIOWrapper(_stream(genes), "utf-8")
        try:
            return read_gff((line.rstrip("\r\n") for line in lines), shown)
        except UnicodeDecodeError as failure:
            raise AnnotationError(
                f"`{shown}` is no UTF-8 text", hint="fetch or export the file again"
            ) from failure
    found: dict[str, RecordFeatures] = {}
    num_skipped = 0
    for record in read_genbank(_stream(genes), shown):
        found[record.annotated.id] = record.annotated
        num_skipped += record.num_skipped
    _warn_skipped(num_skipped, shown, reporter)
    return found


def _fitted(feature: Feature, length: int, annotated: RecordFeatures, shown: str) -> Feature:
    """The feature in the coordinates of its record, or an error if it cannot be of it."""
    if annotated.circular and feature.strand:
        feature = replace(feature, parts=unwrap(feature.parts, length))
    beyond = feature.start >= length or feature.end > (2 * length if annotated.circular else length)
    if beyond or feature.start < 0:
        circle = "" if annotated.circular else ", and the record is not marked as a circle"
        raise AnnotationError(
            f"`{shown}`: `{feature.id or feature.gene}` ends at base {feature.end:,} of "
            f"`{annotated.id}`, which has {length:,}{circle}",
            hint="the annotation is of another version of the sequence: fetch both together",
        )
    return feature


class _Oddities:
    """Counts what the rules leave out, for one warning at the end."""

    def __init__(self) -> None:
        self._without_phase = 0

    def look(self, features: tuple[Feature, ...]) -> None:
        self._without_phase += sum(
            one.kind is Kind.CDS and any(part.phase is None for part in one.parts)
            for one in features
        )

    def tell(self, shown: str, reporter: Reporter) -> None:
        if self._without_phase:
            reporter.warn(
                f"`{shown}` gives {self._without_phase} CDS no phase: no coding windows from them"
            )


def _warn_skipped(number: int, shown: str, reporter: Reporter) -> None:
    if number:
        reporter.warn(
            f"`{shown}`: {number} features lie between bases or on other records: left out"
        )


def _some(names: list[str]) -> str:
    text = ", ".join(f"`{name}`" for name in names[:_SHOWN_IDS]) or "nothing"
    more = len(names) - _SHOWN_IDS
    return f"{text} and {more} more" if more > 0 else text


def _is_genbank(genes: _File) -> bool:
    shown = genes.shown
    text = next(TextReader(genes.path, shown).chunks(), b"").lstrip()
    if text.startswith(b"LOCUS "):
        return True
    line = next((one for one in text.splitlines() if one and not one.startswith(b"#")), b"")
    if text.startswith(b"##gff-version") or line.count(b"\t") == 8:
        return False
    if not text:
        raise AnnotationError(f"`{shown}` is empty", hint="give GFF3 or GenBank")
    what = "FASTA, which has no annotation" if text.startswith(b">") else "neither GFF3 nor GenBank"
    raise AnnotationError(f"`{shown}` is {what}", hint="give GFF3 or GenBank, plain or gzip'd")


def _stream(file: _File) -> io.BufferedReader:
    return io.BufferedReader(_Text(file.path, file.shown))


class _Text(io.RawIOBase):
    """The verified text of a file as a stream, for parsers that read one."""

    def __init__(self, path: Path, shown: str) -> None:
        self._chunks = TextReader(path, shown).chunks()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if not self._rest:
            self._rest = next(self._chunks, b"")
        taken = self._rest[: len(view)]
        view[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
