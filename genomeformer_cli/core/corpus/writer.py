"""Put tokenized genomes together into a corpus: shards, index, manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
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
from genomeformer_cli.core.corpus.genome_shards import GenomeShard, GenomeShardWriter
from genomeformer_cli.core.corpus.splits import SplitConfig, assign_splits
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.fasta import Block, Record
from genomeformer_cli.core.genomes.genome import Genome, genome_to_json
from genomeformer_cli.core.sequence import BASES, mark_bases
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.stream import HashedFile
from genomeformer_cli.core.tokenizers.files import save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256
from genomeformer_cli.core.tokenizers.token_lengths import num_overlapping

SHARD_TOKENS = 1 << 28
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TokenizedGenome:
    """A genome and the folder of its part."""

    genome: Genome
    folder: Path
    part: GenomeShard


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """Shards of a corpus.

    Attributes:
        sizes: Tokens in each.
        segments: One a record, all of training.
        num_bases: Letters of each.
        sha256: Checksums by file name, taken of what was written.
    """

    sizes: list[int]
    segments: list[Segment]
    num_bases: list[int]
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class FinishedCorpus:
    """A corpus but for its seal.

    Attributes:
        manifest: What it is made of.
        segments: Where each stretch lies.
        sha256: Checksums of its shards, by file name, taken of what was written.
    """

    manifest: Manifest
    segments: list[Segment]
    sha256: dict[str, str]


class _OpenShard:
    """A shard that small parts are copied into, one behind the other."""

    def __init__(self, folder: Path, number: int, stack: ExitStack) -> None:
        names = (tokens_file(number), soft_mask_file(number))
        self._files = {
            name: stack.enter_context(closing(HashedFile(folder / name))) for name in names
        }
        self._tokens, soft = self._files.values()
        self._bits = BitWriter(soft)

    def append(self, tokens: Path, soft: Path, num_tokens: int) -> None:
        with tokens.open("rb") as made:
            while content := made.read(_COPY_BYTES):
                self._tokens.write(content)
        with soft.open("rb") as packed:
            self._bits.append_packed(packed, num_tokens)

    def finish(self) -> dict[str, str]:
        self._bits.finish()
        return {name: file.finish() for name, file in self._files.items()}


def assemble(
    folder: Path,
    genomes: Sequence[TokenizedGenome],
    *,
    shard_tokens: int = SHARD_TOKENS,
) -> Assembled:
    """Put parts into shards, in order.

    A shard of a part that fills a good piece of a shard becomes one by itself, by a hard link;
    smaller ones are copied behind each other. The parts stay as they are.
    """
    sizes: list[int] = []
    segments: list[Segment] = []
    sha256: dict[str, str] = {}
    with ExitStack() as stack:
        shard: _OpenShard | None = None
        for one in genomes:
            places: list[tuple[int, int]] = []
            for number, num_tokens in enumerate(one.part.shard_tokens):
                alone = num_tokens >= shard_tokens // 4
                if shard and (alone or sizes[-1] + num_tokens > shard_tokens):
                    sha256 |= shard.finish()
                    shard = None
                if shard is None:
                    sizes.append(0)
                last = len(sizes) - 1
                places.append((last, sizes[-1]))
                if alone:
                    for name in (tokens_file, soft_mask_file):
                        _link_or_copy(one.folder / name(number), folder / name(last))
                        sha256[name(last)] = one.part.sha256[name(number)]
                else:
                    shard = shard or _OpenShard(folder, last, stack)
                    source = (one.folder / tokens_file(number), one.folder / soft_mask_file(number))
                    shard.append(*source, num_tokens)
                sizes[-1] += num_tokens
            segments += _segments(one, places)
        if shard:
            sha256 |= shard.finish()
    num_bases = [record.num_bases for one in genomes for record in one.part.records]
    return Assembled(sizes=sizes, segments=segments, num_bases=num_bases, sha256=sha256)


def _segments(one: TokenizedGenome, places: list[tuple[int, int]]) -> Iterator[Segment]:
    for record in one.part.records:
        shard, base = places[record.shard]
        yield Segment(
            genome=one.genome.name,
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


def token_dtype(tokenizer: Tokenizer) -> str:
    """Numpy name of the narrowest type that holds every id."""
    return str(tokenizer.dtype)


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """What a corpus is called, who is held out of it, and the identity of its inputs."""

    name: str
    split: SplitConfig
    inputs_sha256: str
    shard_tokens: int = SHARD_TOKENS


def finish_corpus(
    folder: Path, tokenizer: Tokenizer, genomes: Sequence[TokenizedGenome], plan: CorpusPlan
) -> FinishedCorpus:
    """Make a corpus of parts in an empty folder: shards, who is held out, index, manifest.

    Raises:
        InputError: There is nothing to write.
        ConfigError: The split leaves one side empty.
    """
    if not any(one.part.records for one in genomes):
        raise InputError(
            "the genomes hold no bases at all",
            hint="give genomes with at least one non-empty record",
        )
    made = assemble(folder, genomes, shard_tokens=plan.shard_tokens)
    for shard, size in enumerate(made.sizes):
        num_bytes = (folder / tokens_file(shard)).stat().st_size
        assert num_bytes == size * tokenizer.dtype.itemsize
    segments, rule = assign_splits(
        made.segments, plan.split, made.num_bases, overlap=num_overlapping(tokenizer)
    )
    num_soft_masked = sum(one.part.num_soft_masked for one in genomes)
    if not num_soft_masked:
        for shard in range(len(made.sizes)):
            (folder / soft_mask_file(shard)).unlink()
            del made.sha256[soft_mask_file(shard)]
    counts = np.sum([one.part.base_counts for one in genomes], axis=0)
    num_bases = sum(one.part.num_bases for one in genomes)
    manifest = Manifest(
        format=FORMAT_VERSION,
        name=plan.name,
        tokenizer=tokenizer.kind,
        tokenizer_settings=dict(tokenizer.settings),
        vocabulary_sha256=vocabulary_sha256(tokenizer),
        dtype=token_dtype(tokenizer),
        shard_tokens=made.sizes,
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
        genomes=[genome_to_json(one.genome) for one in genomes],
    )
    save_tokenizer(tokenizer, folder)
    with (folder / SEGMENTS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(segment)) + "\n" for segment in segments)
    write_json(folder / MANIFEST_FILE, asdict(manifest))
    return FinishedCorpus(manifest=manifest, segments=segments, sha256=made.sha256)


class CorpusWriter:
    """Makes a corpus of records in memory, by the same steps that `tokenize` takes.

    Args:
        folder: An empty folder, which becomes the corpus.
        tokenizer: Cuts the records.
        shard_tokens: A shard is closed after the record that fills it.
    """

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, *, shard_tokens: int = SHARD_TOKENS
    ) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._limit = shard_tokens
        self._parts = folder / "parts"
        self._genomes: list[TokenizedGenome] = []

    def add_genome(self, genome: Genome, records: Iterable[Record]) -> None:
        """Append all records of a genome.

        Raises:
            AlphabetError: A character is no nucleotide; file, record and position are named.
        """
        folder = self._parts / str(len(self._genomes))
        folder.mkdir(parents=True)
        writer = GenomeShardWriter(folder, self._tokenizer, shard_tokens=self._limit)
        part = writer.write(_blocks(genome, records))
        self._genomes.append(TokenizedGenome(genome=genome, folder=folder, part=part))

    def finish(self, *, name: str, split: SplitConfig, inputs_sha256: str) -> Manifest:
        """Choose who is held out and write the index, the manifest and the tokenizer.

        Raises:
            InputError: There was nothing to write.
            ConfigError: The split leaves one side empty.
        """
        plan = CorpusPlan(
            name=name, split=split, inputs_sha256=inputs_sha256, shard_tokens=self._limit
        )
        made = finish_corpus(self._folder, self._tokenizer, self._genomes, plan)
        shutil.rmtree(self._parts)
        return made.manifest


def _blocks(genome: Genome, records: Iterable[Record]) -> Iterator[Block]:
    for record in records:
        where = f"genome `{genome.name}`: record `{record.id}`"
        marked = mark_bases(record.sequence.encode(), where=where)
        yield Block(np.frombuffer(marked, dtype=np.uint8), [(0, record.id)])
