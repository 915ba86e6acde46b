"""A bounded, even sample of sequences that are read once.

Every sequence is cut into windows from its start; each window draws a number, and those with the
smallest numbers are kept. So every window of all that was read has the same chance, whatever the
order and the number of sequences, and memory stays at twice the sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import decode_bases, encode_bases


@dataclass(frozen=True, kw_only=True)
class SampleRule:
    """How a sample is drawn.

    Attributes:
        num_bases: Bases to keep, at most.
        window: Bases that are kept or left together.
        seed: Of the draw.
    """

    num_bases: int = 1 << 22
    window: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.window <= self.num_bases:
            raise ConfigError(
                f"a sample of {self.num_bases} bases has no window of {self.window}",
                hint="a window holds at least one base, a sample at least one window",
            )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was drawn.

    Attributes:
        windows: Bases A C G T N, in the order they were read.
        num_bases: In the windows.
        num_seen: In all sequences.
    """

    windows: tuple[str, ...]
    num_bases: int
    num_seen: int


def sample_windows(sequences: Iterable[bytes], rule: SampleRule) -> Sample:
    """Draw windows of sequences.

    Raises:
        AlphabetError: A character is no nucleotide.
    """
    generator = np.random.default_rng(rule.seed)
    wanted = rule.num_bases // rule.window
    kept: list[tuple[float, int, bytes]] = []
    highest = 1.0
    num_seen = number = 0
    for sequence in sequences:
        draws = generator.random(-(-len(sequence) // rule.window))
        for index in np.flatnonzero(draws < highest).tolist():
            start = index * rule.window
            window = bytes(sequence[start : start + rule.window])
            kept.append((float(draws[index]), number + index, window))
            if len(kept) >= 2 * wanted:
                kept = sorted(kept)[:wanted]
                highest = kept[-1][0]
        num_seen += len(sequence)
        number += draws.size
    chosen = sorted(sorted(kept)[:wanted], key=lambda one: one[1])
    windows = tuple(decode_bases(encode_bases(window)) for _, _, window in chosen)
    return Sample(windows=windows, num_bases=sum(map(len, windows)), num_seen=num_seen)
