"""Held-out sequences to predict: of a corpus, or of files, with what each base is if annotated.

Shape letters: L bases of a record, W windows, T tokens in a window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.base_labels import marked, spans
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.feature import PLUS, Feature, Kind
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Tokenizer

OTHER, INTERGENIC = 0, 4
REGIONS = (
    "other",
    "codon position 1",
    "codon position 2",
    "codon position 3",
    "intergenic",
)


class GroupBy(StrEnum):
    """What stands in one row of the table."""

    GENOME = "genome"
    RECORD = "record"
    PREFIX = "prefix"


def parse_group_by(name: str) -> GroupBy:
    """What stands in one row, by name.

    Raises:
        ConfigError: There is no such thing.
    """
    if name not in set(GroupBy):
        raise ConfigError(
            f"`{name}` cannot have rows of its own",
            hint="known: " + ", ".join(f"`{one}`" for one in GroupBy),
        )
    return GroupBy(name)


@dataclass(frozen=True, kw_only=True)
class HeldOutSequence:
    """A held-out sequence.

    Attributes:
        group: What it is shown under.
        record: Its id.
        codes: Its bases.
        regions_L: What each base is, an index into `REGIONS`; None without annotation.
    """

    group: str
    record: str
    codes: Codes
    regions_L: npt.NDArray[np.uint8] | None = None


def group_name(genome: str, record: str, by: GroupBy) -> str:
    """The row of a record; a prefix is what stands before the first `|` of its id."""
    if by is GroupBy.GENOME:
        return genome
    return record if by is GroupBy.RECORD else record.partition("|")[0]


def corpus_sequences(corpus: Corpus, by: GroupBy) -> list[HeldOutSequence]:
    """The validation split."""
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
    """Return every record of FASTA files, each file a genome.

    Args:
        paths: FASTA or FASTQ files of any packing.
        by: Content of a row of the table.
        reporter: Receives what reading changed.
    """
    return [
        HeldOutSequence(
            group=group_name(path.name, record.id, by),
            record=record.id,
            codes=encode_bases(record.sequence, where=f"`{path}`: record `{record.id}`"),
        )
        for path in paths
        for record in read_records(path, reporter=reporter)
    ]


def annotated_sequences(
    fasta: Path | None, annotation: Path, by: GroupBy, reporter: Reporter
) -> list[HeldOutSequence]:
    """Annotated records, each base with its region.

    Raises:
        AnnotationError: The annotation cannot be read, or is of other sequences.
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
    """What each base is, an index into `REGIONS`.

    A base that coding sequences give different codon positions, or that lies in a gene but in no
    coding sequence, is `other`; one that no feature covers is intergenic.
    """
    inside_L = marked(spans(features), length, circular=circular)
    seen_L = np.zeros(length, dtype=np.uint8)
    for feature in features:
        if feature.kind is Kind.CDS and feature.is_certain:
            for part in feature.parts:
                if part.phase is None or not part.strand:
                    continue
                places = np.arange(part.start, part.end) % length
                places = places if part.strand == PLUS else places[::-1]
                for position in range(3):
                    # A part's first `phase` bases end a codon that began before it.
                    seen_L[places[(part.phase + position) % 3 :: 3]] |= np.uint8(1 << position)
    regions_L = np.full(length, OTHER, dtype=np.uint8)
    for position in range(3):
        regions_L[seen_L == 1 << position] = position + 1
    regions_L[~inside_L] = INTERGENIC
    return regions_L


@dataclass(frozen=True, kw_only=True)
class SequenceWindows:
    """Windows of texts, none overlapping, evenly spread over each group.

    Attributes:
        tokens_WT: Token ids, padded at the end.
        groups_W: Of each window, an index into `groups`.
        groups: Names.
        regions_WT: What each base is; None without annotation.
    """

    tokens_WT: npt.NDArray[np.int64]
    groups_W: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    regions_WT: npt.NDArray[np.uint8] | None


def cut_sequences(
    texts: Sequence[HeldOutSequence], tokenizer: Tokenizer, *, length: int, most: int
) -> SequenceWindows:
    """Cut texts into windows of one token per base.

    Windows are ordered by the content of their groups, so that the same files or genomes give the
    same questions whatever order they are named in.

    Args:
        texts: What to cut; records shorter than a window are windows padded.
        tokenizer: Of one token a base.
        length: Of a window.
        most: Windows of a group.
    """
    groups = tuple(dict.fromkeys(text.group for text in texts))
    annotated = any(text.regions_L is not None for text in texts)
    rows: list[tuple[int, HeldOutSequence, int]] = []
    texts = sorted_by_content(texts)
    for group in dict.fromkeys(text.group for text in texts):
        index = groups.index(group)
        places = [place for text in texts if text.group == group for place in _places(text, length)]
        if len(places) > most:
            chosen = np.linspace(0, len(places) - 1, most).round().astype(int)
            places = [places[number] for number in chosen]
        rows += [(index, text, start) for text, start in places]
    tokens_WT = np.full((len(rows), length), PAD_ID, dtype=np.int64)
    regions_WT = np.full((len(rows), length), OTHER, dtype=np.uint8)
    for row, (_, text, start) in enumerate(rows):
        codes = text.codes[start : start + length]
        tokens_WT[row, : codes.size] = tokenizer.encode(codes)
        if text.regions_L is not None:
            regions_WT[row, : codes.size] = text.regions_L[start : start + length]
    return SequenceWindows(
        tokens_WT=tokens_WT,
        groups_W=np.array([index for index, _, _ in rows], dtype=np.int64),
        groups=groups,
        regions_WT=regions_WT if annotated else None,
    )


def sorted_by_content(texts: Sequence[HeldOutSequence]) -> list[HeldOutSequence]:
    """Return the texts in the order of a digest of their groups' bases, a group's as given."""
    hashes: dict[str, Any] = {}
    for text in texts:
        digest = hashlib.sha256(text.codes.tobytes()).digest()
        hashes.setdefault(text.group, hashlib.sha256()).update(digest)
    return sorted(texts, key=lambda text: hashes[text.group].digest())


def _places(text: HeldOutSequence, length: int) -> Iterator[tuple[HeldOutSequence, int]]:
    for start in range(0, max(text.codes.size - length, 0) + 1, length):
        yield text, start
