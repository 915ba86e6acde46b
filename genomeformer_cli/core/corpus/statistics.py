"""Corpus statistics: composition, token usage, k-mer spectra, record lengths.

Token shards are read in blocks, so memory grows only with the number of records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.format import Segment
from genomeformer_cli.core.corpus.genome_shards import count_bases
from genomeformer_cli.core.corpus.kmer_spectrum import (
    Counts,
    KmerCount,
    KmerCounter,
    Spectrum,
    entropy,
    spectrum_of,
)
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes, encode_bases
from genomeformer_cli.core.tokenizers.protocol import FIRST_REAL_ID, Ids, Tokenizer

_BLOCK = 1 << 20
_NUM_BINS = 24
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Base composition."""

    num_bases: int  # Number of letters.
    base_counts: dict[str, int]  # Count of each base, A C G T N.
    gc: float | None  # Fraction of G and C among A C G T; None without any of them.
    unknown_fraction: float  # Fraction of letters that are N.


@dataclass(frozen=True, kw_only=True)
class GenomeStatistics:
    """Statistics of one genome."""

    name: str  # Name in the cache.
    organism: str | None  # Scientific name, if known.
    num_records: int  # Number of records with at least one base.
    composition: Composition  # Base composition.
    # Fraction of lower-case bases; None if tokens hold several bases, because the corpus stores the
    # mask of the first base only.
    soft_mask_fraction: float | None


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """Size of one split."""

    split: str
    num_segments: int
    num_tokens: int
    num_bases: int


@dataclass(frozen=True, kw_only=True)
class TokenUse:
    """Usage of the vocabulary."""

    num_tokens: int  # Number of tokens in the corpus.
    vocabulary_size: int  # Size of the vocabulary without special tokens.
    num_used: int  # Number of distinct tokens that occur.
    bases_per_token: float  # Number of bases per token.
    bits_per_token: float  # Entropy of the token distribution.
    bits_per_base: float  # Entropy per base: the code length of the corpus under a unigram model.
    most: tuple[KmerCount, ...]  # Most frequent tokens.


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Distribution of record lengths, in bases."""

    num_records: int  # Number of records with at least one base.
    shortest: int  # Shortest length.
    median: float  # Median length.
    longest: int  # Longest length.
    n50: int  # Length such that records at least this long contain half of all bases.
    l50: int  # Number of these records.
    # Edges of the histogram, logarithmically spaced, one more than bins.
    bin_edges: tuple[float, ...]
    bin_counts: tuple[int, ...]  # Number of records per bin; the last bin includes its upper edge.


@dataclass(frozen=True, kw_only=True)
class CorpusStatistics:
    """Statistics of a corpus."""

    composition: Composition  # Composition of all genomes.
    soft_mask_fraction: float  # Fraction of lower-case letters, from the manifest.
    splits: tuple[SplitStatistics, ...]  # Sizes of the splits.
    genomes: tuple[GenomeStatistics, ...]  # Statistics of each genome.
    token_use: TokenUse  # Usage of the vocabulary.
    spectra: tuple[Spectrum, ...]  # Spectra of 1- to 8-mers, up to the longest run of A C G T.
    lengths: Lengths  # Distribution of record lengths.


def corpus_statistics(corpus: Corpus, reporter: Reporter) -> CorpusStatistics:
    """Compute the statistics in one pass over the corpus."""
    corpus_counts = _CorpusCounts(corpus.tokenizer)
    size = np.dtype(corpus.manifest.dtype).itemsize
    total = size * sum(corpus.manifest.shard_tokens)
    with reporter.track("counting", total, "bytes") as tracker:
        for segment in corpus.segments():
            corpus_counts.begin(segment)
            for start in range(0, segment.length, _BLOCK):
                stop = min(start + _BLOCK, segment.length)
                ids = np.asarray(corpus.tokens(segment, start, stop))
                num_soft = int(np.count_nonzero(corpus.soft_mask(segment, start, stop)))
                corpus_counts.add(segment, ids, num_soft)
                tracker.advance(size * (stop - start))
        corpus_counts.end_record()
    counts = sum(
        (genome_counts.counts for genome_counts in corpus_counts.genomes.values()), _no_bases()
    )
    spectra = (
        spectrum_of(k, kmer_counts) for k, kmer_counts in corpus_counts.words.counts().items()
    )
    return CorpusStatistics(
        composition=composition_of(counts),
        soft_mask_fraction=corpus.manifest.num_soft_masked / int(counts.sum()),
        splits=tuple(corpus_counts.splits()),
        genomes=tuple(_genomes(corpus, corpus_counts)),
        token_use=token_use(corpus.tokenizer, corpus_counts.ids, int(counts.sum())),
        spectra=tuple(spectrum for spectrum in spectra if spectrum is not None),
        lengths=lengths_of(np.array(corpus_counts.lengths, dtype=np.int64)),
    )


def _no_bases() -> Counts:
    return np.zeros(len(BASES), dtype=np.int64)


class _GenomeCounts:
    """Counts of one genome."""

    def __init__(self) -> None:
        self.counts = _no_bases()
        self.num_records = 0
        self.num_soft = 0


class _CorpusCounts:
    """Counts of a corpus, accumulated segment by segment."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: Ids = np.empty(0, dtype=tokenizer.dtype)
        self._splits: dict[str, Counts] = {}
        self._length = 0
        self.genomes: dict[str, _GenomeCounts] = {}
        self.ids: Counts = np.zeros(len(tokenizer.tokens), dtype=np.int64)
        self.words = KmerCounter()
        self.lengths: list[int] = []

    def begin(self, segment: Segment) -> None:
        """Start a segment: a new record, or another split of the open one."""
        self.genomes.setdefault(segment.genome, _GenomeCounts())
        if segment.start == 0:
            self.end_record()
            self.genomes[segment.genome].num_records += 1
        split = self._splits.setdefault(segment.split, np.zeros(3, dtype=np.int64))
        split += (1, segment.length, 0)

    def add(self, segment: Segment, ids: Ids, num_soft: int) -> None:
        """Count the next tokens of the segment."""
        codes = self._bases(ids)
        genome = self.genomes[segment.genome]
        genome.counts += count_bases(codes)
        genome.num_soft += num_soft
        self.ids += np.bincount(ids, minlength=self.ids.size)
        self.words.add(codes)
        self._splits[segment.split][2] += codes.size
        self._length += codes.size

    def _bases(self, ids: Ids) -> Codes:
        """Return the bases that these tokens add to the preceding ones (k-mers may overlap)."""
        text = self._tokenizer.decode(np.concatenate([self._before, ids]))
        num_known = len(self._tokenizer.decode(self._before))
        self._before = ids[-1:].copy()
        return encode_bases(text[num_known:])

    def end_record(self) -> None:
        """End the open record."""
        if not self._length:
            return
        self.words.end_record()
        self.lengths.append(self._length)
        self._length = 0
        self._before = self._before[:0]

    def splits(self) -> Iterator[SplitStatistics]:
        """Yield the sizes of the splits, training first."""
        for name, counts in sorted(self._splits.items()):
            segments, tokens, bases = counts.tolist()
            yield SplitStatistics(
                split=name, num_segments=segments, num_tokens=tokens, num_bases=bases
            )


def _genomes(corpus: Corpus, corpus_counts: _CorpusCounts) -> Iterator[GenomeStatistics]:
    organisms = {genome["name"]: genome.get("organism") for genome in corpus.manifest.genomes}
    for name, genome_counts in corpus_counts.genomes.items():
        composition = composition_of(genome_counts.counts)
        exact = corpus.tokenizer.one_token_per_base
        yield GenomeStatistics(
            name=name,
            organism=organisms.get(name),
            num_records=genome_counts.num_records,
            composition=composition,
            soft_mask_fraction=genome_counts.num_soft / composition.num_bases if exact else None,
        )


def composition_of(counts: Counts) -> Composition:
    """Compute the composition of base counts A C G T N, not all zero."""
    num_bases, num_real = int(counts.sum()), int(counts[:NUM_REAL_BASES].sum())
    strong = int(counts[BASES.index("C")] + counts[BASES.index("G")])
    return Composition(
        num_bases=num_bases,
        base_counts=dict(zip(BASES, counts.tolist(), strict=True)),
        gc=strong / num_real if num_real else None,
        unknown_fraction=(num_bases - num_real) / num_bases,
    )


def token_use(tokenizer: Tokenizer, counts: Counts, num_bases: int) -> TokenUse:
    """Compute the usage of the vocabulary from the count of each id."""
    num_tokens = int(counts.sum())
    bits = entropy(counts)
    order = np.argsort(-counts, kind="stable")[:_NUM_SHOWN].tolist()
    return TokenUse(
        num_tokens=num_tokens,
        vocabulary_size=len(tokenizer.tokens) - FIRST_REAL_ID,
        num_used=int(np.count_nonzero(counts)),
        bases_per_token=num_bases / num_tokens,
        bits_per_token=bits,
        bits_per_base=bits * num_tokens / num_bases,
        most=tuple(
            KmerCount(word=tokenizer.tokens[number], count=int(counts[number]))
            for number in order
            if counts[number]
        ),
    )


def lengths_of(lengths: npt.NDArray[np.int64]) -> Lengths:
    """Compute the distribution of one or more lengths."""
    descending = np.sort(lengths)[::-1]
    cumulative = np.cumsum(descending)
    # Doubled, so that half of an odd sum stays an integer.
    l50 = int(np.searchsorted(2 * cumulative, cumulative[-1])) + 1
    shortest, longest = int(descending[-1]), int(descending[0])
    edges = np.geomspace(shortest, max(longest, shortest + 1), _NUM_BINS + 1)
    edges[0], edges[-1] = shortest, max(longest, shortest + 1)
    counts, _ = np.histogram(descending, bins=edges)
    return Lengths(
        num_records=descending.size,
        shortest=shortest,
        median=float(np.median(descending)),
        longest=longest,
        n50=int(descending[l50 - 1]),
        l50=l50,
        bin_edges=tuple(edges.tolist()),
        bin_counts=tuple(counts.tolist()),
    )
