"""Byte-pair training on the training split of a corpus only.

Splits are assigned by the lengths of records in bases, because there are no tokens yet. Held-out
genomes and records are those of the finished corpus. The tail of a record is measured in bases here
and in tokens there, so the two borders may differ slightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from genomeformer_cli.core.corpus.format import Segment
from genomeformer_cli.core.corpus.splits import SplitConfig, assign_splits
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.fasta import FastaReader
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.sequence import BASES, SOFT_BIT
from genomeformer_cli.core.tokenizers.bpe import BpeTokenizer, train_bpe
from genomeformer_cli.core.tokenizers.sampling import SampleRule

_LETTERS = bytes(ord(BASES[code % SOFT_BIT]) if code % SOFT_BIT < 5 else 0 for code in range(256))


def train_corpus_bpe(
    genomes: Sequence[tuple[Genome, Path]], split: SplitConfig, vocab_size: int
) -> BpeTokenizer:
    """Train byte pairs; the settings of the tokenizer record the sample.

    Args:
        genomes: All genomes of the corpus, with their FASTA files.
        split: Rule for the held-out part.
        vocab_size: Number of tokens.

    Raises:
        InputError: The genomes have no bases.
        ConfigError: A split is empty, or the vocabulary size is invalid.
    """
    records = [
        Segment(
            genome=genome.name,
            record=name,
            start=0,
            length=size,
            shard=number,
            offset=0,
            split="train",
        )
        for genome, fasta in genomes
        for number, (name, size) in enumerate(_lengths(fasta))
        if size
    ]
    if not records:
        raise InputError(
            "the genomes hold no bases to learn byte pairs from",
            hint="give genomes with at least one non-empty record",
        )
    assigned, rule = assign_splits(records, split)
    train_lengths = {
        (segment.genome, segment.shard): segment.length
        for segment in assigned
        if segment.split == "train"
    }
    window = SampleRule().window
    tokenizer = train_bpe(
        (
            piece
            for genome, fasta in genomes
            for piece in _pieces(genome.name, fasta, train_lengths, window)
        ),
        vocab_size,
    )
    settings = {**tokenizer.settings, "records_seen": len(train_lengths), "held_out": rule}
    return BpeTokenizer(tokenizer.merges, settings)


def _lengths(fasta: Path) -> list[tuple[str, int]]:
    """Return the id and length of each record, in order."""
    names: list[str] = []
    sizes: list[int] = []
    for block in FastaReader(fasta).blocks():
        start = 0
        for stop, name in block.starts:
            if sizes:
                sizes[-1] += stop - start
            names.append(name)
            sizes.append(0)
            start = stop
        if sizes:
            sizes[-1] += block.marked.size - start
    return list(zip(names, sizes, strict=True))


def _pieces(
    genome: str, fasta: Path, train_lengths: dict[tuple[str, int], int], window: int
) -> Iterator[bytes]:
    """Yield training letters: whole windows of a record, then the remainder of its last window."""
    number, num_left = -1, 0
    buffer = b""
    for block in FastaReader(fasta).blocks():
        letters = block.marked.tobytes().translate(_LETTERS)
        edges = [position for position, _ in block.starts]
        for index, (start, stop) in enumerate(
            zip([0, *edges], [*edges, len(letters)], strict=True)
        ):
            if index:
                yield buffer
                number, buffer = number + 1, b""
                num_left = train_lengths.get((genome, number), 0)
            buffer += letters[start : min(stop, start + num_left)]
            num_left -= min(stop - start, num_left)
            whole = len(buffer) - len(buffer) % window
            yield buffer[:whole]
            buffer = buffer[whole:]
    yield buffer
