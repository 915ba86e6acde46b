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
    # As many bases on either side, so that the other strand is read in the same window.
    flank = (window - longer) // 2
    is_whole = codes.size + longer - ref.size <= window
    width = codes.size if is_whole else min(ref.size + 2 * flank, codes.size)
    window_start = min(max(start - flank, 0), codes.size - width)
    window_end = window_start + width
    before, after = codes[window_start:start], codes[start + ref.size : window_end]
    return WindowPair(
        codes[window_start:window_end],
        np.concatenate((before, alt, after)),
        start - window_start,
        ref.size,
        alt.size,
    )
