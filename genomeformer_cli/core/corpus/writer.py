"""Corpus writer: merge tokenized genomes into shards, index and manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.corpus.bitset import BitWriter
from genomeformer_cli.core.corpus.format import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    SEGMENTS_FILE,
    Manifest,
    Segment,
    soft_mask_file,
    tokens_file,
)
from genomeformer_cli.core.corpus.genome_shards import GenomeShard
from genomeformer_cli.core.corpus.splits import SplitConfig, assign_splits
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.genomes.genome import Genome, genome_to_json
from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.stream import HashedFile
from genomeformer_cli.core.tokenizers.files import save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256
from genomeformer_cli.core.tokenizers.token_lengths import num_overlapping

SHARD_TOKENS = 1 << 28
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TokenizedGenome:
    """Genome and the folder of its part."""

    genome: Genome
    folder: Path
    part: GenomeShard


@dataclass(frozen=True, kw_only=True)
class MergedShards:
    """Shards of a corpus."""

    sizes: list[int]  # Number of tokens in each shard.
    segments: list[Segment]  # One segment per record, all in training.
    num_bases: list[int]  # Number of bases of each segment.
    sha256: dict[str, str]  # Checksums by file name, computed while writing.


@dataclass(frozen=True, kw_only=True)
class FinishedCorpus:
    """Complete corpus before it is sealed."""

    manifest: Manifest
    segments: list[Segment]
    sha256: dict[str, str]  # Checksums of the shards by file name, computed while writing.


class _OpenShard:
    """Shard that small parts are appended to."""

    def __init__(self, folder: Path, number: int, stack: ExitStack) -> None:
        names = (tokens_file(number), soft_mask_file(number))
        self._files = {
            name: stack.enter_context(closing(HashedFile(folder / name))) for name in names
        }
        self._tokens, soft = self._files.values()
        self._bits = BitWriter(soft)

    def append(self, tokens: Path, soft: Path, num_tokens: int) -> None:
        with tokens.open("rb") as source:
            while content := source.read(_COPY_BYTES):
                self._tokens.write(content)
        with soft.open("rb") as packed:
            self._bits.append_packed(packed, num_tokens)

    def finish(self) -> dict[str, str]:
        self._bits.finish()
        return {name: file.finish() for name, file in self._files.items()}


def merge_parts(
    folder: Path, genomes: Sequence[TokenizedGenome], *, shard_tokens: int = SHARD_TOKENS
) -> MergedShards:
    """Merge parts into shards, in order.

    A part's shard of at least a quarter of `shard_tokens` becomes a shard of the corpus by a hard
    link; smaller ones are concatenated. The parts stay unchanged.
    """
    sizes: list[int] = []
    segments: list[Segment] = []
    sha256: dict[str, str] = {}
    with ExitStack() as stack:
        shard: _OpenShard | None = None
        for item in genomes:
            positions: list[tuple[int, int]] = []
            for number, num_tokens in enumerate(item.part.shard_tokens):
                is_large = num_tokens >= shard_tokens // 4
                if shard and (is_large or sizes[-1] + num_tokens > shard_tokens):
                    sha256 |= shard.finish()
                    shard = None
                if shard is None:
                    sizes.append(0)
                last = len(sizes) - 1
                positions.append((last, sizes[-1]))
                if is_large:
                    for name in (tokens_file, soft_mask_file):
                        _link_or_copy(item.folder / name(number), folder / name(last))
                        sha256[name(last)] = item.part.sha256[name(number)]
                else:
                    shard = shard or _OpenShard(folder, last, stack)
                    source = (
                        item.folder / tokens_file(number),
                        item.folder / soft_mask_file(number),
                    )
                    shard.append(*source, num_tokens)
                sizes[-1] += num_tokens
            segments += _segments(item, positions)
        if shard:
            sha256 |= shard.finish()
    num_bases = [record.num_bases for item in genomes for record in item.part.records]
    return MergedShards(sizes=sizes, segments=segments, num_bases=num_bases, sha256=sha256)


def _segments(item: TokenizedGenome, positions: list[tuple[int, int]]) -> Iterator[Segment]:
    for record in item.part.records:
        shard, base = positions[record.shard]
        yield Segment(
            genome=item.genome.name,
            record=record.record,
            start=0,
            length=record.length,
            shard=shard,
            offset=base + record.offset,
            split="train",
        )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """Name, split rule and input checksum of a corpus."""

    name: str
    split: SplitConfig
    inputs_sha256: str
    shard_tokens: int = SHARD_TOKENS


def finish_corpus(
    folder: Path, tokenizer: Tokenizer, genomes: Sequence[TokenizedGenome], plan: CorpusPlan
) -> FinishedCorpus:
    """Build a corpus from parts in an empty folder: shards, splits, index, manifest.

    Raises:
        InputError: The genomes have no bases.
        ConfigError: A split is empty.
    """
    if not any(item.part.records for item in genomes):
        raise InputError(
            "the genomes hold no bases", hint="give genomes with at least one non-empty record"
        )
    merged = merge_parts(folder, genomes, shard_tokens=plan.shard_tokens)
    for shard, size in enumerate(merged.sizes):
        num_bytes = (folder / tokens_file(shard)).stat().st_size
        assert num_bytes == size * tokenizer.dtype.itemsize
    segments, rule = assign_splits(
        merged.segments, plan.split, merged.num_bases, overlap=num_overlapping(tokenizer)
    )
    num_soft_masked = sum(item.part.num_soft_masked for item in genomes)
    if not num_soft_masked:
        for shard in range(len(merged.sizes)):
            (folder / soft_mask_file(shard)).unlink()
            del merged.sha256[soft_mask_file(shard)]
    counts = np.sum([item.part.base_counts for item in genomes], axis=0)
    num_bases = sum(item.part.num_bases for item in genomes)
    manifest = Manifest(
        format=FORMAT_VERSION,
        name=plan.name,
        tokenizer=tokenizer.kind,
        tokenizer_settings=dict(tokenizer.settings),
        vocabulary_sha256=vocabulary_sha256(tokenizer),
        dtype=str(tokenizer.dtype),
        shard_tokens=merged.sizes,
        has_soft_mask=bool(num_soft_masked),
        inputs_sha256=plan.inputs_sha256,
        split_rule=rule,
        num_train=sum(s.length for s in segments if s.split == "train"),
        num_validation=sum(s.length for s in segments if s.split == "validation"),
        num_bases=num_bases,
        base_counts={b: int(n) for b, n in zip(BASES, counts, strict=True) if n},
        num_soft_masked=num_soft_masked,
        unknown_fraction=round(float(counts[-1]) / num_bases, 6),
        soft_mask_fraction=round(num_soft_masked / num_bases, 6),
        genomes=[genome_to_json(item.genome) for item in genomes],
    )
    save_tokenizer(tokenizer, folder)
    with (folder / SEGMENTS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(segment)) + "\n" for segment in segments)
    write_json(folder / MANIFEST_FILE, asdict(manifest))
    return FinishedCorpus(manifest=manifest, segments=segments, sha256=merged.sha256)
