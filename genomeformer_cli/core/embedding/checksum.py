"""Checksum of what a model computes for fixed sequences, equal on all machines.

Machines differ in the last digits of a result, and the digits of a rounded number can differ where
it lies near a boundary. So only few numbers are kept, and only coarsely:

1. Sequence k of length n has the bases A C G T for the pairs of bits 00 01 10 11 of
   SHA-256("genomeformer k"), first bit first, first n of 128. Some bases of it are hidden, see
   `SEQUENCES`. A sequence of more tokens than the model reads at once loses its last bases.
2. The model reads each sequence alone, on the CPU in float32. One vector is the mean of the
   features of the last layer over the tokens, and another the mean of the logits, if it has a head.
3. A vector v has 17 numbers: log2 |v|, and the projections s . v / |v|, where sign s[i] of
   projection j is + if bit i mod 256 of SHA-256("genomeformer j i // 256") is set, and - otherwise.
4. Each is divided by 0.05 and rounded to a whole number. The checksum is the first 16 hexadecimal
   digits of the SHA-256 of all whole numbers, those of the features first, separated by blanks.

Two machines that differ by 1e-6 in a vector have equal checksums; in one pair of 1,000, one number
differs by one.
Shape letters: L length, E features, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.sequence import encode_bases

NUM_PROJECTIONS = 16
STEP = 0.05
_NUM_DIGITS = 16
_BITS = 256
# Length of each sequence, and the places that are N in it.
SEQUENCES = ((128, ()), (127, ()), (64, (20, 21, 63)), (7, ()))


@dataclass(frozen=True, kw_only=True)
class ModelChecksum:
    """Numbers of a model and their checksum."""

    checksum: str  # First digits of the SHA-256 of the numbers.
    features: tuple[tuple[int, ...], ...]  # Numbers of the features, by sequence.
    logits: tuple[tuple[int, ...], ...]  # Numbers of the logits; empty without a head.


def checksum_sequences() -> tuple[str, ...]:
    """Return the sequences that a model is checked with."""
    return tuple(
        _sequence(number, length, hidden) for number, (length, hidden) in enumerate(SEQUENCES)
    )


def sequences_of(loaded: LoadedModel) -> tuple[str, ...]:
    """Return the sequences, each cut to the bases that the longest row of a model holds."""
    return tuple(_fitting(sequence, loaded) for sequence in checksum_sequences())


def _fitting(sequence: str, loaded: LoadedModel) -> str:
    longest = loaded.model.config.context
    while sequence and loaded.tokenizer.encode(encode_bases(sequence)).size > longest:
        sequence = sequence[:-1]
    return sequence


def _sequence(number: int, length: int, hidden: tuple[int, ...]) -> str:
    bits = _bits(f"genomeformer {number}")
    pairs = 2 * bits[0::2] + bits[1::2]
    letters = ["ACGT"[pair] for pair in pairs[:length]]
    for place in hidden:
        letters[place] = "N"
    return "".join(letters)


def _bits(text: str) -> npt.NDArray[np.int64]:
    digest = hashlib.sha256(text.encode()).digest()
    return np.unpackbits(np.frombuffer(digest, dtype=np.uint8)).astype(np.int64)


def project(vector: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Return the rounded length and projections of a vector; all 0 for a vector of zeros."""
    blocks = range(-(-vector.size // _BITS))
    length = float(np.linalg.norm(vector)) or 1.0
    numbers = [round(math.log2(length) / STEP)]
    for number in range(NUM_PROJECTIONS):
        bits = np.concatenate([_bits(f"genomeformer {number} {block}") for block in blocks])
        signs = 2 * bits[: vector.size] - 1
        numbers.append(round(float(signs @ vector) / length / STEP))
    return tuple(numbers)


@torch.no_grad()
def compute_checksum(loaded: LoadedModel) -> ModelChecksum:
    """Compute the checksum of a model.

    Args:
        loaded: Model on the CPU, in float32.
    """
    features, logits = [], []
    for sequence in sequences_of(loaded):
        ids = loaded.tokenizer.encode(encode_bases(sequence))
        tokens_1L = torch.from_numpy(ids.astype(np.int64))[None]
        hidden_LE = loaded.model.hidden(tokens_1L, None)[0]
        features.append(project(_mean(hidden_LE)))
        try:
            logits.append(project(_mean(loaded.model.logits(hidden_LE))))
        except ConfigError:  # published without a head
            continue
    text = " ".join(str(number) for numbers in (*features, *logits) for number in numbers)
    return ModelChecksum(
        checksum=hashlib.sha256(text.encode()).hexdigest()[:_NUM_DIGITS],
        features=tuple(features),
        logits=tuple(logits),
    )


def _mean(x_LX: Tensor) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = x_LX.double().mean(dim=0).numpy()
    return mean
