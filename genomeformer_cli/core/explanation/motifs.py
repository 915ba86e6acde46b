"""Motifs: short stretches of large attribution, clustered into position-weight matrices.

A simple form of TF-MoDISco (Shrikumar et al. 2018), for hundreds to thousands of short sequences:

1. Letters: the effect of each base at each position, minus the mean over the bases, and minus the
   mean over the positions of the sequence: a model that reads composition has equal effects
   everywhere, which are no motif.
2. Seqlets: windows of `width` bases whose summed letters of the sequence are the largest of their
   surroundings. The threshold is the given quantile of windows in permuted sequences.
3. Clustering: the seqlet with the most similar seqlets founds a cluster; similarity is the cosine
   of the letters of all four bases, over all shifts up to `max_shift` and, if asked, both strands.
   The cluster is refined: three times, its members are the seqlets that are similar to the mean of
   its members. Then the next cluster is founded among the remaining seqlets.
4. Matrix: letter frequencies of the aligned sequences of a cluster, trimmed to the positions of
   information.

Sequences are read one at a time, and only windows are kept: memory does not grow with their number
once there are `max_seqlets` windows.
Shape letters: N seqlets, L length, W width, X width with margins, R real bases, F forms: shifts and
strands.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes

_REFINEMENTS = 3
_PSEUDO_COUNT = 0.5
_LEAST_BITS = 0.2
_SEEDS = 2_000  # Strongest seqlets, which found clusters.
_SUMS = 1 << 16  # Windows of permuted sequences that are kept for the threshold.

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MotifOptions:
    """Options of motifs."""

    width: int = 11  # Bases of a seqlet.
    quantile: float = 0.95  # Quantile of windows of permuted sequences that a seqlet exceeds.
    similarity: float = 0.6  # Least cosine of a seqlet and its cluster.
    max_shift: int = 4  # Largest shift of a seqlet in its cluster.
    min_seqlets: int = 20  # Seqlets of a motif.
    max_motifs: int = 20  # Number of motifs, those with the most seqlets first.
    max_seqlets: int = 20_000  # Number of seqlets, those of the largest attribution.
    both_strands: bool = False  # A seqlet may join as its reverse complement.
    seed: int = 0  # Seed of the permutations.

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("width", self.width, 3)
        check_range("min_seqlets", self.min_seqlets, 1)


@dataclass(frozen=True, kw_only=True)
class Motif:
    """Motif of some seqlets."""

    name: str
    frequencies_WR: Floats  # Frequencies of A C G T at each position.
    num_seqlets: int
    attribution: float = 0.0  # Mean attribution of a seqlet.
    starts: tuple[float, ...] = field(default=(), repr=False)  # First base in each sequence.

    @property
    def consensus(self) -> str:
        """Most frequent base of every position."""
        return "".join(BASES[base] for base in self.frequencies_WR.argmax(axis=1))

    @property
    def bits(self) -> Floats:
        """Information of each position, in bits, (W,)."""
        p = self.frequencies_WR.clip(1e-9)
        bits: Floats = 2 + (p * np.log2(p)).sum(axis=1)
        return bits


@dataclass(frozen=True)
class _Seqlet:
    start: int
    score: float
    letters_XR: npt.NDArray[np.float32]  # Letters of all bases, with margins.
    codes_X: Codes  # Base codes, with margins.


class MotifFinder:
    """Seqlets of sequences that are added one by one.

    Args:
        options: Options.
    """

    def __init__(self, options: MotifOptions) -> None:
        self._options = options
        self._generator = np.random.default_rng(options.seed)
        self._heap: list[tuple[float, int, _Seqlet]] = []
        self._sums: list[Floats] = []
        self._num_sums, self._share, self._count = 0, 1.0, 0

    def add(self, codes: Codes, effect_LR: Floats) -> None:
        """Add a sequence.

        Args:
            codes: Base codes.
            effect_LR: Effect of each base at every position; NaN at N.
        """
        width, margin = self._options.width, self._options.max_shift
        if codes.size < width or not (codes < NUM_REAL_BASES).any():
            return
        letters_LR = _letters(effect_LR)
        real_L = np.where(codes < NUM_REAL_BASES, codes, 0).astype(np.int64)
        value_L = letters_LR[np.arange(codes.size), real_L] * (codes < NUM_REAL_BASES)
        self._add_sums(_window_sums(self._generator.permutation(value_L), width))
        sums = _window_sums(value_L, width)
        remaining = np.abs(sums)
        wide_LR = np.pad(letters_LR, ((margin, margin), (0, 0)))
        wide_codes = np.pad(codes, margin, constant_values=NUM_REAL_BASES)
        while remaining.max() > 0:
            start = int(remaining.argmax())
            remaining[max(start - width // 2, 0) : start + width // 2 + 1] = 0
            part = slice(start, start + width + 2 * margin)
            seqlet = _Seqlet(
                start, float(sums[start]), wide_LR[part].astype(np.float32), wide_codes[part]
            )
            self._count += 1
            item = (abs(seqlet.score), self._count, seqlet)
            if len(self._heap) < self._options.max_seqlets:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def _add_sums(self, sums: Floats) -> None:
        """Keep a random share of the sums, so that their number is bounded."""
        absolute = np.abs(sums)
        self._sums.append(absolute[self._generator.random(absolute.size) < self._share])
        self._num_sums += self._sums[-1].size
        if self._num_sums > _SUMS:
            every = np.concatenate(self._sums)
            self._sums = [every[self._generator.random(every.size) < 0.5]]
            self._share, self._num_sums = self._share / 2, self._sums[0].size

    def motifs(self) -> list[Motif]:
        """Return the motifs of the sequences, those with the most seqlets first."""
        if not self._heap:
            return []
        threshold = np.quantile(np.concatenate(self._sums), self._options.quantile)
        seqlets = [
            seqlet for score, _, seqlet in sorted(self._heap, reverse=True) if score > threshold
        ]
        # Positive and negative evidence are different motifs.
        motifs: list[Motif] = []
        for sign in (1, -1):
            group = [seqlet for seqlet in seqlets if sign * seqlet.score > 0]
            motifs += _cluster(group, self._options)
        motifs.sort(key=lambda motif: -motif.num_seqlets)
        return [
            replace(motif, name=f"motif_{number}")
            for number, motif in enumerate(motifs[: self._options.max_motifs], 1)
        ]


def _letters(effect_LR: Floats) -> Floats:
    """Return the effects without the means over the bases and over the positions."""
    known_L = np.isfinite(effect_LR).all(axis=1)
    letters_LR = np.zeros_like(effect_LR)
    known_PR = effect_LR[known_L]
    known_PR = known_PR - known_PR.mean(axis=1, keepdims=True)
    letters_LR[known_L] = known_PR - known_PR.mean(axis=0)
    return letters_LR


def _window_sums(values_L: Floats, width: int) -> Floats:
    return np.convolve(values_L, np.ones(width), mode="valid")


def _forms(wide_NXR: Floats, options: MotifOptions) -> Floats:
    """Return all shifts of seqlets on one strand or both, of length 1, (F, N, W * R)."""
    width, num_shifts = options.width, 2 * options.max_shift + 1
    strands = [wide_NXR]
    if options.both_strands:
        strands.append(wide_NXR[:, ::-1, ::-1])
    forms = np.stack(
        [
            strand[:, shift : shift + width].reshape(len(wide_NXR), -1)
            for strand in strands
            for shift in range(num_shifts)
        ]
    )
    normed: Floats = forms / np.linalg.norm(forms, axis=2, keepdims=True).clip(1e-12)
    return normed


def _cluster(seqlets: Sequence[_Seqlet], options: MotifOptions) -> list[Motif]:
    """Return the motifs of seqlets of one sign, the strongest seqlets first."""
    if len(seqlets) < options.min_seqlets:
        return []
    forms_FNX = _forms(np.stack([seqlet.letters_XR for seqlet in seqlets]), options)
    centre_SX = forms_FNX[options.max_shift, :_SEEDS]
    is_near_SS = np.zeros((len(centre_SX), len(centre_SX)), dtype=bool)
    for form_NX in forms_FNX:
        is_near_SS |= form_NX[:_SEEDS] @ centre_SX.T >= options.similarity
    is_seed_S = np.ones(len(centre_SX), dtype=bool)
    is_left_N = np.ones(len(seqlets), dtype=bool)
    motifs = []
    while is_seed_S.any():
        num_near_S = (is_near_SS & is_left_N[:_SEEDS, None]).sum(axis=0) * is_seed_S
        seed = int(num_near_S.argmax())
        is_seed_S[seed] = False
        if not num_near_S[seed]:
            break
        mean_X = centre_SX[seed]
        for _ in range(_REFINEMENTS):
            cosine_FN = forms_FNX @ (mean_X / np.linalg.norm(mean_X).clip(1e-12))
            best_N = cosine_FN.argmax(axis=0)
            members = np.flatnonzero((cosine_FN.max(axis=0) >= options.similarity) & is_left_N)
            if members.size < options.min_seqlets:
                break
            mean_X = forms_FNX[best_N[members], members].mean(axis=0)
        else:
            is_left_N[members] = False
            is_seed_S &= is_left_N[:_SEEDS]
            motif = _motif([seqlets[index] for index in members.tolist()], best_N[members], options)
            motifs += [] if motif is None else [motif]
    return motifs


def _motif(seqlets: Sequence[_Seqlet], form_N: Indices, options: MotifOptions) -> Motif | None:
    """Return the matrix of aligned seqlets; None if no position has information."""
    width, num_shifts = options.width, 2 * options.max_shift + 1
    counts = np.full((width, NUM_REAL_BASES), _PSEUDO_COUNT)
    starts = []
    for seqlet, form in zip(seqlets, form_N.tolist(), strict=True):
        is_reverse, shift = divmod(form, num_shifts)
        codes_X = seqlet.codes_X
        if is_reverse:
            codes_X = np.where(codes_X < NUM_REAL_BASES, 3 - codes_X, codes_X)[::-1]
        codes_W = codes_X[shift : shift + width].astype(np.int64)
        real_W = np.flatnonzero(codes_W < NUM_REAL_BASES)
        counts[real_W, codes_W[real_W]] += 1
        offset = shift - options.max_shift
        starts.append(seqlet.start + (-offset if is_reverse else offset))
    motif = Motif(
        name="",
        frequencies_WR=counts / counts.sum(axis=1, keepdims=True),
        num_seqlets=len(seqlets),
        attribution=float(np.mean([seqlet.score for seqlet in seqlets])),
    )
    informative = np.flatnonzero(motif.bits >= _LEAST_BITS)
    if not informative.size:
        return None
    first, last = int(informative[0]), int(informative[-1]) + 1
    return replace(
        motif,
        frequencies_WR=motif.frequencies_WR[first:last],
        starts=tuple(float(start + first) for start in starts),
    )


@dataclass(frozen=True, kw_only=True)
class Match:
    """Most similar known motif."""

    name: str
    similarity: float  # Mean correlation of the overlapping positions, missing ones as 0.
    p_value: float  # Share of column-permuted matrices of this motif that are as similar.
    is_reverse: bool


def match_motif(
    motif: Motif, references: Sequence[Motif], *, permutations: int = 200, seed: int = 0
) -> Match | None:
    """Return the most similar of some motifs, on either strand; None without motifs."""
    best: Match | None = None
    generator = np.random.default_rng(seed)
    shuffled = [
        generator.permuted(generator.permutation(motif.frequencies_WR), axis=1)
        for _ in range(permutations)
    ]
    for reference in references:
        similarity, is_reverse = _similarity(motif.frequencies_WR, reference.frequencies_WR)
        if best is not None and similarity <= best.similarity:
            continue
        null = [_similarity(matrix, reference.frequencies_WR)[0] for matrix in shuffled]
        p_value = (1 + sum(value >= similarity for value in null)) / (1 + permutations)
        best = Match(
            name=reference.name, similarity=similarity, p_value=p_value, is_reverse=is_reverse
        )
    return best


def _similarity(first_WR: Floats, second_WR: Floats) -> tuple[float, bool]:
    """Return the largest similarity over shifts and strands, and True for the reverse strand.

    The correlations of overlapping positions are summed over the length of the shorter motif.
    """
    best, best_is_reverse = -1.0, False
    shorter = min(len(first_WR), len(second_WR))
    for is_reverse, turned_WR in ((False, second_WR), (True, second_WR[::-1, ::-1])):
        for shift in range(1 - len(turned_WR), len(first_WR)):
            low, high = max(shift, 0), min(shift + len(turned_WR), len(first_WR))
            first = first_WR[low:high] - 0.25
            second = turned_WR[low - shift : high - shift] - 0.25
            norm = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
            value = float(((first * second).sum(axis=1) / norm.clip(1e-12)).sum() / shorter)
            if value > best:
                best, best_is_reverse = value, is_reverse
    return best, best_is_reverse
