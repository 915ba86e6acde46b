"""Uniform sample of bounded size from sequences that are read once.

Every sequence is cut into windows from its start. Each window draws a random number, and the
windows with the smallest numbers are kept. All windows have equal probability, whatever the order
and number of sequences; memory is at most twice the sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import decode_bases, encode_bases


@dataclass(frozen=True, kw_only=True)
class SampleRule:
    """Size and seed of a sample."""

    num_bases: int = 1 << 22  # Maximum number of bases.
    window: int = 2048  # Number of bases per window.
    seed: int = 0  # Random seed.

    def __post_init__(self) -> None:
        if not 1 <= self.window <= self.num_bases:
            raise ConfigError(
                f"a sample of {self.num_bases} bases cannot hold a window of {self.window}",
                hint="a window holds at least one base, a sample at least one window",
            )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Sampled windows."""

    windows: tuple[str, ...]  # Bases A C G T N, in reading order.
    num_bases: int  # Number of bases in the windows.
    num_seen: int  # Number of bases in all sequences.


def sample_windows(sequences: Iterable[bytes], rule: SampleRule) -> Sample:
    """Sample windows of sequences.

    Raises:
        AlphabetError: A character is not a nucleotide code.
    """
    generator = np.random.default_rng(rule.seed)
    num_windows = rule.num_bases // rule.window
    reservoir: list[tuple[float, int, bytes]] = []
    threshold = 1.0
    num_seen = number = 0
    for sequence in sequences:
        draws = generator.random(-(-len(sequence) // rule.window))
        for index in np.flatnonzero(draws < threshold).tolist():
            start = index * rule.window
            window = bytes(sequence[start : start + rule.window])
            reservoir.append((float(draws[index]), number + index, window))
            if len(reservoir) >= 2 * num_windows:
                reservoir = sorted(reservoir)[:num_windows]
                threshold = reservoir[-1][0]
        num_seen += len(sequence)
        number += draws.size
    selected = sorted(sorted(reservoir)[:num_windows], key=lambda draw: draw[1])
    windows = tuple(decode_bases(encode_bases(window)) for _, _, window in selected)
    return Sample(windows=windows, num_bases=sum(map(len, windows)), num_seen=num_seen)
