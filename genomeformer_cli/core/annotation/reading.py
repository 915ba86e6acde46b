"""Records with sequence and annotation together, one at a time.

The features of one file are in memory, and the sequence of one record.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from genomeformer_cli.core.annotation.fitting import fit
from genomeformer_cli.core.annotation.intake import Intake, Reason
from genomeformer_cli.core.errors import AnnotationError, FastaError, StoreError
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.feature import Feature, Kind, RecordFeatures
from genomeformer_cli.core.formats.genbank import read_genbank
from genomeformer_cli.core.formats.gff import read_gff, refuse_annotation
from genomeformer_cli.core.formats.text import Line, local_copy, read_lines
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases

_SHOWN_IDS = 3
_FEWEST_TABS = 3


Pair = tuple[str, str | bytes, RecordFeatures, str]
"""A record's id, its letters, its features, and where it is from, for errors."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that can be read twice, and its name in messages."""

    path: Path
    shown: str

    def lines(self) -> Iterator[Line]:
        return read_lines(self.path, shown=self.shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedRecord:
    """A record ready to be cut.

    Attributes:
        id: Id in the FASTA file, or in GenBank the accession with version.
        codes: Base codes.
        features: Features, with coordinates that were checked against the sequence.
        circular: The record is a circle.
    """

    id: str
    codes: Codes
    features: tuple[Feature, ...]
    circular: bool


def annotated_records(
    fasta: Path | None, annotation: Path, *, reporter: Reporter, intake: Intake | None = None
) -> Iterator[AnnotatedRecord]:
    """Yield every record that has both sequence and genes, in the order of the sequences.

    Args:
        fasta: Sequences; None: they are in the annotation.
        annotation: GFF3 or GenBank, of any packing; `-` is standard input.
        reporter: Gets warnings of what is left out.
        intake: Gets the counts of records and features.

    Raises:
        AnnotationError: The annotation cannot be read, or is of other sequences.
        FormatError, AlphabetError: The sequences cannot be read.
    """
    intake = intake or Intake()
    with ExitStack() as stack:
        genes = _File(*stack.enter_context(local_copy(str(annotation), command="windows")))
        sequences = None
        if fasta is not None:
            sequences = _File(*stack.enter_context(local_copy(str(fasta), command="windows")))
        if not _is_genbank(genes):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="genomeformer-")))
            known, embedded = _gff(genes, folder if sequences is None else None)
            pairs = _fasta_pairs(sequences or embedded, known, genes.shown, reporter, intake)
        elif sequences is None:
            pairs = _genbank_pairs(genes, reporter, intake)
        else:
            known = {
                one.annotated.id: one.annotated for one in read_genbank(genes.lines(), genes.shown)
            }
            pairs = _fasta_pairs(sequences, known, genes.shown, reporter, intake)
        yield from _checked(pairs, genes.shown, reporter, intake)


def _checked(
    pairs: Iterator[Pair], shown: str, reporter: Reporter, intake: Intake
) -> Iterator[AnnotatedRecord]:
    oddities = _Oddities()
    for name, letters, annotated, where in pairs:
        codes = encode_bases(letters, where=where)
        features = fit(annotated, codes.size, shown, intake.features)
        intake.records.used += 1
        intake.num_pseudo += sum(one.pseudo and not one.unclear for one in features)
        oddities.look(features)
        yield AnnotatedRecord(id=name, codes=codes, features=features, circular=annotated.circular)
    oddities.warn(shown, reporter)
    intake.warn(shown, reporter)


def _genbank_pairs(genes: _File, reporter: Reporter, intake: Intake) -> Iterator[Pair]:
    shown = genes.shown
    for record in read_genbank(genes.lines(), shown):
        annotated = record.annotated
        _count(annotated, intake)
        intake.records.read += 1
        if not record.sequence:
            raise AnnotationError(
                f"`{shown}`: record `{annotated.id}` has no sequence",
                hint="give its FASTA file with `--fasta FILE`",
            )
        if annotated.has_genes:
            yield annotated.id, record.sequence, annotated, f"`{shown}`: record `{annotated.id}`"
        else:
            _leave_out(annotated, Reason.NO_GENES, intake)
            intake.records.leave_out(Reason.UNANNOTATED)
            reporter.warn(f"record `{annotated.id}` has no genes annotated: no windows from it")


def _fasta_pairs(
    fasta: _File,
    known: Mapping[str, RecordFeatures],
    shown: str,
    reporter: Reporter,
    intake: Intake,
) -> Iterator[Pair]:
    without: list[str] = []
    seen: set[str] = set()
    used = 0
    for annotated in known.values():
        _count(annotated, intake)
    for record in read_records(fasta.path, shown=fasta.shown, reporter=reporter):
        intake.records.read += 1
        found = known.get(record.id)
        if found is not None and record.id in seen:
            raise FastaError(
                f"`{fasta.shown}` has two records `{record.id}`: which one is annotated?",
                hint="give each record an id of its own",
            )
        seen.add(record.id)
        if found is None or not found.has_genes:
            without.append(record.id)
            intake.records.leave_out(Reason.UNANNOTATED)
            if found is not None:
                _leave_out(found, Reason.NO_GENES, intake)
            continue
        used += 1
        yield record.id, record.sequence, found, f"`{fasta.shown}`: record `{record.id}`"
    if not used:
        raise AnnotationError(
            f"no sequence of `{fasta.shown}` is annotated in `{shown}`: {_some(without)} "
            f"against {_some([one.id for one in known.values() if one.has_genes])}",
            hint="both must use the same ids: take both files from the same source, or rename",
        )
    if without:
        reporter.warn(f"no genes are annotated on {_some(without)}: no windows from there")
    missing = [one for one in known.values() if one.id not in seen]
    for one in missing:
        intake.records.read += 1
        intake.records.leave_out(Reason.MISSING)
        _leave_out(one, Reason.NO_SEQUENCE, intake)
    if missing := [one for one in missing if one.has_genes]:
        number = sum(one.num_features - one.num_described for one in missing)
        reporter.warn(
            f"`{fasta.shown}` lacks annotated sequences: {_some([one.id for one in missing])}, "
            f"with {number:,} features"
        )


def _count(annotated: RecordFeatures, intake: Intake) -> None:
    intake.features.read += annotated.num_features
    intake.features.leave_out(Reason.DESCRIBES, annotated.num_described)


def _leave_out(annotated: RecordFeatures, reason: Reason, intake: Intake) -> None:
    intake.features.leave_out(reason, annotated.num_features - annotated.num_described)


def _gff(genes: _File, folder: Path | None) -> tuple[dict[str, RecordFeatures], _File]:
    """Read annotation, and put the sequences after it into a file of their own.

    Args:
        genes: GFF3.
        folder: Place for the sequences; None: they are not needed.

    Returns:
        Annotation by record, and the sequences if they are needed.
    """
    shown = genes.shown
    lines = genes.lines()
    read = read_gff(lines, shown)
    if folder is None:
        for line in lines:
            refuse_annotation(line, shown)
        return read.records, genes
    if not read.has_sequences:
        raise AnnotationError(
            f"`{shown}` is GFF3 without sequences: it has no `##FASTA` section",
            hint="give the sequences with `--fasta FILE`, or a `--genome` of the cache",
        )
    first = [read.sequence_line] if read.sequence_line is not None else []
    path = folder / "sequences.fa"
    try:
        with path.open("w", encoding="utf-8") as file:
            for line in chain(first, lines):
                refuse_annotation(line, shown)
                file.write(f"{line.text}\n")
    except OSError as failure:
        raise StoreError(
            f"could not keep a copy of the sequences of `{shown}`: {failure.strerror or failure}",
            hint="free some space, or set `TMPDIR` to a folder that has some",
        ) from failure
    return read.records, _File(path, f"{shown} (its sequences)")


class _Oddities:
    """Counts of features that give fewer windows than one may expect."""

    def __init__(self) -> None:
        self._without_phase = 0
        self._without_strand = 0

    def look(self, features: tuple[Feature, ...]) -> None:
        coding = [one for one in features if one.kind is Kind.CDS and one.is_certain]
        without_strand = [one for one in coding if any(not part.strand for part in one.parts)]
        self._without_strand += len(without_strand)
        self._without_phase += sum(
            any(part.phase is None and part.strand for part in one.parts) for one in coding
        )

    def warn(self, shown: str, reporter: Reporter) -> None:
        if self._without_phase:
            reporter.warn(
                f"`{shown}` gives {self._without_phase} CDS no phase: no coding windows from there"
            )
        if self._without_strand:
            reporter.warn(
                f"`{shown}` gives {self._without_strand} CDS no strand: no coding windows from them"
            )


def _some(names: list[str]) -> str:
    text = ", ".join(f"`{name}`" for name in names[:_SHOWN_IDS]) or "nothing"
    more = len(names) - _SHOWN_IDS
    return f"{text} and {more} more" if more > 0 else text


def _is_genbank(genes: _File) -> bool:
    """Return whether the file is GenBank, and not GFF3, by its first line that is not a comment."""
    shown = genes.shown
    commented = False
    for line in genes.lines():
        text = line.text.strip()
        if re.match(r"LOCUS(\s|$)", text):
            return True
        if text.casefold().startswith("##gff-version"):
            return False
        if not text or text.startswith("#"):
            commented |= bool(text)
            continue
        if text.count("\t") >= _FEWEST_TABS:
            return False
        what = "neither GFF3 nor GenBank"
        if text.startswith(">"):
            what = "FASTA, which has no annotation"
        elif re.match(r"ID {3}", text):
            what = "EMBL, which is not read"
        raise AnnotationError(f"`{shown}` is {what}", hint="give GFF3 or GenBank, of any packing")
    what = "has only comments" if commented else "is empty"
    raise AnnotationError(f"`{shown}` {what}", hint="give GFF3 or GenBank")
