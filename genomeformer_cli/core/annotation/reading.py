"""Reader of records with sequence and annotation.

The features of one file and the sequence of one record are held in memory.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from genomeformer_cli.core.annotation.fitting import fit
from genomeformer_cli.core.annotation.intake import Intake, Reason
from genomeformer_cli.core.errors import AnnotationError, FastaError, StoreError
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.feature import Feature, Kind, RecordFeatures
from genomeformer_cli.core.formats.genbank import read_genbank
from genomeformer_cli.core.formats.gff import read_gff, refuse_annotation
from genomeformer_cli.core.formats.text import NamedFile, local_copy
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases

_SHOWN_IDS = 3
_MIN_TABS = 3


Pair = tuple[str, Codes, RecordFeatures]
"""A record's id, its base codes, and its features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedRecord:
    """Record with sequence and features."""

    id: str  # Id in the FASTA file, or accession with version in GenBank.
    codes: Codes  # Base codes.
    features: tuple[Feature, ...]  # Features in the coordinates of the sequence.
    circular: bool  # True for a circular record.
    # True if parts on both strands are in biological order; GFF3 does not define an order.
    in_order: bool = True


def annotated_records(
    fasta: Path | NamedFile | None,
    annotation: Path | NamedFile,
    *,
    reporter: Reporter,
    intake: Intake | None = None,
    needs_genes: bool = True,
) -> Iterator[AnnotatedRecord]:
    """Yield every record that has both sequence and genes, in the order of the sequences.

    Args:
        fasta: Sequences; None if they are in the annotation.
        annotation: GFF3 or GenBank file, plain or compressed; `-` is standard input.
        reporter: Receives warnings.
        intake: Receives the counts of records and features.
        needs_genes: Leave out records whose annotation has no genes or parts of genes.

    Raises:
        AnnotationError: The annotation cannot be read, or belongs to other sequences.
        FormatError, AlphabetError: The sequences cannot be read.
    """
    reading = _Reading(reporter, intake or Intake(), needs_genes)
    with ExitStack() as stack:
        genes = _open(annotation, stack)
        sequences = _open(fasta, stack) if fasta is not None else None
        if not _is_genbank(genes):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="genomeformer-")))
            by_id, embedded = _gff(genes, folder if sequences is None else None)
            pairs = _fasta_pairs(sequences or embedded, by_id, genes.display_name, reading)
        elif sequences is None:
            pairs = _genbank_pairs(genes, reading)
        else:
            by_id = {
                genbank.annotated.id: genbank.annotated
                for genbank in read_genbank(genes.lines(), genes.display_name)
            }
            pairs = _fasta_pairs(sequences, by_id, genes.display_name, reading)
        yield from _fit_records(pairs, genes.display_name, reading)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Receivers of messages and counts, and the records to use."""

    reporter: Reporter
    intake: Intake
    needs_genes: bool

    def is_used(self, annotated: RecordFeatures) -> bool:
        """Return True if the annotation of a record is used."""
        return annotated.has_genes or not self.needs_genes


def _open(file: Path | NamedFile, stack: ExitStack) -> NamedFile:
    if isinstance(file, NamedFile):
        return file
    return NamedFile(*stack.enter_context(local_copy(str(file), command="windows")))


def _fit_records(
    pairs: Iterator[Pair], display_name: str, reading: _Reading
) -> Iterator[AnnotatedRecord]:
    intake = reading.intake
    problems = _CodingProblems()
    for name, codes, annotated in pairs:
        features = fit(annotated, codes.size, display_name, intake.features)
        intake.records.used += 1
        intake.num_pseudo += sum(feature.pseudo and not feature.unclear for feature in features)
        problems.count(features)
        yield AnnotatedRecord(
            id=name,
            codes=codes,
            features=features,
            circular=annotated.circular,
            in_order=annotated.in_order,
        )
    if reading.needs_genes:
        problems.warn(display_name, reading.reporter)
        intake.warn(display_name, reading.reporter)


def _genbank_pairs(genes: NamedFile, reading: _Reading) -> Iterator[Pair]:
    intake = reading.intake
    display_name = genes.display_name
    for record in read_genbank(genes.lines(), display_name):
        annotated = record.annotated
        _count(annotated, intake)
        intake.records.read += 1
        if not record.sequence:
            raise AnnotationError(
                f"`{display_name}`: record `{annotated.id}` has no sequence",
                hint="give its FASTA file too: `--genome FASTA --gff THIS`, or in `windows` "
                "`--fasta FASTA --gff THIS`",
            )
        if reading.is_used(annotated):
            where = f"`{display_name}`: record `{annotated.id}`"
            yield annotated.id, encode_bases(record.sequence, where=where), annotated
        else:
            _leave_out(annotated, Reason.NO_GENES, intake)
            intake.records.leave_out(Reason.UNANNOTATED)
            reading.reporter.warn(
                f"record `{annotated.id}` has no genes annotated: nothing is cut from it"
            )


def _fasta_pairs(
    fasta: NamedFile,
    by_id: Mapping[str, RecordFeatures],
    display_name: str,
    reading: _Reading,
) -> Iterator[Pair]:
    intake, reporter = reading.intake, reading.reporter
    without: list[str] = []
    ids: set[str] = set()
    used = 0
    for annotated in by_id.values():
        _count(annotated, intake)
    for record in read_any_sequences(
        fasta.path, display_name=fasta.display_name, reporter=reporter
    ):
        intake.records.read += 1
        annotated_record = by_id.get(record.id)
        if annotated_record is not None and record.id in ids:
            raise FastaError(
                f"`{fasta.display_name}` has two records `{record.id}`, and one of them is "
                "annotated",
                hint="give each record an id of its own",
            )
        ids.add(record.id)
        if annotated_record is None or not reading.is_used(annotated_record):
            without.append(record.id)
            intake.records.leave_out(Reason.UNANNOTATED)
            if annotated_record is not None:
                _leave_out(annotated_record, Reason.NO_GENES, intake)
            continue
        used += 1
        yield record.id, record.codes, annotated_record
    if not used:
        raise _nothing_annotated(fasta.display_name, display_name, without, by_id.values())
    if without:
        reporter.warn(f"no genes are annotated on {_preview(without)}: nothing is cut from there")
    missing = [features for features in by_id.values() if features.id not in ids]
    for features in missing:
        intake.records.read += 1
        intake.records.leave_out(Reason.MISSING)
        _leave_out(features, Reason.NO_SEQUENCE, intake)
    if missing := [features for features in missing if features.has_genes]:
        number = sum(features.num_features - features.num_described for features in missing)
        reporter.warn(
            f"`{fasta.display_name}` lacks annotated sequences: "
            f"{_preview([features.id for features in missing])}, with {number:,} features"
        )


def _nothing_annotated(
    fasta: str, annotation: str, without: list[str], records: Collection[RecordFeatures]
) -> AnnotationError:
    """Build the error for sequences of which none has annotated genes."""
    ids = [features.id for features in records]
    with_genes = [features.id for features in records if features.has_genes]
    if not with_genes:
        return AnnotationError(
            f"`{annotation}` has no gene, CDS, tRNA or rRNA features on {_preview(ids)}",
            hint="labels are made from these types; check the third column or the feature keys",
        )
    return AnnotationError(
        f"no sequence of `{fasta}` is annotated in `{annotation}`: {_preview(without)} "
        f"against {_preview(with_genes)}",
        hint="both must use the same ids: take both files from the same source, or rename",
    )


def _count(annotated: RecordFeatures, intake: Intake) -> None:
    intake.features.read += annotated.num_features
    intake.features.leave_out(Reason.DESCRIBES, annotated.num_described)


def _leave_out(annotated: RecordFeatures, reason: Reason, intake: Intake) -> None:
    intake.features.leave_out(reason, annotated.num_features - annotated.num_described)


def _gff(genes: NamedFile, folder: Path | None) -> tuple[dict[str, RecordFeatures], NamedFile]:
    """Read annotation, and copy the sequences after it to a separate file.

    Args:
        genes: GFF3 file.
        folder: Folder for the sequences; None if they are not needed.

    Returns:
        Annotation by record, and the file of the sequences if they are needed.
    """
    display_name = genes.display_name
    lines = genes.lines()
    parsed = read_gff(lines, display_name)
    if folder is None:
        for line in lines:
            refuse_annotation(line, display_name)
        return parsed.records, genes
    if not parsed.has_sequences:
        raise AnnotationError(
            f"`{display_name}` is GFF3 without sequences: it has no `##FASTA` section",
            hint="give the sequences with `--fasta FILE`, or a `--genome` of the cache",
        )
    first = [parsed.sequence_line] if parsed.sequence_line is not None else []
    path = folder / "sequences.fa"
    try:
        with path.open("w", encoding="utf-8") as file:
            for line in chain(first, lines):
                refuse_annotation(line, display_name)
                file.write(f"{line.text}\n")
    except OSError as failure:
        raise StoreError(
            f"could not keep a copy of the sequences of `{display_name}`: "
            f"{failure.strerror or failure}",
            hint="free some space, or set `TMPDIR` to a folder that has some",
        ) from failure
    return parsed.records, NamedFile(path, f"{display_name} (its sequences)")


class _CodingProblems:
    """Number of CDS without phase or strand, which give no coding windows."""

    def __init__(self) -> None:
        self._without_phase = 0
        self._without_strand = 0

    def count(self, features: tuple[Feature, ...]) -> None:
        coding = [
            feature for feature in features if feature.kind is Kind.CDS and feature.is_certain
        ]
        without_strand = [
            feature for feature in coding if any(not part.strand for part in feature.parts)
        ]
        self._without_strand += len(without_strand)
        self._without_phase += sum(
            any(part.phase is None and part.strand for part in feature.parts) for feature in coding
        )

    def warn(self, display_name: str, reporter: Reporter) -> None:
        if self._without_phase:
            reporter.warn(
                f"`{display_name}` gives {self._without_phase} CDS no phase: no coding windows "
                "from there"
            )
        if self._without_strand:
            reporter.warn(
                f"`{display_name}` gives {self._without_strand} CDS no strand: no coding "
                "windows from them"
            )


def _preview(names: list[str]) -> str:
    text = ", ".join(f"`{name}`" for name in names[:_SHOWN_IDS]) or "nothing"
    num_more = len(names) - _SHOWN_IDS
    return f"{text} and {num_more} more" if num_more > 0 else text


def _is_genbank(genes: NamedFile) -> bool:
    """Return True for GenBank, False for GFF3, from the first line that is not a comment."""
    display_name = genes.display_name
    has_comments = False
    for line in genes.lines():
        text = line.text.strip()
        if re.match(r"LOCUS(\s|$)", text):
            return True
        if text.casefold().startswith("##gff-version"):
            return False
        if not text or text.startswith("#"):
            has_comments |= bool(text)
            continue
        if text.count("\t") >= _MIN_TABS:
            return False
        description = "neither GFF3 nor GenBank"
        if text.startswith(">"):
            description = "FASTA, which has no annotation"
        elif re.match(r"ID {3}", text):
            description = "EMBL, which is not read"
        raise AnnotationError(
            f"`{display_name}` is {description}", hint="give GFF3 or GenBank, of any packing"
        )
    description = "has only comments" if has_comments else "is empty"
    raise AnnotationError(f"`{display_name}` {description}", hint="give GFF3 or GenBank")
