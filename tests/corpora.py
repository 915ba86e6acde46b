"""Small corpora for tests, made the way `tokenize` makes them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from genomeformer_cli.core.corpus.format import Manifest
from genomeformer_cli.core.corpus.genome_shards import GenomeShardWriter
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.corpus.writer import (
    SHARD_TOKENS,
    CorpusPlan,
    TokenizedGenome,
    finish_corpus,
)
from genomeformer_cli.core.formats.fasta import Block, Record
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.sequence import SOFT_BIT, Codes, flag_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer


class CorpusWriter:
    """Build a corpus of records in memory by the steps of `tokenize`.

    Args:
        folder: Empty folder that becomes the corpus.
        tokenizer: Tokenizer of the corpus.
        shard_tokens: Size at which a shard is closed, after the record that reaches it.
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
            AlphabetError: A character is not a nucleotide code.
        """
        folder = self._parts / str(len(self._genomes))
        folder.mkdir(parents=True)
        writer = GenomeShardWriter(folder, self._tokenizer, shard_tokens=self._limit)
        part = writer.write(_blocks(genome, records))
        self._genomes.append(TokenizedGenome(genome=genome, folder=folder, part=part))

    def finish(self, *, name: str, split: SplitConfig, inputs_sha256: str) -> Manifest:
        """Assign the splits and write the index, the manifest and the tokenizer.

        Raises:
            InputError: The genomes have no bases.
            ConfigError: A split is empty.
        """
        plan = CorpusPlan(
            name=name, split=split, inputs_sha256=inputs_sha256, shard_tokens=self._limit
        )
        corpus = finish_corpus(self._folder, self._tokenizer, self._genomes, plan)
        shutil.rmtree(self._parts)
        return corpus.manifest


def _blocks(genome: Genome, records: Iterable[Record]) -> Iterator[Block]:
    for record in records:
        where = f"genome `{genome.name}`: record `{record.id}`"
        yield Block(marked(record.sequence, where=where), [(0, record.id)])


def marked(sequence: str, *, where: str = "sequence") -> Codes:
    """Return the codes of `flag_bases` with `SOFT_BIT` as the only mark."""
    flagged = np.frombuffer(flag_bases(sequence.encode(), where=where), dtype=np.uint8)
    return flagged & np.uint8(SOFT_BIT | 7)


def random_dna(length: int, seed: int = 0) -> str:
    generator = np.random.default_rng(seed)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    return letters[generator.integers(0, 4, length)].tobytes().decode()


def genome(name: str, num_bases: int = 0) -> Genome:
    return Genome(
        name=name,
        fasta=f"{name}.fa.gz",
        sha256="0" * 64,
        num_records=1,
        num_bases=num_bases,
        source="file",
        retrieved="2026-01-01",
    )


def build_corpus(
    folder: Path,
    sequences: Mapping[str, str],
    *,
    split: SplitConfig | None = None,
    tokenizer: Tokenizer | None = None,
) -> Corpus:
    """A corpus of one genome, `sequences` by record id; the last tenth of each is held out."""
    folder.mkdir(parents=True)
    writer = CorpusWriter(folder, tokenizer or CharTokenizer())
    records = [Record(name, "", sequence) for name, sequence in sequences.items()]
    writer.add_genome(genome("test"), records)
    split = split or SplitConfig(by=SplitBy.TAIL)
    writer.finish(name="test", split=split, inputs_sha256="0" * 64)
    return Corpus(folder)
