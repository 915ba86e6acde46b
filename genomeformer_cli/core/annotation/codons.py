"""Single-nucleotide substitutions of coding sequences, and their effect on the protein.

Spliced parts are joined in order and the minus strand is read as its complement. Start codons and
the final stop codon are left as they are. A base that several coding sequences read in different
frames has no single effect and is left out.

Shape letters: L bases of a coding sequence, C codons, N substitutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.genetic_code import GENETIC_CODES, STOP, amino_acids
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.formats.feature import MINUS, Feature, Kind
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, Flags

_CODON = 3
_WEIGHTS = np.array([16, 4, 1])

Numbers = npt.NDArray[np.int64]


class Effect(StrEnum):
    """Effect of a substitution on the protein, from mild to severe."""

    SYNONYMOUS = "synonymous"
    MISSENSE = "missense"
    STOP_GAINED = "stop gained"


EFFECTS = tuple(Effect)


@dataclass(frozen=True)
class CodingSequence:
    """Whole codons of a gene, in the order of translation."""

    gene: str  # Locus tag, or another name.
    position_C3: Numbers  # Position of each base on the record, 0-based.
    codes_C3: Codes  # Bases on the coding strand.
    is_minus: bool  # True for the minus strand.
    has_start: bool  # True if the first codon is the start codon.
    has_stop: bool  # True if the last codon is the stop codon.
    genetic_code: int  # Number of the genetic code.

    @property
    def codons(self) -> Numbers:
        """Numbers of the codons; meaningless for a codon with N."""
        numbers: Numbers = self.codes_C3.astype(np.int64) @ _WEIGHTS
        return numbers

    @property
    def are_real(self) -> Flags:
        """True for codons without N."""
        return np.asarray((self.codes_C3 < NUM_REAL_BASES).all(axis=1))


@dataclass(frozen=True, kw_only=True)
class Substitutions:
    """Single-nucleotide substitutions of one record, on its forward strand."""

    position_N: Numbers  # Position on the record, 0-based.
    ref_N: Codes  # Base of the record.
    alt_N: Codes  # Other base.
    effect_N: Numbers  # Index into `EFFECTS`.
    ref_codon_N: Numbers  # Codon with the base of the record.
    alt_codon_N: Numbers  # Codon with the other base.
    gene_N: npt.NDArray[np.str_]  # Name of the gene.

    def take(self, rows: Numbers) -> Substitutions:
        """Return some of the substitutions."""
        return Substitutions(**{name: values[rows] for name, values in vars(self).items()})


def coding_sequence(
    record: AnnotatedRecord, feature: Feature, default_code: int
) -> CodingSequence | str:
    """Return the codons of a CDS, or the reason why they are not used.

    Args:
        record: Record of the CDS.
        feature: The CDS.
        default_code: Genetic code of a CDS that names none.
    """
    code = feature.genetic_code or default_code
    problem = _problem(feature, code)
    if problem:
        return problem
    is_minus = feature.strand == MINUS
    parts = feature.parts[::-1] if is_minus else feature.parts
    first_phase = parts[0].phase or 0
    spans = [np.arange(part.start, part.end)[:: -1 if is_minus else 1] for part in parts]
    starts = np.cumsum([0, *(span.size for span in spans[:-1])])
    for part, start in zip(parts, starts, strict=True):
        if part.phase != (first_phase - start) % _CODON:
            return "phases of its parts disagree"
    position_L = np.concatenate(spans)[first_phase:] % record.codes.size
    surplus = position_L.size % _CODON
    if surplus and not feature.open_3:
        return "not a whole number of codons"
    position_C3 = position_L[: position_L.size - surplus].reshape(-1, _CODON)
    codes_C3 = record.codes[position_C3]
    if is_minus:
        codes_C3 = np.where(codes_C3 < NUM_REAL_BASES, NUM_REAL_BASES - 1 - codes_C3, codes_C3)
    coding = CodingSequence(
        gene=feature.locus_tag or feature.gene or feature.name,
        position_C3=position_C3,
        codes_C3=codes_C3.astype(np.uint8),
        is_minus=is_minus,
        has_start=not feature.open_5 and not first_phase,
        has_stop=not feature.open_3,
        genetic_code=code,
    )
    inner_C = coding.codons[:-1][coding.are_real[:-1]]
    if (amino_acids(code)[inner_C] == STOP).any():
        return "stop codon inside"
    return coding


def _problem(feature: Feature, genetic_code: int) -> str:
    if feature.pseudo:
        return "pseudogene"
    if feature.unclear:
        return "location not understood"
    if len({part.strand for part in feature.parts}) > 1:
        return "parts on both strands"
    if not feature.strand:
        return "no strand"
    if any(part.phase is None for part in feature.parts):
        return "no phase"
    return "" if genetic_code in GENETIC_CODES else f"unknown genetic code {genetic_code}"


def coding_features(record: AnnotatedRecord) -> list[Feature]:
    """Return the coding sequences of a record."""
    return [feature for feature in record.features if feature.kind is Kind.CDS]


def substitutions(coding: CodingSequence, is_used_L: Flags) -> Substitutions:
    """Return every substitution of a coding sequence.

    Args:
        coding: The coding sequence.
        is_used_L: True at the positions of the record that may be changed.
    """
    amino_64 = amino_acids(coding.genetic_code)
    is_changed_C = coding.are_real.copy()
    codon_C = np.where(is_changed_C, coding.codons, 0)
    if coding.has_start:
        is_changed_C[:1] = False
    if coding.has_stop:
        is_changed_C[-1:] = False
    is_changed_C &= amino_64[codon_C] != STOP
    columns: list[tuple[Numbers, ...]] = []
    for place in range(_CODON):
        is_used_C = is_changed_C & is_used_L[coding.position_C3[:, place]]
        position_C, codon_used_C = coding.position_C3[is_used_C, place], codon_C[is_used_C]
        ref_C = coding.codes_C3[is_used_C, place].astype(np.int64)
        for shift in range(1, NUM_REAL_BASES):
            alt_C = (ref_C + shift) % NUM_REAL_BASES
            changed_C = codon_used_C + (alt_C - ref_C) * _WEIGHTS[place]
            columns.append((position_C, ref_C, alt_C, codon_used_C, changed_C))
    position_N, ref_N, alt_N, ref_codon_N, alt_codon_N = map(
        np.concatenate, zip(*columns, strict=True)
    )
    is_stop_N = amino_64[alt_codon_N] == STOP
    is_same_N = amino_64[alt_codon_N] == amino_64[ref_codon_N]
    complement = NUM_REAL_BASES - 1
    if coding.is_minus:
        ref_N, alt_N = complement - ref_N, complement - alt_N
    return Substitutions(
        position_N=position_N,
        ref_N=ref_N.astype(np.uint8),
        alt_N=alt_N.astype(np.uint8),
        effect_N=np.where(
            is_stop_N,
            EFFECTS.index(Effect.STOP_GAINED),
            np.where(is_same_N, EFFECTS.index(Effect.SYNONYMOUS), EFFECTS.index(Effect.MISSENSE)),
        ),
        ref_codon_N=ref_codon_N,
        alt_codon_N=alt_codon_N,
        gene_N=np.full(position_N.size, coding.gene),
    )


def join_substitutions(parts: list[Substitutions]) -> Substitutions:
    """Join the substitutions of the genes of one record; a change of several transcripts is one."""
    names = list(vars(parts[0]))
    union = Substitutions(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
    _, rows = np.unique(union.position_N * NUM_REAL_BASES + union.alt_N, return_index=True)
    return union.take(rows)
