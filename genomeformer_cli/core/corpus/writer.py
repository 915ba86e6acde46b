"""Write a corpus: records go in one by one, memory stays at one record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from genomeformer_cli.core.corpus.format import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    SEGMENTS_FILE,
    Manifest,
    Segment,
    soft_mask_file,
    tokens_file,
)
from genomeformer_cli.core.corpus.splits import SplitConfig, assign_splits
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.genomes.fasta import Record
from genomeformer_cli.core.genomes.genome import Genome, genome_to_json
from genomeformer_cli.core.sequence import encode_bases, soft_mask
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.files import save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256

SHARD_TOKENS = 1 << 28


class CorpusWriter:
    """Appends records to shards, then writes the index and the manifest.

    Args:
        folder: An empty folder, which becomes the corpus.
        tokenizer: Cuts the records.
        shard_tokens: A shard is closed before the record that would overfill it.
    """

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, *, shard_tokens: int = SHARD_TOKENS
    ) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._limit = shard_tokens
        self._segments: list[Segment] = []
        self._genomes: list[Genome] = []
        self._shards: list[int] = []
        self._flags: list[np.ndarray] = []
        self._counts = np.zeros(len(tokenizer.tokens), dtype=np.int64)
        self._num_soft_masked = 0

    def add_genome(self, genome: Genome, records: Iterable[Record]) -> None:
        """Append all records of a genome.

        Raises:
            AlphabetError: A character is no nucleotide; file, record and position are named.
        """
        self._genomes.append(genome)
        for record in records:
            self._add_record(genome, record)

    def _add_record(self, genome: Genome, record: Record) -> None:
        codes = encode_bases(record.sequence, where=f"genome `{genome.name}`: record `{record.id}`")
        ids = self._tokenizer.encode(codes)
        if not ids.size:
            return
        if not self._shards or self._shards[-1] + ids.size > self._limit:
            self._close_shard()
            self._shards.append(0)
        shard = len(self._shards) - 1
        offset = self._shards[-1]
        self._segments.append(
            Segment(
                genome=genome.name,
                record=record.id,
                start=0,
                length=ids.size,
                shard=shard,
                offset=offset,
                split="train",
            )
        )
        with (self._folder / tokens_file(shard)).open("ab") as file:
            ids.tofile(file)
        flags = soft_mask(record.sequence)
        self._flags.append(flags)
        self._num_soft_masked += int(flags.sum())
        self._counts += np.bincount(ids, minlength=self._counts.size)
        self._shards[-1] += ids.size

    def _close_shard(self) -> None:
        if self._flags:
            packed = np.packbits(np.concatenate(self._flags), bitorder="little")
            packed.tofile(self._folder / soft_mask_file(len(self._shards) - 1))
            self._flags = []

    def finish(self, *, name: str, split: SplitConfig, inputs_sha256: str) -> Manifest:
        """Choose who is held out and write the index, the manifest and the tokenizer.

        Raises:
            InputError: There was nothing to write.
            ConfigError: The split leaves one side empty.
        """
        self._close_shard()
        if not self._segments:
            raise InputError(
                "the genomes hold no bases at all",
                hint="give genomes with at least one non-empty record",
            )
        segments, rule = assign_splits(self._segments, split)
        if not self._num_soft_masked:
            for shard in range(len(self._shards)):
                (self._folder / soft_mask_file(shard)).unlink()
        manifest = Manifest(
            format=FORMAT_VERSION,
            name=name,
            tokenizer=self._tokenizer.kind,
            vocabulary_sha256=vocabulary_sha256(self._tokenizer),
            dtype="uint8",
            shard_tokens=self._shards,
            has_soft_mask=bool(self._num_soft_masked),
            inputs_sha256=inputs_sha256,
            split_rule=rule,
            num_train=sum(s.length for s in segments if s.split == "train"),
            num_validation=sum(s.length for s in segments if s.split == "validation"),
            base_counts={
                t: int(n) for t, n in zip(self._tokenizer.tokens, self._counts, strict=True) if n
            },
            num_soft_masked=self._num_soft_masked,
            genomes=[genome_to_json(genome) for genome in self._genomes],
        )
        save_tokenizer(self._tokenizer, self._folder)
        lines = "".join(json.dumps(asdict(segment)) + "\n" for segment in segments)
        (self._folder / SEGMENTS_FILE).write_text(lines, encoding="utf-8")
        write_json(self._folder / MANIFEST_FILE, asdict(manifest))
        return manifest
