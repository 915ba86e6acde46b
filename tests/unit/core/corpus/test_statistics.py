"""Statistics of a corpus, compared with counts by hand."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.corpus import statistics
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.corpus.statistics import CorpusStatistics, corpus_statistics, lengths_of
from genomeformer_cli.core.formats.fasta import Record
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.tokenizers.bpe import train_bpe
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from tests.corpora import CorpusWriter, genome, random_dna

GENOMES = {
    "one": {"a": random_dna(997, 1), "b": "acgtNNNNacgtacg" + random_dna(300, 2) + "NNA"},
    "two": {"a": "GGGGGCCCCC" * 3, "empty": "", "c": "AT"},
}
ALL = [sequence for records in GENOMES.values() for sequence in records.values()]
TOKENIZERS: list[Tokenizer] = [
    CharTokenizer(),
    KmerTokenizer(3),
    KmerTokenizer(6, 1),
    KmerTokenizer(5, 3),
    train_bpe((sequence.encode() for sequence in ALL), 40),
]
every_tokenizer = pytest.mark.parametrize(
    "tokenizer", TOKENIZERS, ids=lambda one: "-".join([one.kind, *map(str, one.rules[:1])])
)


def counted(folder: Path, tokenizer: Tokenizer) -> tuple[Corpus, CorpusStatistics]:
    folder.mkdir()
    writer = CorpusWriter(folder, tokenizer)
    for name, records in GENOMES.items():
        writer.add_genome(genome(name), [Record(r, "", s) for r, s in records.items()])
    writer.finish(name="c", split=SplitConfig(by=SplitBy.TAIL), inputs_sha256="0" * 64)
    corpus = Corpus(folder)
    return corpus, corpus_statistics(corpus, SilentReporter())


@every_tokenizer
def test_every_base_is_counted_once(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_BLOCK", 7)
    _, found = counted(tmp_path / "c", tokenizer)
    letters = Counter("".join(ALL).upper())
    assert found.composition.base_counts == {base: letters[base] for base in "ACGTN"}
    assert found.composition.gc == pytest.approx(
        (letters["C"] + letters["G"]) / (letters.total() - letters["N"])
    )
    assert found.composition.unknown_fraction == pytest.approx(letters["N"] / letters.total())
    assert sum(split.num_bases for split in found.splits) == letters.total()
    for one in found.genomes:
        own = Counter("".join(GENOMES[one.name].values()).upper())
        assert one.composition.base_counts == {base: own[base] for base in "ACGTN"}
    for k, spectrum in enumerate(found.spectra, start=1):
        windows = (s[i : i + k].upper() for s in ALL for i in range(len(s) - k + 1))
        words = Counter(word for word in windows if "N" not in word)
        assert spectrum.k == k
        assert (spectrum.num_words, spectrum.num_distinct) == (words.total(), len(words))
        assert spectrum.most.count == max(words.values())
        assert words[spectrum.least.word] == spectrum.least.count


@every_tokenizer
def test_tokens_are_those_of_the_shards(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus, found = counted(tmp_path / "c", tokenizer)
    ids = np.concatenate([corpus.tokens(segment) for segment in corpus.segments()])
    times = Counter(ids.tolist())
    use = found.token_use
    assert use.num_tokens == ids.size == sum(split.num_tokens for split in found.splits)
    assert use.num_used == len(times)
    assert use.vocabulary_size == len(tokenizer.tokens) - 5
    entropy = -sum(n / ids.size * math.log2(n / ids.size) for n in times.values())
    assert use.bits_per_token == pytest.approx(entropy)
    assert use.bits_per_base == pytest.approx(entropy * ids.size / found.composition.num_bases)
    assert [one.count for one in use.most] == [n for _, n in times.most_common(5)]
    assert {split.split: split.num_segments for split in found.splits} == Counter(
        segment.split for segment in corpus.segments()
    )


def test_the_soft_mask_of_a_genome_is_known_where_a_token_is_a_base(tmp_path: Path) -> None:
    _, found = counted(tmp_path / "c", CharTokenizer())
    num_bases = sum(map(len, GENOMES["one"].values()))
    assert [one.soft_mask_fraction for one in found.genomes] == [pytest.approx(11 / num_bases), 0]
    assert found.soft_mask_fraction == pytest.approx(11 / sum(map(len, ALL)))
    _, found = counted(tmp_path / "k", KmerTokenizer(3))
    assert [one.soft_mask_fraction for one in found.genomes] == [None, None]
    assert found.soft_mask_fraction == pytest.approx(11 / sum(map(len, ALL)))


def test_records_without_a_base_are_left_out(tmp_path: Path) -> None:
    _, found = counted(tmp_path / "c", CharTokenizer())
    assert [one.num_records for one in found.genomes] == [2, 2]
    lengths = sorted(len(sequence) for sequence in ALL if sequence)
    assert found.lengths.num_records == 4
    assert (found.lengths.shortest, found.lengths.longest) == (lengths[0], lengths[-1])


def test_lengths_by_hand() -> None:
    found = lengths_of(np.array([80, 70, 50, 40, 30, 20]))  # 290 bases: 80 + 70 hold half
    assert (found.n50, found.l50, found.median) == (70, 2, 45.0)
    assert (found.shortest, found.longest, found.num_records) == (20, 80, 6)
    assert sum(found.bin_counts) == 6
    even = lengths_of(np.array([10, 10]))
    assert (even.n50, even.l50, sum(even.bin_counts)) == (10, 1, 2)
    odd = lengths_of(np.array([1, 2, 2]))  # 5 bases: 2 are less than half
    assert (odd.n50, odd.l50) == (2, 2)


@given(lengths=st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_n50_is_the_longest_length_that_holds_half(lengths: list[int]) -> None:
    found = lengths_of(np.array(lengths))
    holding = [n for n in lengths if 2 * sum(m for m in lengths if m >= n) >= sum(lengths)]
    assert found.n50 == max(holding)
    assert sum(found.bin_counts) == len(lengths)


def test_a_corpus_of_n_alone_has_no_words_and_no_gc(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    writer = CorpusWriter(folder, CharTokenizer())
    writer.add_genome(genome("n"), [Record("a", "", "N" * 20)])
    writer.finish(name="c", split=SplitConfig(by=SplitBy.TAIL), inputs_sha256="0" * 64)
    found = corpus_statistics(Corpus(folder), SilentReporter())
    assert found.composition.gc is None
    assert found.composition.unknown_fraction == 1
    assert found.spectra == ()
    assert found.token_use.bits_per_token == 0
