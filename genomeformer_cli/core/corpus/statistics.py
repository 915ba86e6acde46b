"""What a corpus is made of, in numbers: composition, token use, k-mer spectra, record lengths.

Read from the token shards in blocks, so that memory does not grow with the corpus but for one
number a record.
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
    """Which bases some sequences are made of.

    Attributes:
        num_bases: All letters.
        base_counts: How often each base occurs, A C G T N.
        gc: Part of A C G T that is G or C; None where there is none of them.
        unknown_fraction: Part of all letters that is N.
    """

    num_bases: int
    base_counts: dict[str, int]
    gc: float | None
    unknown_fraction: float


@dataclass(frozen=True, kw_only=True)
class GenomeStatistics:
    """One genome of a corpus.

    Attributes:
        name: Its name in the cache.
        organism: Scientific name, if known.
        num_records: Records with at least one base.
        composition: Its bases.
        soft_mask_fraction: Part of its bases that was lower case; None where a token holds several
            bases, because the corpus keeps the mask of the first one alone.
    """

    name: str
    organism: str | None
    num_records: int
    composition: Composition
    soft_mask_fraction: float | None


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """Training, or what is held out."""

    split: str
    num_segments: int
    num_tokens: int
    num_bases: int


@dataclass(frozen=True, kw_only=True)
class TokenUse:
    """Which tokens of the vocabulary occur, and how evenly.

    Attributes:
        num_tokens: Tokens in the corpus.
        vocabulary_size: Tokens that can occur: all but the special ones.
        num_used: Tokens of them that do.
        bases_per_token: Letters of the corpus for each token.
        bits_per_token: Entropy of single tokens.
        bits_per_base: The same for each letter of the corpus: what it would cost to write the
            corpus down, each token drawn by its frequency alone.
        most: The most frequent tokens.
    """

    num_tokens: int
    vocabulary_size: int
    num_used: int
    bases_per_token: float
    bits_per_token: float
    bits_per_base: float
    most: tuple[KmerCount, ...]


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the records are, in bases.

    Attributes:
        num_records: Records with at least one base.
        shortest: The shortest.
        median: Half of them are shorter (of two in the middle, the mean).
        longest: The longest.
        n50: Records at least this long hold half of all bases.
        l50: How many records that are.
        bin_edges: Edges of the histogram, one more than bins, each a constant factor apart.
        bin_counts: Records in each bin; the last one has both its edges.
    """

    num_records: int
    shortest: int
    median: float
    longest: int
    n50: int
    l50: int
    bin_edges: tuple[float, ...]
    bin_counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CorpusStatistics:
    """A corpus in numbers.

    Attributes:
        composition: Of all genomes.
        soft_mask_fraction: Part of all letters that was lower case, from the manifest.
        splits: Training and what is held out.
        genomes: Each genome.
        token_use: Which tokens occur.
        spectra: Words of 1 to 8 bases, as far as any is that long.
        lengths: Of the records.
    """

    composition: Composition
    soft_mask_fraction: float
    splits: tuple[SplitStatistics, ...]
    genomes: tuple[GenomeStatistics, ...]
    token_use: TokenUse
    spectra: tuple[Spectrum, ...]
    lengths: Lengths


def corpus_statistics(corpus: Corpus, reporter: Reporter) -> CorpusStatistics:
    """Read the whole corpus once and count."""
    gathered = _Gathered(corpus.tokenizer)
    size = np.dtype(corpus.manifest.dtype).itemsize
    total = size * sum(corpus.manifest.shard_tokens)
    with reporter.track("counting", total, "bytes") as tracker:
        for segment in corpus.segments():
            gathered.begin(segment)
            for start in range(0, segment.length, _BLOCK):
                stop = min(start + _BLOCK, segment.length)
                ids = np.asarray(corpus.tokens(segment, start, stop))
                num_soft = int(np.count_nonzero(corpus.soft_mask(segment, start, stop)))
                gathered.take(segment, ids, num_soft)
                tracker.advance(size * (stop - start))
        gathered.end_record()
    counts = sum((tally.counts for tally in gathered.genomes.values()), _no_bases())
    spectra = (spectrum_of(k, words) for k, words in gathered.words.counts().items())
    return CorpusStatistics(
        composition=composition_of(counts),
        soft_mask_fraction=corpus.manifest.num_soft_masked / int(counts.sum()),
        splits=tuple(gathered.splits()),
        genomes=tuple(_genomes(corpus, gathered)),
        token_use=token_use(corpus.tokenizer, gathered.ids, int(counts.sum())),
        spectra=tuple(spectrum for spectrum in spectra if spectrum is not None),
        lengths=lengths_of(np.array(gathered.lengths, dtype=np.int64)),
    )


def _no_bases() -> Counts:
    return np.zeros(len(BASES), dtype=np.int64)


class _Tally:
    """What is counted of one genome."""

    def __init__(self) -> None:
        self.counts = _no_bases()
        self.num_records = 0
        self.num_soft = 0


class _Gathered:
    """What is counted of a corpus, segment after segment."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: Ids = np.empty(0, dtype=tokenizer.dtype)
        self._splits: dict[str, Counts] = {}
        self._length = 0
        self.genomes: dict[str, _Tally] = {}
        self.ids: Counts = np.zeros(len(tokenizer.tokens), dtype=np.int64)
        self.words = KmerCounter()
        self.lengths: list[int] = []

    def begin(self, segment: Segment) -> None:
        """The next segment: a new record, or the same one in another split."""
        self.genomes.setdefault(segment.genome, _Tally())
        if segment.start == 0:
            self.end_record()
            self.genomes[segment.genome].num_records += 1
        split = self._splits.setdefault(segment.split, np.zeros(3, dtype=np.int64))
        split += (1, segment.length, 0)

    def take(self, segment: Segment, ids: Ids, num_soft: int) -> None:
        """The next tokens of the segment."""
        codes = self._bases(ids)
        genome = self.genomes[segment.genome]
        genome.counts += count_bases(codes)
        genome.num_soft += num_soft
        self.ids += np.bincount(ids, minlength=self.ids.size)
        self.words.add(codes)
        self._splits[segment.split][2] += codes.size
        self._length += codes.size

    def _bases(self, ids: Ids) -> Codes:
        """The bases that these tokens add to those before them: k-mers may overlap."""
        text = self._tokenizer.decode(np.concatenate([self._before, ids]))
        known = len(self._tokenizer.decode(self._before))
        self._before = ids[-1:].copy()
        return encode_bases(text[known:])

    def end_record(self) -> None:
        """The open record is whole."""
        if not self._length:
            return
        self.words.end_record()
        self.lengths.append(self._length)
        self._length = 0
        self._before = self._before[:0]

    def splits(self) -> Iterator[SplitStatistics]:
        """Training first."""
        for name, counts in sorted(self._splits.items()):
            segments, tokens, bases = counts.tolist()
            yield SplitStatistics(
                split=name, num_segments=segments, num_tokens=tokens, num_bases=bases
            )


def _genomes(corpus: Corpus, gathered: _Gathered) -> Iterator[GenomeStatistics]:
    organisms = {genome["name"]: genome.get("organism") for genome in corpus.manifest.genomes}
    for name, tally in gathered.genomes.items():
        composition = composition_of(tally.counts)
        exact = corpus.tokenizer.one_token_a_base
        yield GenomeStatistics(
            name=name,
            organism=organisms.get(name),
            num_records=tally.num_records,
            composition=composition,
            soft_mask_fraction=tally.num_soft / composition.num_bases if exact else None,
        )


def composition_of(counts: Counts) -> Composition:
    """Fractions of base counts, A C G T N; at least one base."""
    num_bases, num_real = int(counts.sum()), int(counts[:NUM_REAL_BASES].sum())
    strong = int(counts[BASES.index("C")] + counts[BASES.index("G")])
    return Composition(
        num_bases=num_bases,
        base_counts=dict(zip(BASES, counts.tolist(), strict=True)),
        gc=strong / num_real if num_real else None,
        unknown_fraction=(num_bases - num_real) / num_bases,
    )


def token_use(tokenizer: Tokenizer, counts: Counts, num_bases: int) -> TokenUse:
    """How the vocabulary is used, from how often each id occurs."""
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
    """The distribution of some lengths, at least one of them."""
    falling = np.sort(lengths)[::-1]
    held = np.cumsum(falling)
    # In whole numbers: half of an odd sum is not rounded.
    l50 = int(np.searchsorted(2 * held, held[-1])) + 1
    shortest, longest = int(falling[-1]), int(falling[0])
    edges = np.geomspace(shortest, max(longest, shortest + 1), _NUM_BINS + 1)
    edges[0], edges[-1] = shortest, max(longest, shortest + 1)
    counts, _ = np.histogram(falling, bins=edges)
    return Lengths(
        num_records=falling.size,
        shortest=shortest,
        median=float(np.median(falling)),
        longest=longest,
        n50=int(falling[l50 - 1]),
        l50=l50,
        bin_edges=tuple(edges.tolist()),
        bin_counts=tuple(counts.tolist()),
    )
