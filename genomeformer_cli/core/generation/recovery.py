"""Sequence recovery: hidden stretches of real DNA, rewritten by a model and by simpler generators.

A causal model continues the bases before a stretch, other models fill it between both sides. The
most probable bases give the recovery, the fraction of the hidden bases that are right; drawn bases
give the distance of k-mer spectra. Beside the model: its twin of random weights, a Markov chain
that is counted on the training split of a corpus and continues the bases before a stretch, and
other real stretches. The order of the chain is the one with the fewest bits on the hidden bases,
which favours it.
Shape letters: W stretches, L hidden bases, C bases before a stretch, then its own, K k-mers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.held_out_sequences import HeldOutSequence, sorted_by_content
from genomeformer_cli.core.evaluation.markov import (
    Tables,
    count_markov,
    next_base_probabilities,
    score_markov,
)
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval, bootstrap_mean
from genomeformer_cli.core.generation.continue_sequences import (
    GenerationOptions,
    check_writer,
    continue_prompts,
)
from genomeformer_cli.core.generation.fill_gaps import FillingOptions, check_filler, fill_gaps
from genomeformer_cli.core.generation.sampling import SamplingOptions, row_generators
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes

MODEL, TWIN, REAL = "model", "random", "other real stretches"
_MAX_ORDER = 12
_CELLS_PER_BASE = 4
_GREEDY, _DRAWN = SamplingOptions(temperature=0), SamplingOptions()
_UNKNOWN = NUM_REAL_BASES
# Rewrites stretches, (W, L), with a choice of bases.
Rewrite = Callable[[SamplingOptions], Codes]


@dataclass(frozen=True, kw_only=True)
class RecoveryConfig:
    """Settings of sequence recovery."""

    windows: int = 100  # Maximum number of hidden stretches, evenly spread.
    prompt: int = 256  # Visible bases before a stretch, and after it if the model sees them.
    bases: int = 64  # Bases of a stretch.
    kmer: int = 3  # Length of the words of the spectra, both strands as one.
    rounds: int = 16  # Rounds of filling, see `generate --infill`.
    seed: int = 0  # Seed of drawn bases, the bootstrap and the random twin.

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("windows", self.windows, 2)
        check_range("prompt", self.prompt, 1)
        check_range("bases", self.bases, 1)
        check_range("kmer", self.kmer, 1, 8)
        check_range("rounds", self.rounds, 1)
        check_range("seed", self.seed, 0)
        if self.kmer > self.bases:
            raise ConfigError(
                f"stretches of {self.bases} bases hold no word of {self.kmer}",
                hint="choose a smaller `recovery.kmer`",
            )


@dataclass(frozen=True, kw_only=True)
class RecoveryRow:
    """Recovery by one generator."""

    predictor: str  # `model`, `random`, `Markov chain`, or `other real stretches`.
    order: int | None  # Order of the Markov chain.
    recovery: ConfidenceInterval  # Fraction of the hidden bases that are right.
    # Recovery of the model minus that of this generator; None for the model.
    lead: ConfidenceInterval | None
    # Jensen-Shannon divergence, in bits, of the k-mers of drawn bases from those of hidden ones.
    divergence: float


@dataclass(frozen=True, kw_only=True)
class RecoveryResult:
    """Recovery by a model and by simpler generators."""

    is_filled: bool  # True if the model sees the bases after a stretch.
    num_windows: int  # Number of hidden stretches.
    num_skipped: int  # Places that hold other letters than A C G T.
    rows: tuple[RecoveryRow, ...]


@dataclass(frozen=True)
class _Stretches:
    """Hidden stretches with their surroundings."""

    codes_WC: Codes  # Bases before, in and after each stretch.
    prompt: int  # Bases before a stretch.
    size: int  # Bases of a stretch.

    @property
    def hidden(self) -> Codes:
        """Hidden bases, (W, L)."""
        return self.codes_WC[:, self.prompt : self.prompt + self.size]

    @property
    def before(self) -> Codes:
        """Bases before each stretch, (W, C)."""
        return self.codes_WC[:, : self.prompt]


def evaluate_recovery(
    loaded: LoadedModel,
    sequences: Sequence[HeldOutSequence],
    corpus: Corpus | None,
    config: RecoveryConfig,
    reporter: Reporter,
) -> RecoveryResult:
    """Rewrite hidden stretches of held-out sequences, and compare with the real bases.

    Args:
        loaded: Model that writes sequences or fills gaps.
        sequences: Held-out sequences.
        corpus: Corpus whose training split is counted; None: no Markov chain.
        config: Settings.
        reporter: Receives progress.

    Raises:
        ConfigError: The model can neither write nor fill, or the sequences are too short.
    """
    is_filled = not objective_for(loaded.model.config.direction).is_causal
    (check_filler if is_filled else check_writer)(loaded)
    stretches, decoys, num_skipped = _cut(sequences, config, both_sides=is_filled)
    (twin,) = random_twins(loaded, config.seed, 1).values()
    rewrite = _fill if is_filled else _continue
    generators: dict[tuple[str, int | None], Rewrite] = {
        (MODEL, None): lambda sampling: rewrite(loaded, stretches, config, reporter, sampling)
    }
    if corpus is not None:
        tables = _best_chain(corpus, stretches, reporter)
        generators["Markov chain", len(tables) - 1] = lambda sampling: _run_chain(
            tables, stretches, config, sampling
        )
    generators[TWIN, None] = lambda sampling: rewrite(
        replace(loaded, model=twin), stretches, config, reporter, sampling
    )
    generators[REAL, None] = lambda _: decoys.hidden
    right = {key: rewritten(_GREEDY) == stretches.hidden for key, rewritten in generators.items()}
    real_K = spectrum(stretches.hidden, config.kmer)
    return RecoveryResult(
        is_filled=is_filled,
        num_windows=len(stretches.codes_WC),
        num_skipped=num_skipped,
        rows=tuple(
            RecoveryRow(
                predictor=key[0],
                order=key[1],
                recovery=_mean(right[key], config.seed),
                lead=(
                    _mean(right[MODEL, None].astype(float) - right[key], config.seed)
                    if key[0] != MODEL
                    else None
                ),
                divergence=divergence(spectrum(rewritten(_DRAWN), config.kmer), real_K),
            )
            for key, rewritten in generators.items()
        ),
    )


def _mean(values_WL: npt.NDArray[np.generic], seed: int) -> ConfidenceInterval:
    """Return the mean with its interval; bases of one stretch are resampled together."""
    windows_N = np.repeat(np.arange(len(values_WL)), values_WL.shape[1])
    generator = np.random.default_rng([seed, 30])
    return bootstrap_mean(values_WL.reshape(-1).astype(np.float64), windows_N, generator)


def _cut(
    sequences: Sequence[HeldOutSequence], config: RecoveryConfig, *, both_sides: bool
) -> tuple[_Stretches, _Stretches, int]:
    """Return stretches, as many decoys that alternate with them, and the number of odd places."""
    length = config.prompt * (2 if both_sides else 1) + config.bases
    places = [
        (sequence.codes, start)
        for sequence in sorted_by_content(sequences)
        for start in range(0, sequence.codes.size - length + 1, length)
    ]
    windows = [
        codes[start : start + length]
        for codes, start in places
        if (codes[start : start + length] < _UNKNOWN).all()
    ]
    if len(windows) < 4:
        raise ConfigError(
            f"the sequences hold {len(windows)} windows of {length:,} known bases, and 4 are "
            "needed",
            hint="set fewer `recovery.prompt` and `recovery.bases`, or give `--held-out FASTA`",
        )
    number = min(2 * config.windows, len(windows) // 2 * 2)
    chosen_N = np.linspace(0, len(windows) - 1, number).round().astype(int)
    rows = np.stack([windows[place] for place in chosen_N])
    hidden, decoys = (_Stretches(rows[half::2], config.prompt, config.bases) for half in (0, 1))
    return hidden, decoys, len(places) - len(windows)


def _continue(
    loaded: LoadedModel,
    stretches: _Stretches,
    config: RecoveryConfig,
    reporter: Reporter,
    sampling: SamplingOptions,
) -> Codes:
    options = GenerationOptions(length=config.bases, seed=config.seed, sampling=sampling)
    prompts = list(stretches.before)
    drawing = [row_generators(config.seed, place, 0, 1)[0] for place in range(len(prompts))]
    total = len(prompts) * config.bases
    with reporter.track("continuing sequences", total, "bases") as tracker:
        rows = continue_prompts(loaded, prompts, options, drawing, tracker.advance)
    return np.stack([row.codes[stretches.prompt :] for row in rows])


def _fill(
    loaded: LoadedModel,
    stretches: _Stretches,
    config: RecoveryConfig,
    reporter: Reporter,
    sampling: SamplingOptions,
) -> Codes:
    options = FillingOptions(rounds=config.rounds, seed=config.seed, sampling=sampling)
    gap = slice(stretches.prompt, stretches.prompt + stretches.size)
    filled = []
    total = stretches.hidden.size
    with reporter.track("filling sequences", total, "bases") as tracker:
        for place, row in enumerate(stretches.codes_WC):
            codes = row.copy()
            codes[gap] = _UNKNOWN
            whole = fill_gaps(loaded, codes, options, record=place, progress=tracker.advance)
            filled.append(whole.codes[gap])
    return np.stack(filled)


def _best_chain(corpus: Corpus, stretches: _Stretches, reporter: Reporter) -> Tables:
    """Return the tables of the order with the fewest bits on the hidden bases."""
    num_bases = corpus.manifest.num_bases or corpus.manifest.num_train
    order = 0
    while (
        order < min(_MAX_ORDER, stretches.prompt)
        and NUM_REAL_BASES ** (order + 2) <= _CELLS_PER_BASE * num_bases
    ):
        order += 1
    tables = count_markov(corpus, order, reporter)
    columns_WC = stretches.codes_WC[:, : stretches.prompt + stretches.size]
    sizes_W = np.full(len(columns_WC), stretches.size)
    bits = [
        score_markov(tables[: k + 1], columns_WC, sizes_W, stretches.prompt).bits_per_base
        for k in range(order + 1)
    ]
    return tables[: int(np.argmin(bits)) + 1]


def _run_chain(
    tables: Tables, stretches: _Stretches, config: RecoveryConfig, sampling: SamplingOptions
) -> Codes:
    generator = np.random.default_rng([config.seed, 31])
    codes_WC = stretches.codes_WC[:, : stretches.prompt + stretches.size].copy()
    for column in range(stretches.prompt, codes_WC.shape[1]):
        probability_W4 = next_base_probabilities(tables, codes_WC[:, :column])
        if sampling.temperature == 0:
            codes_WC[:, column] = probability_W4.argmax(axis=1)
        else:
            sums_W4 = probability_W4.cumsum(axis=1)
            drawn_W1 = generator.random((len(sums_W4), 1)) * sums_W4[:, -1:]
            codes_WC[:, column] = (sums_W4 <= drawn_W1).sum(axis=1)
    return codes_WC[:, stretches.prompt :]


def spectrum(codes_WL: Codes, k: int) -> npt.NDArray[np.float64]:
    """Return the frequencies (K,) of the k-mers of rows; both strands are counted."""
    both_RL = np.concatenate([codes_WL, [reverse_complement_codes(row) for row in codes_WL]])
    words = np.lib.stride_tricks.sliding_window_view(both_RL, k, axis=1).astype(np.int64)
    numbers = words @ (NUM_REAL_BASES ** np.arange(k - 1, -1, -1))
    counts_K = np.bincount(numbers.reshape(-1), minlength=NUM_REAL_BASES**k)
    frequencies_K: npt.NDArray[np.float64] = counts_K / counts_K.sum()
    return frequencies_K


def divergence(first_K: npt.NDArray[np.float64], second_K: npt.NDArray[np.float64]) -> float:
    """Return the Jensen-Shannon divergence of two distributions, in bits: 0 to 1."""
    mean_K = (first_K + second_K) / 2
    total = 0.0
    for part_K in (first_K, second_K):
        is_present = part_K > 0
        ratio = part_K[is_present] / mean_K[is_present]
        total += float((part_K[is_present] * np.log2(ratio)).sum()) / 2
    return total
