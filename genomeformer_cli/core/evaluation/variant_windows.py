"""Windows around a variant, with the reference and with the alternative allele."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.formats.named_records import unknown_record
from genomeformer_cli.core.formats.vcf import Variant, allele_problem
from genomeformer_cli.core.genomes.regions import variant_problem
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    encode_bases,
    reverse_complement_codes,
)


@dataclass(frozen=True)
class WindowPair:
    """Window with and without a change, and the position of the change."""

    ref: Codes  # Window with the reference allele.
    alt: Codes  # Window with the alternative allele.
    first: int  # First base of the allele.
    num_ref: int  # Bases of the reference allele.
    num_alt: int  # Bases of the alternative allele.

    @property
    def changed(self) -> slice:
        """Slice of the changed bases."""
        return slice(self.first, self.first + self.num_ref)

    @property
    def reverse_complement(self) -> WindowPair:
        """Reverse complement of the pair."""
        return WindowPair(
            reverse_complement_codes(self.ref),
            reverse_complement_codes(self.alt),
            self.ref.size - self.first - self.num_ref,
            self.num_ref,
            self.num_alt,
        )


def window_pair(variant: Variant, genome: Mapping[str, Codes], window: int) -> WindowPair | str:
    """Return the windows of a variant, or the reason why there are none."""
    codes = genome.get(variant.chromosome)
    if codes is None:
        return variant.problem or unknown_record(variant.chromosome, genome)
    problem = allele_problem(variant.position, variant.ref, variant.alt)
    if problem or (problem := variant_problem(variant, codes)):
        return problem
    start = variant.position - 1
    ref, alt = encode_bases(variant.ref), encode_bases(variant.alt)
    if (ref >= NUM_REAL_BASES).any() or (alt >= NUM_REAL_BASES).any():
        return "unknown base: an allele holds `N` or another ambiguity code"
    longer = max(ref.size, alt.size)
    if longer > window:
        return f"too long: an allele of {longer:,} bases, and the window holds {window:,}"
    first = window_start(variant, codes.size, window)
    last = first + _window_width(variant, codes.size, window)
    before, after = codes[first:start], codes[start + ref.size : last]
    return WindowPair(
        codes[first:last],
        np.concatenate((before, alt, after)),
        start - first,
        ref.size,
        alt.size,
    )


def _window_width(variant: Variant, record_size: int, window: int) -> int:
    """Return the bases of a window: as many on either side of the variant."""
    num_ref, longer = len(variant.ref), max(len(variant.ref), len(variant.alt))
    if record_size + longer - num_ref <= window:
        return record_size
    return min(num_ref + 2 * ((window - longer) // 2), record_size)


def window_start(variant: Variant, record_size: int, window: int) -> int:
    """Return the first base of the window of a variant."""
    flank = (window - max(len(variant.ref), len(variant.alt))) // 2
    room = record_size - _window_width(variant, record_size, window)
    return min(max(variant.position - 1 - flank, 0), room)
