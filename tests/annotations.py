"""Annotation for tests: real files, small ones written on the spot, features drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from genomeformer_cli.core.annotation.reading import AnnotatedRecord, annotated_records
from genomeformer_cli.core.formats.feature import (
    MINUS,
    PLUS,
    Feature,
    Kind,
    Part,
    RecordFeatures,
)
from genomeformer_cli.core.formats.genbank import read_genbank
from genomeformer_cli.core.formats.gff import read_gff
from genomeformer_cli.core.formats.text import Line
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.sequence import encode_bases

DATA = Path(__file__).parent / "data" / "annotation"
PHIX = DATA / "NC_001422.1.gb.gz"
MYCOPLASMA_GFF = DATA / "NC_000908.2.gff.gz"
MYCOPLASMA_GENBANK = DATA / "NC_000908.2.gb.gz"
SAMPLES = Path(__file__).parents[1] / "genomeformer_cli" / "assets" / "genomes"
MYCOPLASMA_FASTA = SAMPLES / "NC_000908.2.fa.gz"
PHIX_FASTA = SAMPLES / "NC_001422.1.fa.gz"


def gff(*rows: str, circular: tuple[str, int] | None = None) -> str:
    """GFF3 of rows `SEQID TYPE START END STRAND PHASE ATTRIBUTES`, separated by blanks."""
    lines = ["##gff-version 3"]
    if circular:
        rows = (f"{circular[0]} region 1 {circular[1]} + . Is_circular=true", *rows)
    for row in rows:
        seqid, kind, start, end, strand, phase, attributes = row.split(" ")
        lines.append("\t".join([seqid, "test", kind, start, end, ".", strand, phase, attributes]))
    return "\n".join(lines) + "\n"


def genbank(sequence: str, *features: str, circular: bool = False, name: str = "X") -> str:
    """A GenBank record; a feature is `KIND LOCATION /QUALIFIER /QUALIFIER ...`."""
    shape = "circular" if circular else "linear  "
    lines = [
        f"LOCUS       {name:<16} {len(sequence):>11} bp    DNA     {shape} BCT 01-JAN-2000",
        f"ACCESSION   {name}",
        f"VERSION     {name}.1",
        "FEATURES             Location/Qualifiers",
    ]
    for feature in features:
        kind, location, *qualifiers = feature.split(" ")
        lines.append(f"     {kind:<16}{location}")
        lines += [f"                     {qualifier}" for qualifier in qualifiers]
    lines.append("ORIGIN")
    for at in range(0, len(sequence), 60):
        row = sequence[at : at + 60].lower()
        words = " ".join(row[n : n + 10] for n in range(0, len(row), 10))
        lines.append(f"{at + 1:>9} {words}")
    return "\n".join([*lines, "//", ""])


def lines_of(text: str) -> Iterator[Line]:
    return (Line(number, line) for number, line in enumerate(text.splitlines(), start=1))


def gff_records(text: str) -> list[RecordFeatures]:
    return list(read_gff(lines_of(text), "x.gff").records.values())


def genbank_records(text: str) -> list[RecordFeatures]:
    return [record.annotated for record in read_genbank(lines_of(text), "x.gb")]


def read_text(
    folder: Path, annotation: str, fasta: str | None = None, *, reporter: Reporter | None = None
) -> list[AnnotatedRecord]:
    """Put texts into files, and read those."""
    path = folder / "annotation.txt"
    path.write_text(annotation, encoding="utf-8")
    sequences = None
    if fasta is not None:
        sequences = folder / "sequences.fa"
        sequences.write_text(fasta, encoding="utf-8")
    return list(annotated_records(sequences, path, reporter=reporter or SilentReporter()))


def record_of(sequence: str, *features: Feature, circular: bool = False) -> AnnotatedRecord:
    return AnnotatedRecord(
        id="r", codes=encode_bases(sequence), features=features, circular=circular
    )


def feature(kind: Kind, start: int, end: int, strand: int = PLUS, phase: int = 0) -> Feature:
    part = Part(start, end, strand, phase if kind is Kind.CDS else None)
    return Feature(kind=kind, parts=(part,), id=f"{kind.name}{start}-{end}")


@st.composite
def annotated(draw: st.DrawFn) -> AnnotatedRecord:
    """A small record with a few features anywhere on it, on a circle also across its origin."""
    length = draw(st.integers(30, 200))
    circular = draw(st.booleans())
    features = []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, length - 2))
        longest = length - 1 if circular else length - start
        end = start + draw(st.integers(1, max(1, min(longest, 80))))
        kind = draw(st.sampled_from([Kind.CDS, Kind.CDS, Kind.GENE, Kind.RRNA, Kind.OTHER]))
        strand = draw(st.sampled_from([PLUS, MINUS]))
        features.append(feature(kind, start, end, strand, draw(st.integers(0, 2))))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    sequence = "".join("ACGT"[n] for n in generator.integers(0, 4, length))
    return record_of(sequence, *features, circular=circular)
