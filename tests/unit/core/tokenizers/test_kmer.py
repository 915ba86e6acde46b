"""Tokenizers of k-mers."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer


def cut(sequence: str, k: int, stride: int | None = None) -> list[str]:
    tokenizer = KmerTokenizer(k, stride)
    return [tokenizer.tokens[number] for number in tokenizer.encode(encode_bases(sequence))]


@pytest.mark.parametrize(
    ("sequence", "k", "stride", "tokens"),
    [
        ("ACGTACGTAC", 3, 3, "ACG TAC GTA C"),
        ("ACGTAC", 3, 1, "ACG CGT GTA TAC"),
        ("ACGTAC", 3, 2, "ACG GTA C"),
        ("ACGTACG", 3, 2, "ACG GTA ACG"),
        ("acgNuag", 3, 3, "ACG N TAG"),
        ("ACGTNNAC", 3, 1, "ACG CGT N N A C"),
        ("RACGTACG", 3, 3, "N ACG TAC G"),
        ("ACNGTACG", 3, 3, "A C N GTA C G"),
        ("AC", 3, 3, "A C"),
        ("AC", 3, 1, "A C"),
        ("NNN", 3, 3, "N N N"),
        ("ACGT", 1, 1, "A C G T"),
    ],
)
def test_how_a_sequence_is_cut(sequence: str, k: int, stride: int, tokens: str) -> None:
    assert cut(sequence, k, stride) == tokens.split()


def test_without_a_stride_nothing_overlaps() -> None:
    assert KmerTokenizer(6).settings == {"k": 6, "stride": 6}
    assert KmerTokenizer().settings == {"k": 6, "stride": 6}


@pytest.mark.parametrize(
    ("k", "num_tokens", "dtype"),
    [(1, 10, np.uint8), (3, 74, np.uint8), (4, 266, np.uint16), (7, 16394, np.uint16)],
)
def test_sizes(k: int, num_tokens: int, dtype: type[np.uint8 | np.uint16]) -> None:
    tokenizer = KmerTokenizer(k)
    assert len(tokenizer.tokens) == num_tokens
    assert tokenizer.dtype == np.dtype(dtype)


def test_8_mers_need_four_bytes() -> None:
    assert len(KmerTokenizer(8).tokens) == 4**8 + 10
    assert KmerTokenizer(8).dtype == np.dtype(np.uint32)


@pytest.mark.parametrize(
    ("k", "stride"), [(0, None), (9, None), (-1, 1), (3, 0), (3, 4), (True, 1)]
)
def test_invalid_requests_are_refused(k: int, stride: int | None) -> None:
    with pytest.raises(ConfigError, match="invalid"):
        KmerTokenizer(k, stride)


@pytest.mark.parametrize("period", [3, 50, 5000, 200_000])
@pytest.mark.parametrize(("k", "stride"), [(6, 6), (6, 1), (5, 2)])
def test_stretches_of_every_length_are_cut_alike(k: int, stride: int, period: int) -> None:
    codes = np.random.default_rng(period).integers(0, 4, 20_000 + 2 * period).astype(np.uint8)
    codes[period - 1 :: period] = 4
    codes[1_000:9_000:7] = 4
    tokenizer = KmerTokenizer(k, stride)
    edges = np.flatnonzero(codes == 4)
    pieces = [tokenizer.encode(piece) for piece in np.split(codes, np.union1d(edges, edges + 1))]
    assert (tokenizer.encode(codes) == np.concatenate(pieces)).all()
