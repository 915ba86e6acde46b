"""Ranking of substitutions in coding sequences by their effect on the protein.

Nothing is labelled: a gained stop codon harms most genes, a synonymous substitution few. A model
that has learnt the reading frame finds a stop codon less probable than a missense substitution, and
that less probable than a synonymous one. Scores are negative log-odds, so that a higher score
predicts the more severe effect.

| predictor     | log-odds                                                                       |
|---------------|--------------------------------------------------------------------------------|
| model, random | of the model and of its twin of random weights, see `variants`                 |
| codon usage   | log2 ratio of the counts of both codons in the used genes; given the frame     |
| neighbours    | of a table of the bases on both sides; the order with the fewest bits          |
| k-mers        | change of the log2 counts of the k-mers around the base                        |

Shape letters: N substitutions, K orders, G genes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.base_labels import single_frame
from genomeformer_cli.core.annotation.codons import (
    EFFECTS,
    CodingSequence,
    Effect,
    Substitutions,
    coding_features,
    coding_sequence,
    join_substitutions,
    substitutions,
)
from genomeformer_cli.core.annotation.genetic_code import GENETIC_CODES, NUM_CODONS
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.configuration import MAX_WINDOW, check_range
from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable
from genomeformer_cli.core.evaluation.count_odds import (
    WORD,
    CountOdds,
    codon_usage_odds,
    has_known_neighbours,
)
from genomeformer_cli.core.evaluation.grouped_ranking import Ranking, auroc_gain
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.evaluation.variants import VariantOptions, score_variants
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import BASES, Codes

MODEL, TWIN, USAGE = "model", "random", "codon usage"
PAIRS = (
    (Effect.STOP_GAINED, Effect.SYNONYMOUS),
    (Effect.MISSENSE, Effect.SYNONYMOUS),
    (Effect.STOP_GAINED, Effect.MISSENSE),
)
_MIN_PER_EFFECT = 10

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CodonConfig:
    """Settings of the evaluation on coding sequences."""

    window: int = 512  # Bases of the window around a substitution, at most the model's context.
    per_effect: int = 500  # Maximum number of substitutions of each effect.
    genetic_code: int = 11  # Genetic code of coding sequences that name none (`transl_table`).
    seed: int = 0  # Seed of the draw, the bootstrap and the random twin.

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("window", self.window, 1, MAX_WINDOW)
        check_range("per_effect", self.per_effect, _MIN_PER_EFFECT)
        check_range("seed", self.seed, 0)
        if self.genetic_code not in GENETIC_CODES:
            raise ConfigError(
                f"unknown genetic code {self.genetic_code}",
                hint=f"known codes are {', '.join(map(str, GENETIC_CODES))}",
            )


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """Ranking of two effects by one predictor."""

    predictor: str  # `model`, `random`, `codon usage`, `N neighbours a side`, `N-mers`.
    severe: str  # Effect that is to have the higher score.
    mild: str  # Other effect.
    auroc: ConfidenceInterval  # Area under the ROC curve; the interval is by gene.
    # AUROC of the model minus that of this predictor; None for the model.
    lead: ConfidenceInterval | None = None


@dataclass(frozen=True, kw_only=True)
class CodonEffects:
    """Result on the coding sequences of one genome."""

    name: str  # Name of the genome.
    count: RowCount  # Coding sequences read, used and left out.
    num_candidates: dict[str, int]  # Possible substitutions of each effect.
    num_drawn: dict[str, int]  # Substitutions of each effect that are scored.
    num_genes: int  # Genes of the scored substitutions.
    genetic_codes: tuple[int, ...]  # Genetic codes of the used coding sequences.
    median_log_odds: dict[str, float]  # Median log-odds of the model by effect.
    rows: tuple[PairRow, ...]  # Every predictor on every pair of effects.


@dataclass(frozen=True)
class _Genes:
    """Coding sequences of a genome and their substitutions, by record."""

    sequences: dict[str, Codes]
    substitutions: dict[str, Substitutions]
    usage_64: npt.NDArray[np.int64]
    count: RowCount
    genetic_codes: tuple[int, ...]


@dataclass(frozen=True)
class _Sample:
    """Drawn substitutions, with the record of each."""

    record_N: npt.NDArray[np.str_]
    substitutions: Substitutions

    def variants(self) -> list[Variant]:
        sample = self.substitutions
        return [
            Variant(
                chromosome=str(record),
                position=int(position) + 1,
                id=str(gene),
                ref=BASES[ref],
                alt=BASES[alt],
            )
            for record, position, gene, ref, alt in zip(
                self.record_N,
                sample.position_N,
                sample.gene_N,
                sample.ref_N,
                sample.alt_N,
                strict=True,
            )
        ]

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Number of the gene of each row."""
        names = np.char.add(np.char.add(self.record_N, "\t"), self.substitutions.gene_N)
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def evaluate_codon_effects(
    loaded: LoadedModel,
    records: Iterable[AnnotatedRecord],
    name: str,
    config: CodonConfig,
    reporter: Reporter,
) -> CodonEffects:
    """Evaluate whether a model ranks stop-gained, missense and synonymous substitutions.

    Args:
        loaded: The model.
        records: Annotated records of a genome.
        name: Name of the genome.
        config: Settings.
        reporter: Receives counts and progress.

    Raises:
        ConfigError: The model does not predict tokens.
        InputError: No coding sequence can be used, or too few substitutions of an effect.
    """
    check_scorable(loaded)
    genes = _read_genes(records, config)
    report = reporter.warn if genes.count.left_out else reporter.note
    report(f"`{name}`: {genes.count.sentence('coding sequence')}")
    if not genes.substitutions:
        raise InputError(
            f"no coding sequence of `{name}` can be used",
            hint="check the annotation and its genetic code, `--set codons.genetic_code=N`",
        )
    sample, num_candidates = _draw(genes, config, name)
    severity = _predictions(loaded, sample, genes, config, reporter)
    rows = tuple(_pair_rows(severity, sample, config.seed))
    effect_N = sample.substitutions.effect_N
    return CodonEffects(
        name=name,
        count=genes.count,
        num_candidates=num_candidates,
        num_drawn={effect.value: int((effect_N == n).sum()) for n, effect in enumerate(EFFECTS)},
        num_genes=int(np.unique(sample.groups).size),
        genetic_codes=genes.genetic_codes,
        median_log_odds={
            effect.value: float(-np.median(severity[MODEL][effect_N == number]))
            for number, effect in enumerate(EFFECTS)
        },
        rows=rows,
    )


def _read_genes(records: Iterable[AnnotatedRecord], config: CodonConfig) -> _Genes:
    left_out: Counter[str] = Counter()
    sequences: dict[str, Codes] = {}
    changes: dict[str, Substitutions] = {}
    usage_64 = np.zeros(NUM_CODONS, dtype=np.int64)
    num_read = 0
    genetic_codes: set[int] = set()
    for record in records:
        sequences[record.id] = record.codes
        features = coding_features(record)
        num_read += len(features)
        codings: list[CodingSequence] = []
        for feature in features:
            coding = coding_sequence(record, feature, config.genetic_code)
            if isinstance(coding, str):
                left_out[coding] += 1
            else:
                codings.append(coding)
        if not codings:
            continue
        is_used_L = single_frame(record.features, record.codes.size)
        is_used_L &= has_known_neighbours(record.codes)
        changes[record.id] = join_substitutions(
            [substitutions(coding, is_used_L) for coding in codings]
        )
        for coding in codings:
            usage_64 += np.bincount(coding.codons[coding.are_real], minlength=NUM_CODONS)
            genetic_codes.add(coding.genetic_code)
    count = RowCount(
        read=num_read, used=num_read - left_out.total(), left_out=dict(left_out.most_common())
    )
    return _Genes(sequences, changes, usage_64, count, tuple(sorted(genetic_codes)))


def _draw(genes: _Genes, config: CodonConfig, name: str) -> tuple[_Sample, dict[str, int]]:
    """Draw the same number of substitutions of every effect."""
    parts = list(genes.substitutions.values())
    every = Substitutions(
        **{key: np.concatenate([getattr(part, key) for part in parts]) for key in vars(parts[0])}
    )
    record_N = np.concatenate(
        [np.full(part.position_N.size, record) for record, part in genes.substitutions.items()]
    )
    rows_by_effect = [np.flatnonzero(every.effect_N == number) for number in range(len(EFFECTS))]
    num_drawn = min(config.per_effect, *(rows.size for rows in rows_by_effect))
    if num_drawn < _MIN_PER_EFFECT:
        raise InputError(
            f"`{name}` has too few substitutions: "
            + ", ".join(
                f"{rows.size} {effect}"
                for effect, rows in zip(EFFECTS, rows_by_effect, strict=True)
            ),
            hint=f"at least {_MIN_PER_EFFECT} of each effect are needed: give a genome with more "
            "coding sequences",
        )
    generator = np.random.default_rng([config.seed, 41])
    sample = np.sort(
        np.concatenate(
            [generator.choice(rows, num_drawn, replace=False) for rows in rows_by_effect]
        )
    )
    num_candidates = {
        effect.value: int(rows.size) for effect, rows in zip(EFFECTS, rows_by_effect, strict=True)
    }
    return _Sample(record_N[sample], every.take(sample)), num_candidates


def _predictions(
    loaded: LoadedModel, sample: _Sample, genes: _Genes, config: CodonConfig, reporter: Reporter
) -> dict[str, Floats]:
    """Return the negative log-odds of every predictor, (N,)."""
    variants = sample.variants()
    options = VariantOptions(
        window=min(config.window, loaded.model.config.context), has_vectors=False
    )
    (twin,) = random_twins(loaded, config.seed, 1).values()
    severity: dict[str, Floats] = {}
    for predictor, model in ((MODEL, loaded), (TWIN, replace(loaded, model=twin))):
        scores = score_variants(model, variants, genes.sequences, options, reporter)
        missing = next((score for score in scores if score.log_odds is None), None)
        if missing is not None:
            raise ConfigError(
                f"the model gives no log-odds of single substitutions: {missing.note}",
                hint="give a larger `--window`, or a model that predicts bases",
            )
        severity[predictor] = -np.array([score.log_odds for score in scores], dtype=np.float64)
    return severity | _count_predictions(sample, genes)


def _count_predictions(sample: _Sample, genes: _Genes) -> dict[str, Floats]:
    counts = CountOdds(genes.sequences.values())
    rows = sample.substitutions
    num_orders, size = len(counts.tables.tables), rows.position_N.size
    odds_KN, known_KN = np.zeros((num_orders, size)), np.zeros((num_orders, size))
    words_N = np.zeros(size)
    for record in np.unique(sample.record_N):
        (rows_of_record,) = np.nonzero(sample.record_N == record)
        place = (
            genes.sequences[str(record)],
            rows.position_N[rows_of_record],
            rows.alt_N[rows_of_record],
        )
        odds_KN[:, rows_of_record], known_KN[:, rows_of_record] = counts.contexts(*place)
        words_N[rows_of_record] = counts.words(*place)
    order = int(known_KN.mean(axis=1).argmax())
    usage_N = codon_usage_odds(genes.usage_64, rows.ref_codon_N, rows.alt_codon_N)
    return {
        USAGE: -usage_N,
        f"{order} neighbours a side": -odds_KN[order],
        f"{WORD}-mers": -words_N,
    }


def _pair_rows(severity: Mapping[str, Floats], sample: _Sample, seed: int) -> Iterable[PairRow]:
    effect_N, groups_N = sample.substitutions.effect_N, sample.groups
    for severe, mild in PAIRS:
        is_severe_N = effect_N == EFFECTS.index(severe)
        is_compared_N = is_severe_N | (effect_N == EFFECTS.index(mild))
        rankings = {
            predictor: Ranking(
                scores_N[is_compared_N], is_severe_N[is_compared_N], groups_N[is_compared_N]
            )
            for predictor, scores_N in severity.items()
        }
        for predictor, ranking in rankings.items():
            is_model = predictor == MODEL
            yield PairRow(
                predictor=predictor,
                severe=severe.value,
                mild=mild.value,
                auroc=ranking.auroc_interval(seed),
                lead=None if is_model else auroc_gain(rankings[MODEL], ranking, seed),
            )
