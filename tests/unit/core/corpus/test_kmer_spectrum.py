"""Counted words against a plain `Counter` over the letters."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genomeformer_cli
from genomeformer_cli.core.corpus import kmer_spectrum as spectrum
from genomeformer_cli.core.corpus.kmer_spectrum import MAX_K, KmerCounter, spectrum_of
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.sequence import encode_bases, reverse_complement

SAMPLE_FOLDER = Path(genomeformer_cli.__file__).parent / "assets" / "genomes"


def counted(records: Iterable[str], piece: int = 1 << 20) -> KmerCounter:
    counter = KmerCounter()
    for record in records:
        codes = encode_bases(record)
        for start in range(0, codes.size, piece):
            counter.add(codes[start : start + piece])
        counter.end_record()
    return counter


def by_letters(records: Iterable[str], k: int) -> Counter[str]:
    words: Counter[str] = Counter()
    for record in records:
        windows = (record[i : i + k] for i in range(len(record) - k + 1))
        words.update(word for word in windows if "N" not in word)
    return words


@cache
def all_words(k: int) -> list[str]:
    return ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]


def spelled(counter: KmerCounter, k: int) -> Counter[str]:
    words, counts = all_words(k), counter.counts()[k]
    assert len(words) == len(counts)
    return Counter({words[place]: int(counts[place]) for place in counts.nonzero()[0]})


@pytest.mark.parametrize("genome", ["NC_001422.1", "NC_001416.1"])
def test_a_real_genome_has_the_kmers_that_a_counter_finds(genome: str) -> None:
    (record,) = read_records(SAMPLE_FOLDER / f"{genome}.fa.gz")
    counter = counted([record.sequence], piece=1000)
    for k in range(1, MAX_K + 1):
        assert spelled(counter, k) == by_letters([record.sequence], k)


@given(
    records=st.lists(st.text(alphabet="ACGTN", max_size=40), max_size=5),
    piece=st.integers(1, 17),
)
def test_words_do_not_depend_on_the_pieces_they_come_in(records: list[str], piece: int) -> None:
    counter = counted(records, piece)
    for k in range(1, MAX_K + 1):
        assert spelled(counter, k) == by_letters(records, k)


def test_long_pieces_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "_BLOCK", 5)
    counter = counted(["ACGTACGTTTGANACCA"])
    assert spelled(counter, 4) == by_letters(["ACGTACGTTTGANACCA"], 4)


def test_a_spectrum_agrees_with_its_counts() -> None:
    counter = counted(["AAAAC"])  # AA AA AA AC
    found = spectrum_of(2, counter.counts()[2])
    assert found is not None
    assert (found.num_possible, found.num_distinct, found.num_words) == (16, 2, 4)
    assert (found.most.word, found.most.count) == ("AA", 3)
    assert (found.least.word, found.least.count) == ("AG", 0)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found.bits_per_base == pytest.approx(entropy / 2)


def test_a_kmer_and_its_reverse_complement_are_counted_together() -> None:
    (record,) = read_records(SAMPLE_FOLDER / "NC_001422.1.fa.gz")
    found = spectrum_of(3, counted([record.sequence]).counts()[3])
    assert found is not None
    folded: Counter[str] = Counter()
    for word, count in by_letters([record.sequence], 3).items():
        folded[min(word, reverse_complement(word))] += count
    assert found.num_canonical == 32
    falling = sorted(folded.values(), reverse=True)
    assert list(found.counts) == [falling[rank - 1] for rank in found.ranks]
    assert (found.ranks[0], found.ranks[-1]) == (1, 32)


def test_four_letters_words_equal_to_their_own_other_strand_are_kept_once() -> None:
    counts = np.ones(16, dtype=np.int64)
    found = spectrum_of(2, counts)
    assert found is not None
    assert found.num_canonical == 10
    assert sorted(found.counts) == [1] * 4 + [2] * 6
    assert found.bits_per_base == 2.0


def test_counts_of_zero_have_no_spectrum() -> None:
    counts = counted(["ACG"]).counts()
    assert spectrum_of(4, counts[4]) is None
    assert spectrum_of(3, counts[3]) is not None
