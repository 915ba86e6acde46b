"""Byte pairs learned from what a corpus will train on, and from nothing that it holds out.

Who is held out is decided on the lengths of records in bases, which are known before there is any
token. Whole genomes and records are decided here as they are later. The tail of a record is here
its last bases and there its last tokens, so the two borders of it may lie a little apart.
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
    """Learn byte pairs; the tokenizer's settings say from what.

    Args:
        genomes: All genomes of the corpus, and their FASTA files.
        split: Who is held out.
        vocab_size: Tokens wanted.

    Raises:
        InputError: The genomes hold no bases.
        ConfigError: The split leaves one side empty, or the vocabulary cannot be.
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
    marked, rule = assign_splits(records, split)
    taught = {(one.genome, one.shard): one.length for one in marked if one.split == "train"}
    window = SampleRule().window
    learned = train_bpe(
        (
            piece
            for genome, fasta in genomes
            for piece in _pieces(genome.name, fasta, taught, window)
        ),
        vocab_size,
    )
    settings = {**learned.settings, "records_seen": len(taught), "held_out": rule}
    return BpeTokenizer(learned.merges, settings)


def _lengths(fasta: Path) -> list[tuple[str, int]]:
    """Id and bases of each record, in order."""
    names: list[str] = []
    sizes: list[int] = []
    for block in FastaReader(fasta).blocks():
        done = 0
        for at, name in block.starts:
            if sizes:
                sizes[-1] += at - done
            names.append(name)
            sizes.append(0)
            done = at
        if sizes:
            sizes[-1] += block.marked.size - done
    return list(zip(names, sizes, strict=True))


def _pieces(
    genome: str, fasta: Path, taught: dict[tuple[str, int], int], window: int
) -> Iterator[bytes]:
    """Letters to learn from: whole windows of a record, and what its last one lacks of a whole."""
    number, left = -1, 0
    waiting = b""
    for block in FastaReader(fasta).blocks():
        letters = block.marked.tobytes().translate(_LETTERS)
        edges = [at for at, _ in block.starts]
        for index, (start, stop) in enumerate(
            zip([0, *edges], [*edges, len(letters)], strict=True)
        ):
            if index:
                yield waiting
                number, waiting = number + 1, b""
                left = taught.get((genome, number), 0)
            waiting += letters[start : min(stop, start + left)]
            left -= min(stop - start, left)
            whole = len(waiting) - len(waiting) % window
            yield waiting[:whole]
            waiting = waiting[whole:]
    yield waiting
