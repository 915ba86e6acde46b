"""Error of a model whose matrix products are computed in int8, as recorded in its bundle.

`config.json` holds it as `inference.int8`; `embed --precision auto` decides by it.
"""

from __future__ import annotations

from dataclasses import dataclass

# Bounds of a harmless error.
LEAST_COSINE = 0.9995
MOST_BITS = 0.002


@dataclass(frozen=True, kw_only=True)
class ProbeScores:
    """Scores of probes on the vectors of one task."""

    fp32: float  # Score of float32 vectors.
    int8: float  # Score of int8 vectors.
    noise: float  # Standard deviation of the score over test rows.

    @property
    def is_harmless(self) -> bool:
        """True if the int8 score is not lower by more than the noise."""
        return self.int8 >= self.fp32 - self.noise


@dataclass(frozen=True, kw_only=True)
class Int8Record:
    """Measured error of a model in int8."""

    cosine: float  # Mean cosine of float32 and int8 vectors.
    bits_per_base_fp32: float  # Bits per held-out base in float32.
    bits_per_base_int8: float  # Bits per held-out base in int8.
    probes: dict[str, ProbeScores]  # Scores of probes, by task.

    @property
    def is_harmless(self) -> bool:
        """True if vectors, likelihoods and probes are within their bounds."""
        return (
            self.cosine >= LEAST_COSINE
            and self.bits_per_base_int8 - self.bits_per_base_fp32 <= MOST_BITS
            and all(probe.is_harmless for probe in self.probes.values())
        )
