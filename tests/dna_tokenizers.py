"""The tokenizers that the contract suite goes through, by a name for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from genomeformer_cli.core.tokenizers.bpe import train_bpe
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer


def learned(vocab_size: int) -> Tokenizer:
    """Byte pairs of repeats in random bases, so that long tokens are among them."""
    bases = np.random.default_rng(3).choice(list(b"ACGT"), 4000).astype(np.uint8).tobytes()
    return train_bpe([bases + b"ACGTTGCA" * 300 + b"a" * 500 + b"NNN", b"acgu" * 90], vocab_size)


_BUILDERS: dict[str, Callable[[], Tokenizer]] = {
    "char": lambda: build_tokenizer("char"),
    "1-mers": lambda: build_tokenizer("kmer", k=1),
    "2-mers, overlapping": lambda: build_tokenizer("kmer", k=2, stride=1),
    "3-mers": lambda: build_tokenizer("kmer", k=3),
    "3-mers, stride 2": lambda: build_tokenizer("kmer", k=3, stride=2),
    "5-mers, stride 2": lambda: build_tokenizer("kmer", k=5, stride=2),
    "6-mers": lambda: build_tokenizer("kmer"),
    "6-mers, overlapping": lambda: build_tokenizer("kmer", k=6, stride=1),
    "8-mers": lambda: build_tokenizer("kmer", k=8),
    "8-mers, stride 3": lambda: build_tokenizer("kmer", k=8, stride=3),
    "byte pairs, 64": lambda: learned(64),
    "byte pairs, 400": lambda: learned(400),
}
# A tokenizer holds no state of its use: it is built once.
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    name: cache(build) for name, build in _BUILDERS.items()
}
