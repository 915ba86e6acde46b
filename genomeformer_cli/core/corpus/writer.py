"""Put tokenized genomes together into a corpus: shards, index, manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.corpus.bits import BitWriter
from genomeformer_cli.core.corpus.format import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    SEGMENTS_FILE,
    Manifest,
    Segment,
    soft_mask_file,
    tokens_file,
)
from genomeformer_cli.core.corpus.parts import Part, PartWriter
from genomeformer_cli.core.corpus.splits import SplitConfig, assign_splits
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.genomes.blocks import Block
from genomeformer_cli.core.genomes.fasta import Record
from genomeformer_cli.core.genomes.genome import Genome, genome_to_json
from genomeformer_cli.core.sequence import BASES, mark_bases
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.files import save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256

SHARD_TOKENS = 1 << 28


@dataclass(frozen=True, kw_only=True)
class TokenizedGenome:
    """A genome and the folder of its part."""

    genome: Genome
    folder: Path
    part: Part


def assemble(
    folder: Path,
    tokenizer: Tokenizer,
    genomes: Sequence[TokenizedGenome],
    *,
    shard_tokens: int = SHARD_TOKENS,
) -> tuple[list[int], list[Segment]]:
    """Put parts into shards, in order; return the shards' sizes and one segment a record.

    A shard of a part that fills a good piece of a shard becomes one by itself, by a hard link;
    smaller ones are copied behind each other. The parts stay as they are.
    """
    dtype = np.dtype(token_dtype(tokenizer))
    sizes: list[int] = []
    segments: list[Segment] = []
    with ExitStack() as stack:
        bits: BitWriter | None = None
        for one in genomes:
            places: list[tuple[int, int]] = []
            for number, num_tokens in enumerate(one.part.shard_tokens):
                source = (one.folder / tokens_file(number), one.folder / soft_mask_file(number))
                alone = num_tokens >= shard_tokens // 4
                if bits and (alone or sizes[-1] + num_tokens > shard_tokens):
                    bits.finish()
                    stack.close()
                    bits = None
                if bits is None:
                    sizes.append(0)
                shard = len(sizes) - 1
                targets = (folder / tokens_file(shard), folder / soft_mask_file(shard))
                places.append((shard, sizes[-1]))
                if alone:
                    for made, wanted in zip(source, targets, strict=True):
                        _link_or_copy(made, wanted)
                else:
                    if bits is None:
                        tokens = stack.enter_context(targets[0].open("wb"))
                        bits = BitWriter(stack.enter_context(targets[1].open("wb")))
                    with source[0].open("rb") as made_tokens, source[1].open("rb") as made_bits:
                        shutil.copyfileobj(made_tokens, tokens)
                        bits.append_packed(made_bits, num_tokens)
                sizes[-1] += num_tokens
            segments += _segments(one, places)
        if bits:
            bits.finish()
    for shard, size in enumerate(sizes):
        assert (folder / tokens_file(shard)).stat().st_size == size * dtype.itemsize
    return sizes, segments


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
) -> tuple[Manifest, list[Segment]]:
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
    sizes, records = assemble(folder, tokenizer, genomes, shard_tokens=plan.shard_tokens)
    segments, rule = assign_splits(records, plan.split)
    num_soft_masked = sum(one.part.num_soft_masked for one in genomes)
    if not num_soft_masked:
        for shard in range(len(sizes)):
            (folder / soft_mask_file(shard)).unlink()
    counts = np.sum([one.part.base_counts for one in genomes], axis=0)
    num_bases = sum(one.part.num_bases for one in genomes)
    manifest = Manifest(
        format=FORMAT_VERSION,
        name=plan.name,
        tokenizer=tokenizer.kind,
        tokenizer_settings=dict(tokenizer.settings),
        vocabulary_sha256=vocabulary_sha256(tokenizer),
        dtype=token_dtype(tokenizer),
        shard_tokens=sizes,
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
    return manifest, segments


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
        writer = PartWriter(folder, self._tokenizer, shard_tokens=self._limit)
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
        manifest, _ = finish_corpus(self._folder, self._tokenizer, self._genomes, plan)
        shutil.rmtree(self._parts)
        return manifest


def _blocks(genome: Genome, records: Iterable[Record]) -> Iterator[Block]:
    for record in records:
        where = f"genome `{genome.name}`: record `{record.id}`"
        marked = mark_bases(record.sequence.encode(), where=where)
        yield Block(np.frombuffer(marked, dtype=np.uint8), [(0, record.id)])
