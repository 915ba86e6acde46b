"""Held-out sequences of a corpus or of files, with the region of each base if annotated.

Shape letters: L bases of a record, W windows, T tokens per window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.base_labels import feature_intervals, mark_intervals
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.feature import PLUS, Feature, Kind
from genomeformer_cli.core.formats.groups import GroupBy, group_name
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Tokenizer

OTHER, INTERGENIC = 0, 4
REGIONS = ("other", "codon position 1", "codon position 2", "codon position 3", "intergenic")


@dataclass(frozen=True, kw_only=True)
class HeldOutSequence:
    """Held-out sequence."""

    group: str  # Name of the row of the table.
    record: str  # Record id.
    codes: Codes  # Base codes.
    # Region of each base, an index into `REGIONS`; None without annotation.
    regions_L: npt.NDArray[np.uint8] | None = None


def corpus_sequences(corpus: Corpus, by: GroupBy) -> list[HeldOutSequence]:
    """Return the validation split of a corpus."""
    return [
        HeldOutSequence(
            group=group_name(segment.genome, segment.record, by),
            record=segment.record,
            codes=encode_bases(corpus.tokenizer.decode(corpus.tokens(segment))),
        )
        for segment in corpus.segments("validation")
    ]


def file_sequences(
    paths: Sequence[Path], by: GroupBy, reporter: Reporter | None = None
) -> list[HeldOutSequence]:
    """Return every record of files of sequences; each file is a genome.

    Args:
        paths: FASTA, FASTQ, GenBank or tables of sequences, of any compression.
        by: Unit of a row of the table.
        reporter: Receives notes of the reader.
    """
    return [
        HeldOutSequence(
            group=group_name(path.name, record.id, by),
            record=record.id,
            codes=record.codes,
        )
        for path in paths
        for record in read_any_sequences(path, reporter=reporter)
    ]


def annotated_sequences(
    fasta: Path | None, annotation: Path, by: GroupBy, reporter: Reporter
) -> list[HeldOutSequence]:
    """Return annotated records with the region of each base.

    Raises:
        AnnotationError: The annotation cannot be read, or belongs to other sequences.
    """
    return [
        HeldOutSequence(
            group=group_name((fasta or annotation).name, record.id, by),
            record=record.id,
            codes=record.codes,
            regions_L=regions(record.features, record.codes.size, circular=record.circular),
        )
        for record in annotated_records(fasta, annotation, reporter=reporter)
    ]


def regions(features: Sequence[Feature], length: int, *, circular: bool) -> npt.NDArray[np.uint8]:
    """Return the region of each base, an index into `REGIONS`.

    A base is `other` if coding sequences assign it different codon positions, or if a gene but no
    coding sequence covers it. A base that no feature covers is intergenic.
    """
    covered_L = mark_intervals(feature_intervals(features), length, circular=circular)
    positions_L = np.zeros(length, dtype=np.uint8)
    for feature in features:
        if feature.kind is Kind.CDS and feature.is_certain:
            for part in feature.parts:
                if part.phase is None or not part.strand:
                    continue
                positions = np.arange(part.start, part.end) % length
                positions = positions if part.strand == PLUS else positions[::-1]
                for position in range(3):
                    # A part's first `phase` bases end a codon that began before it.
                    positions_L[positions[(part.phase + position) % 3 :: 3]] |= np.uint8(
                        1 << position
                    )
    regions_L = np.full(length, OTHER, dtype=np.uint8)
    for position in range(3):
        regions_L[positions_L == 1 << position] = position + 1
    regions_L[~covered_L] = INTERGENIC
    return regions_L


@dataclass(frozen=True, kw_only=True)
class SequenceWindows:
    """Non-overlapping windows, evenly spread over each group."""

    tokens_WT: npt.NDArray[np.int64]  # Token ids, padded at the end.
    groups_W: npt.NDArray[np.int64]  # Group of each window, an index into `groups`.
    groups: tuple[str, ...]  # Group names.
    regions_WT: npt.NDArray[np.uint8] | None  # Region of each base; None without annotation.


def cut_sequences(
    sequences: Sequence[HeldOutSequence], tokenizer: Tokenizer, *, length: int, max_windows: int
) -> SequenceWindows:
    """Cut sequences into windows of one token per base.

    Windows are ordered by the content of their groups: the order of files or genomes does not
    change the queries.

    Args:
        sequences: Sequences; records shorter than a window become padded windows.
        tokenizer: Tokenizer with one token per base.
        length: Window length.
        max_windows: Maximum number of windows per group.
    """
    groups = tuple(dict.fromkeys(sequence.group for sequence in sequences))
    annotated = any(sequence.regions_L is not None for sequence in sequences)
    rows: list[tuple[int, HeldOutSequence, int]] = []
    sequences = sorted_by_content(sequences)
    for group in dict.fromkeys(sequence.group for sequence in sequences):
        index = groups.index(group)
        starts = [
            position
            for sequence in sequences
            if sequence.group == group
            for position in _window_starts(sequence, length)
        ]
        if len(starts) > max_windows:
            selected = np.linspace(0, len(starts) - 1, max_windows).round().astype(int)
            starts = [starts[number] for number in selected]
        rows += [(index, sequence, start) for sequence, start in starts]
    tokens_WT = np.full((len(rows), length), PAD_ID, dtype=np.int64)
    regions_WT = np.full((len(rows), length), OTHER, dtype=np.uint8)
    for row, (_, sequence, start) in enumerate(rows):
        codes = sequence.codes[start : start + length]
        tokens_WT[row, : codes.size] = tokenizer.encode(codes)
        if sequence.regions_L is not None:
            regions_WT[row, : codes.size] = sequence.regions_L[start : start + length]
    return SequenceWindows(
        tokens_WT=tokens_WT,
        groups_W=np.array([index for index, _, _ in rows], dtype=np.int64),
        groups=groups,
        regions_WT=regions_WT if annotated else None,
    )


def sorted_by_content(sequences: Sequence[HeldOutSequence]) -> list[HeldOutSequence]:
    """Sort sequences by a digest of their groups' bases; keep the order within a group."""
    hashes: dict[str, Any] = {}
    for sequence in sequences:
        digest = hashlib.sha256(sequence.codes.tobytes()).digest()
        hashes.setdefault(sequence.group, hashlib.sha256()).update(digest)
    return sorted(sequences, key=lambda sequence: hashes[sequence.group].digest())


def _window_starts(sequence: HeldOutSequence, length: int) -> Iterator[tuple[HeldOutSequence, int]]:
    for start in range(0, max(sequence.codes.size - length, 0) + 1, length):
        yield sequence, start
