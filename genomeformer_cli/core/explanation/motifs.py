"""Motifs: short stretches of large attribution, clustered into position-weight matrices.

A simple form of TF-MoDISco (Shrikumar et al. 2018), for hundreds to thousands of short sequences:

1. Seqlets: windows of `width` bases whose summed absolute attribution is the largest of their
   surroundings. The threshold is the given quantile of windows in permuted attributions.
2. Clustering: seqlets in the order of their attribution join the most similar cluster, over all
   shifts up to `max_shift` and, if asked, both strands; otherwise they found one. Similarity is
   the cosine of the attribution-weighted letters. Three passes: each starts from the means of the
   clusters of the one before.
3. Matrix: letter frequencies of the aligned sequences of a cluster, trimmed to the positions of
   information.

Shape letters: N seqlets, L length, W width, R real bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes

_PASSES = 3
_PSEUDO_COUNT = 0.5
_LEAST_BITS = 0.2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MotifOptions:
    """Options of motifs."""

    width: int = 11  # Bases of a seqlet.
    quantile: float = 0.95  # Quantile of windows of permuted attributions that a seqlet exceeds.
    similarity: float = 0.6  # Least cosine of a seqlet and its cluster.
    max_shift: int = 4  # Largest shift of a seqlet in its cluster.
    min_seqlets: int = 20  # Seqlets of a motif.
    max_motifs: int = 20  # Number of motifs, those with the most seqlets first.
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
    record: int
    start: int
    score: float


def find_motifs(
    rows: Sequence[Codes], attributions: Sequence[Floats], options: MotifOptions
) -> list[Motif]:
    """Return the motifs of sequences, those with the most seqlets first.

    Args:
        rows: Base codes.
        attributions: Attribution of each base of every sequence; NaN at N.
        options: Options.
    """
    finite = [np.nan_to_num(values) for values in attributions]
    threshold = _threshold(finite, options)
    seqlets = [
        seqlet
        for record, values in enumerate(finite)
        for seqlet in _seqlets(record, values, threshold, options.width)
    ]
    seqlets.sort(key=lambda seqlet: -abs(seqlet.score))
    # Positive and negative evidence are different motifs.
    motifs: list[Motif] = []
    for sign in (1, -1):
        group = [seqlet for seqlet in seqlets if sign * seqlet.score > 0]
        motifs += _cluster(group, rows, finite, options)
    motifs.sort(key=lambda motif: -motif.num_seqlets)
    return [
        Motif(
            name=f"motif_{number}",
            frequencies_WR=motif.frequencies_WR,
            num_seqlets=motif.num_seqlets,
            attribution=motif.attribution,
            starts=motif.starts,
        )
        for number, motif in enumerate(motifs[: options.max_motifs], 1)
    ]


def _window_sums(values_L: Floats, width: int) -> Floats:
    return np.convolve(values_L, np.ones(width), mode="valid")


def _threshold(attributions: Sequence[Floats], options: MotifOptions) -> float:
    """Return the quantile of the absolute window sums of permuted attributions."""
    generator = np.random.default_rng(options.seed)
    sums = [
        np.abs(_window_sums(generator.permutation(values), options.width))
        for values in attributions
        if values.size >= options.width
    ]
    return float(np.quantile(np.concatenate(sums), options.quantile)) if sums else np.inf


def _seqlets(record: int, values_L: Floats, threshold: float, width: int) -> list[_Seqlet]:
    """Return windows above the threshold that do not overlap by more than half."""
    if values_L.size < width:
        return []
    sums = _window_sums(values_L, width)
    left = np.abs(sums)
    seqlets = []
    while left.size and left.max() > threshold:
        start = int(left.argmax())
        seqlets.append(_Seqlet(record, start, float(sums[start])))
        left[max(start - width // 2, 0) : start + width // 2 + 1] = 0
    return seqlets


def _weighted(codes: Codes, values_L: Floats, start: int, width: int, margin: int) -> Floats:
    """Return the attribution-weighted letters (W + 2 margin, R) around a seqlet."""
    letters = np.zeros((width + 2 * margin, NUM_REAL_BASES))
    for place in range(-margin, width + margin):
        position = start + place
        if 0 <= position < codes.size and codes[position] < NUM_REAL_BASES:
            letters[place + margin, codes[position]] = values_L[position]
    return letters


def _cluster(
    seqlets: Sequence[_Seqlet],
    rows: Sequence[Codes],
    attributions: Sequence[Floats],
    options: MotifOptions,
) -> list[Motif]:
    width, margin = options.width, options.max_shift
    wide = [
        _weighted(rows[s.record], attributions[s.record], s.start, width, margin) for s in seqlets
    ]
    means: list[Floats] = []
    members: list[list[tuple[int, int, bool]]] = []
    for number in range(_PASSES):
        sums = [np.zeros((width, NUM_REAL_BASES)) for _ in means]
        members = [[] for _ in means]
        for index, letters in enumerate(wide):
            forms = _forms(letters, width, margin, two_strands=options.both_strands)
            best = _most_similar(forms, means)
            if best is None or best[0] < options.similarity:
                if number == 0:
                    centre = letters[margin : margin + width]
                    means.append(centre)
                    sums.append(centre.copy())
                    members.append([(index, 0, False)])
                continue
            _, cluster, shift, is_reverse, aligned = best
            sums[cluster] += aligned
            members[cluster].append((index, shift, is_reverse))
            if number == 0:
                means[cluster] = sums[cluster]
        large = [row for row, member in enumerate(members) if len(member) > 1 or number == 0]
        means = [sums[row] for row in large]
        members = [members[row] for row in large]
    motifs = [
        _motif([(seqlets[index], shift, turn) for index, shift, turn in member], rows, options)
        for member in members
        if len(member) >= options.min_seqlets
    ]
    return [motif for motif in motifs if motif is not None]


def _forms(
    letters: Floats, width: int, margin: int, *, two_strands: bool
) -> list[tuple[int, bool, Floats]]:
    """Return all shifts of a seqlet, on one strand or both."""
    strands = [(False, letters), (True, letters[::-1, ::-1])] if two_strands else [(False, letters)]
    return [
        (shift, is_reverse, strand[margin + shift : margin + shift + width])
        for is_reverse, strand in strands
        for shift in range(-margin, margin + 1)
    ]


def _most_similar(
    forms: Sequence[tuple[int, bool, Floats]], means: Sequence[Floats]
) -> tuple[float, int, int, bool, Floats] | None:
    """Return the cosine, the cluster and the best form; None without clusters."""
    if not means:
        return None
    forms_FX = np.stack([form.ravel() for _, _, form in forms])
    means_CX = np.stack([mean.ravel() for mean in means])
    forms_FX = forms_FX / np.linalg.norm(forms_FX, axis=1, keepdims=True).clip(1e-12)
    means_CX = means_CX / np.linalg.norm(means_CX, axis=1, keepdims=True).clip(1e-12)
    cosine_FC = forms_FX @ means_CX.T
    form, cluster = np.unravel_index(int(cosine_FC.argmax()), cosine_FC.shape)
    shift, is_reverse, aligned = forms[int(form)]
    return float(cosine_FC[form, cluster]), int(cluster), shift, is_reverse, aligned


def _motif(
    members: Sequence[tuple[_Seqlet, int, bool]], rows: Sequence[Codes], options: MotifOptions
) -> Motif | None:
    counts = np.zeros((options.width, NUM_REAL_BASES))
    starts = []
    for seqlet, shift, is_reverse in members:
        start = seqlet.start + (-shift if is_reverse else shift)
        codes = rows[seqlet.record]
        starts.append(float(start))
        for place in range(options.width):
            position = start + (options.width - 1 - place if is_reverse else place)
            if 0 <= position < codes.size and codes[position] < NUM_REAL_BASES:
                base = int(codes[position])
                counts[place, NUM_REAL_BASES - 1 - base if is_reverse else base] += 1
    counts += _PSEUDO_COUNT
    motif = Motif(
        name="",
        frequencies_WR=counts / counts.sum(axis=1, keepdims=True),
        num_seqlets=len(members),
        attribution=float(np.mean([seqlet.score for seqlet, _, _ in members])),
    )
    informative = np.flatnonzero(motif.bits >= _LEAST_BITS)
    if not informative.size:
        return None
    first, last = int(informative[0]), int(informative[-1]) + 1
    return Motif(
        name="",
        frequencies_WR=motif.frequencies_WR[first:last],
        num_seqlets=motif.num_seqlets,
        attribution=motif.attribution,
        starts=tuple(start + first for start in starts),
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
