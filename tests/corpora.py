"""Small corpora for tests, made the way `tokenize` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.corpus.writer import CorpusWriter
from genomeformer_cli.core.formats.fasta import Record
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer


def random_dna(length: int, seed: int = 0) -> str:
    generator = np.random.default_rng(seed)
    return "".join("ACGT"[code] for code in generator.integers(0, 4, length))


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
