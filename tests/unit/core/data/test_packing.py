"""Packed rows lose nothing, repeat nothing, and are a function of (seed, step)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.data.packing import PackedRows, num_packed_rows
from genomeformer_cli.core.data.windows import Sampling, Windows, WindowSampler, other_strand
from genomeformer_cli.core.sequence import reverse_complement
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.tokenizers.protocol import PAD_ID
from genomeformer_cli.core.tokenizers.token_lengths import token_layout
from tests.corpora import build_corpus, random_dna

LENGTH = 64
SEQUENCES = {f"s{n}": random_dna(5 + 7 * n, n) for n in range(8)} | {"long": random_dna(500, 99)}
SPLIT = SplitConfig(by=SplitBy.RECORD, holdout=("s0",))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return build_corpus(tmp_path / "corpus", SEQUENCES, split=SPLIT)


def sampler(corpus: Corpus, *, batch_size: int = 3, strands: bool = False) -> WindowSampler:
    sampling = Sampling(
        length=LENGTH, batch_size=batch_size, seed=5, reverse_complement=strands, short="pack"
    )
    return WindowSampler(corpus, "train", sampling)


def documents(corpus: Corpus, windows: Windows) -> list[str]:
    """The letters of every document of a batch."""
    numbers_BL = windows.documents_BL
    if numbers_BL is None:
        numbers_BL = np.where(windows.tokens_BL == PAD_ID, -1, 0)
    return [
        corpus.tokenizer.decode(tokens_L[numbers_L == number].astype(np.uint8))
        for tokens_L, numbers_L in zip(windows.tokens_BL, numbers_BL, strict=True)
        for number in range(int(numbers_L.max()) + 1)
    ]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 40), st.integers(0, 9))
def test_every_token_of_every_contig_is_in_one_row(
    lengths: list[int], row_length: int, seed: int
) -> None:
    sizes = np.array(lengths)
    rows = PackedRows(sizes, row_length, (seed,))
    seen = [np.zeros(size, dtype=int) for size in lengths]
    number = num_packed_rows(sizes, row_length)
    for row in range(number):
        pieces = rows.row(row)
        total = sum(piece.stop - piece.start for piece in pieces)
        assert total == row_length or row == number - 1
        for piece in pieces:
            assert piece.start < piece.stop
            seen[piece.contig][piece.start : piece.stop] += 1
    assert all((one == 1).all() for one in seen)


def test_an_epoch_reads_every_base_of_the_short_ones_once(corpus: Corpus) -> None:
    drawn = sampler(corpus, batch_size=1)
    batches = [drawn.batch(step)[0] for step in range(drawn.num_windows)]
    found = [one for batch in batches for one in documents(corpus, batch)]
    short = {name: s for name, s in SEQUENCES.items() if name not in ("long", "s0")}
    whole = [one for one in found if one in SEQUENCES["long"]]
    assert len(whole) == 8
    pieces = [one for one in found if one not in SEQUENCES["long"]]
    for sequence in short.values():
        own = [one for one in pieces if one in sequence]
        places = sorted((sequence.index(one), one) for one in own)
        assert "".join(one for _, one in places) == sequence
    # No row but the last of the packed ones has padding.
    assert sum(int((batch.tokens_BL == PAD_ID).sum()) for batch in batches) == 0


def test_a_packed_step_does_not_depend_on_the_steps_before_it(corpus: Corpus) -> None:
    walked = sampler(corpus, strands=True)
    batches = [walked.batch(step)[0] for step in range(20)]
    for step in (19, 4, 0, 11):
        again = sampler(corpus, strands=True).batch(step)[0]
        assert np.array_equal(again.tokens_BL, batches[step].tokens_BL)
        for one, other in ((again, batches[step]), (batches[step], again)):
            if one.documents_BL is not None:
                assert other.documents_BL is not None
                assert np.array_equal(one.documents_BL, other.documents_BL)


def test_documents_are_read_from_either_strand(corpus: Corpus) -> None:
    drawn = sampler(corpus, batch_size=20, strands=True)
    found = [one for step in range(5) for one in documents(corpus, drawn.batch(step)[0])]
    forward = [any(one in s for s in SEQUENCES.values()) for one in found]
    backward = [any(reverse_complement(one) in s for s in SEQUENCES.values()) for one in found]
    assert all(a or b for a, b in zip(forward, backward, strict=True))
    assert 0.3 < np.mean([a and not b for a, b in zip(forward, backward, strict=True)]) < 0.7


def test_rows_are_as_wide_as_the_longest_of_the_batch(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path / "c", {"a": random_dna(20), "b": random_dna(30)}, split=None)
    sampling = Sampling(length=LENGTH, batch_size=4, seed=5, reverse_complement=False)
    windows, _ = WindowSampler(corpus, "train", sampling).batch(0)
    assert windows.documents_BL is None
    assert windows.tokens_BL.shape == (4, 27)


@pytest.mark.parametrize("settings", [{"k": 3}, {"k": 4, "stride": 1}, {"k": 1}])
def test_the_other_strand_of_any_tokens(settings: dict[str, int]) -> None:
    tokenizer = build_tokenizer("kmer", **settings)
    text = "ACGTTGCAANNACGGTCA"
    codes = np.array(["ACGTN".index(one) for one in text], dtype=np.uint8)
    tokens = tokenizer.encode(codes)
    lower = np.zeros(tokens.size, dtype=np.bool_)
    lower[0] = True
    turned, mask = other_strand((tokens, lower), tokenizer, token_layout(tokenizer).bases_V)
    spelled = tokenizer.decode(turned)
    assert reverse_complement(text).startswith(spelled)
    assert turned.size == mask.size <= tokens.size
    assert mask[-1] or settings == {"k": 3}
