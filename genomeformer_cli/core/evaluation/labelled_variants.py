"""Evaluation on labelled variants: scores without training, and linear probes.

| predictor           | score of a variant; a higher one predicts the positive class              |
|---------------------|---------------------------------------------------------------------------|
| log-odds            | log2 p(ref) - log2 p(alt), so that an improbable allele has a high score  |
| absolute log-odds   | without the sign                                                          |
| divergence          | Jensen-Shannon divergence of the predictions of all other tokens          |
| vector distance     | Euclidean distance of the mean vectors of both windows                    |
| probe               | logistic regression on the reference vector and the difference of vectors |
| distance to feature | negative distance                                                         |
| neighbours, k-mers  | log-odds by counting, see `count_odds`; single substitutions              |
| k-mer probe         | logistic regression on the k-mers around, and the change of their counts  |

Probes are cross-validated by group: no group is in training and test rows. Intervals are of a
bootstrap over groups.
Shape letters: N variants, E width, K orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import MAX_WINDOW, check_range
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable
from genomeformer_cli.core.evaluation.count_odds import WORD, CountOdds, has_known_neighbours
from genomeformer_cli.core.evaluation.grouped_ranking import (
    Ranking,
    precision_by_group,
    rank_correlation,
)
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import kmer_frequencies
from genomeformer_cli.core.evaluation.probes import LOGISTIC, folds, run_probe
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.evaluation.variant_windows import WindowPair, window_pair
from genomeformer_cli.core.evaluation.variants import VariantOptions, VariantScore, score_variants
from genomeformer_cli.core.formats.labelled import Example, RowCount
from genomeformer_cli.core.formats.labelled_variants import LabelledVariant, VariantTable
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import BASES, Codes, encode_bases

ALL = "all"
MODEL, TWIN = "model", "random"
_KMER, _KMER_WINDOW = 4, 200
_MIN_ROWS, _MIN_PER_CLASS = 10, 2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class VariantsConfig:
    """Settings of the evaluation on labelled variants."""

    window: int = 512  # Bases of the window around a variant, at most the model's context.
    group: str | None = None  # Column of the groups; None: the record, a gene, or blocks.
    consequence: str | None = None  # Column of the consequences; None: a known name.
    distance: str | None = None  # Column of the distances to a feature; None: a known name.
    assembly: str | None = None  # Assembly of the used rows, for a table of several.
    positive: str = ""  # Labels of the positive class, separated by commas; empty: known names.
    negative: str = ""  # Labels of the negative class, separated by commas; empty: known names.
    threshold: float | None = None  # Largest score of the positive class, for labels of numbers.
    seed: int = 0  # Seed of the folds, the bootstrap and the random twin.

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("window", self.window, 1, MAX_WINDOW)
        check_range("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class VariantRow:
    """Measures of one predictor on one part of the variants."""

    part: str  # `all`, or a consequence.
    source: str  # `model`, `random`, or a baseline.
    score: str  # Kind of score.
    num_rows: int  # Variants with this score.
    num_positive: int | None  # Variants of the positive class; None for labels of numbers.
    auroc: ConfidenceInterval | None  # Area under the ROC curve.
    auprc: ConfidenceInterval | None  # Average precision.
    # Mean of the average precision of each group, weighted by rows; None without such a group.
    auprc_by_group: float | None
    spearman: ConfidenceInterval | None  # Rank correlation with labels of numbers.


@dataclass(frozen=True, kw_only=True)
class VariantsResult:
    """Result on the variants of one file."""

    name: str  # Name of the file.
    count: RowCount  # Rows read, used and left out.
    label: str  # Column of the labels.
    group: str  # Source of the groups.
    num_groups: int  # Number of groups.
    probe_note: str  # Reason that there are no probes; empty if there are.
    rows: tuple[VariantRow, ...]  # Measures.


@dataclass(frozen=True)
class _Used:
    """Variants with a window, and their windows."""

    rows: list[LabelledVariant]
    pairs: list[WindowPair]
    distance_N: Floats

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        names = [row.group for row in self.rows]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


Predictors = dict[tuple[str, str], Floats]


def evaluate_variants(
    loaded: LoadedModel,
    table: VariantTable,
    genome: Mapping[str, Codes],
    config: VariantsConfig,
    reporter: Reporter,
) -> VariantsResult:
    """Evaluate a model on labelled variants, beside its random twin and count baselines.

    Args:
        loaded: The model.
        table: Labelled variants.
        genome: Base codes of the records that the variants name.
        config: Settings.
        reporter: Receives counts and progress.

    Raises:
        ConfigError: The model does not predict tokens.
        InputError: The labels of the variants that can be used are equal.
    """
    check_scorable(loaded)
    window = min(config.window, loaded.model.config.context)
    used, count = _with_windows(table, genome, window)
    _check_labels(used, count, table.name)
    report = reporter.warn if count.left_out else reporter.note
    report(f"`{table.name}`: {count.sentence()}; groups: {table.group}")
    rows: tuple[VariantRow, ...] = ()
    probe_note = "no variant can be used"
    if used.rows:
        predictors, probe_note = _predictors(loaded, used, genome, config, reporter)
        rows = tuple(_measure(predictors, used, config.seed))
    return VariantsResult(
        name=table.name,
        count=count,
        label=table.label,
        group=table.group,
        num_groups=len({row.group for row in used.rows}),
        probe_note=probe_note,
        rows=rows,
    )


def _check_labels(used: _Used, count: RowCount, name: str) -> None:
    """Refuse labels that are all equal, because no score can rank them.

    Raises:
        InputError: The variants that can be used have one class or value.
    """
    if len({(row.is_positive, row.value) for row in used.rows}) == 1:
        raise InputError(
            f"`{name}`: all labels that can be used are equal: {count.sentence()}",
            hint="give variants of both classes; `--label` names the column, and "
            "`--set variants.positive=...` and `--set variants.negative=...` the classes",
        )


def _with_windows(
    table: VariantTable, genome: Mapping[str, Codes], window: int
) -> tuple[_Used, RowCount]:
    rows, pairs = [], []
    reasons: Counter[str] = Counter()
    for row in table.rows:
        pair = window_pair(row.variant, genome, window)
        if isinstance(pair, str):
            reasons[pair.partition(":")[0]] += 1
        else:
            rows.append(row)
            pairs.append(pair)
    count = table.count
    for reason, number in reasons.most_common():
        count = count.without(reason, number)
    distances = [np.nan if row.distance is None else row.distance for row in rows]
    return _Used(rows, pairs, np.array(distances, dtype=np.float64)), count


def _predictors(
    loaded: LoadedModel,
    used: _Used,
    genome: Mapping[str, Codes],
    config: VariantsConfig,
    reporter: Reporter,
) -> tuple[Predictors, str]:
    """Return the scores of all predictors, and the reason that there are no probes."""
    options = VariantOptions(
        window=min(config.window, loaded.model.config.context), has_divergence=True
    )
    (twin,) = random_twins(loaded, config.seed, 1).values()
    predictors: Predictors = {}
    features: dict[str, Any] = {}
    variants = [row.variant for row in used.rows]
    for source, model in ((MODEL, loaded), (TWIN, replace(loaded, model=twin))):
        scores = score_variants(model, variants, genome, options, reporter)
        predictors |= {(source, name): values for name, values in _model_scores(scores).items()}
        features[source] = _probe_vectors(scores)
    if np.isfinite(used.distance_N).any():
        predictors["feature", "distance to feature"] = -np.abs(used.distance_N)
    predictors |= _count_scores(used, genome)
    note = _probe_problem(used)
    if not note:
        features["k-mers"] = _kmer_features(used)
        task = _task(used)
        task_folds = folds(task, config.seed)
        order_N = np.concatenate([fold.test for fold in task_folds])
        with reporter.track("probing variants", len(features), "kinds of vector") as tracker:
            for source, vectors in features.items():
                predictions = run_probe(LOGISTIC, vectors, task, task_folds)
                scores_N = np.full(len(used.rows), np.nan)
                scores_N[order_N] = predictions.probability_NC[:, 1]
                predictors[source, "probe"] = scores_N
                tracker.advance(1)
    return predictors, note


def _model_scores(scores: Sequence[VariantScore]) -> dict[str, Floats]:
    odds_N = np.array([np.nan if s.log_odds is None else s.log_odds for s in scores])
    return {
        "log-odds": -odds_N,
        "absolute log-odds": np.abs(odds_N),
        "divergence": np.array([s.divergence for s in scores], dtype=np.float64),
        "vector distance": np.array([s.embedding_distance for s in scores], dtype=np.float64),
    }


def _probe_vectors(scores: Sequence[VariantScore]) -> npt.NDArray[np.float32]:
    """Return the reference vectors and the differences; both vectors, better conditioned."""
    vectors_N2E = np.nan_to_num(
        np.stack([s.vectors_2E for s in scores if s.vectors_2E is not None])
    )
    return np.concatenate((vectors_N2E[:, 0], vectors_N2E[:, 1] - vectors_N2E[:, 0]), axis=1)


def _count_scores(used: _Used, genome: Mapping[str, Codes]) -> Predictors:
    """Return the log-odds of counting for single substitutions; NaN for the others."""
    variants = [row.variant for row in used.rows]
    counts = CountOdds(genome.values())
    num_orders = len(counts.tables.tables)
    odds_KN = np.full((num_orders, len(variants)), np.nan)
    ref_log2_KN, words_N = odds_KN.copy(), np.full(len(variants), np.nan)
    flags = {record: has_known_neighbours(codes) for record, codes in genome.items()}
    rows_by_record: dict[str, list[int]] = {}
    for row, variant in enumerate(variants):
        is_single = len(variant.ref) == len(variant.alt) == 1
        if is_single and flags[variant.chromosome][variant.position - 1]:
            rows_by_record.setdefault(variant.chromosome, []).append(row)
    for record, rows in rows_by_record.items():
        position_N = np.array([variants[row].position - 1 for row in rows])
        alt_N = encode_bases("".join(variants[row].alt for row in rows))
        place = (genome[record], position_N, alt_N)
        odds_KN[:, rows], ref_log2_KN[:, rows] = counts.contexts(*place)
        words_N[rows] = counts.words(*place)
    if not rows_by_record:
        return {}
    order = int(np.nanmean(ref_log2_KN, axis=1).argmax())
    return {
        ("counts", f"{order} neighbours a side"): -odds_KN[order],
        ("counts", f"{WORD}-mers"): -words_N,
    }


def _kmer_features(used: _Used) -> Any:
    """Return the frequencies of k-mers around each variant and their change, sparse."""
    from scipy.sparse import hstack

    windows = []
    for pair in used.pairs:
        start = max(pair.first - _KMER_WINDOW // 2, 0)
        end = pair.first + _KMER_WINDOW // 2
        windows.append(
            (
                pair.ref[start : end + pair.num_ref],
                pair.alt[start : end + pair.num_alt],
            )
        )
    ref, alt = (kmer_frequencies([pair[side] for pair in windows], _KMER) for side in (0, 1))
    return hstack((ref, alt - ref)).tocsr()


def _probe_problem(used: _Used) -> str:
    labels = [row.is_positive for row in used.rows]
    if None in labels:
        return "labels are numbers: give `--set variants.threshold=X`"
    if min(labels.count(True), labels.count(False)) < _MIN_PER_CLASS:
        return "a class has fewer than two variants"
    if len({row.group for row in used.rows}) < 2:
        return "there is a single group"
    return ""


def _task(used: _Used) -> Task:
    return Task(
        name="variants",
        examples=tuple(
            Example(
                id=row.variant.id,
                sequence=BASES[0],
                label="positive" if row.is_positive else "negative",
                group=row.group,
            )
            for row in used.rows
        ),
        all_classes=("negative", "positive"),
        count=RowCount(read=len(used.rows), used=len(used.rows)),
    )


def _measure(predictors: Predictors, used: _Used, seed: int) -> Iterator[VariantRow]:
    consequences = np.array([row.consequence for row in used.rows])
    parts = [ALL, *sorted({str(name) for name in consequences} - {""})]
    has_classes = used.rows[0].is_positive is not None
    positive_N = np.array([bool(row.is_positive) for row in used.rows])
    value_N = np.array([np.nan if row.value is None else row.value for row in used.rows])
    groups_N = used.groups
    for part in parts:
        in_part_N = np.ones(positive_N.size, dtype=np.bool_)
        if part != ALL:
            in_part_N = consequences == part
            if in_part_N.sum() < _MIN_ROWS:
                continue
        for (source, score), scores_N in predictors.items():
            rows = np.flatnonzero(in_part_N & np.isfinite(scores_N))
            if not rows.size:
                continue
            ranking = Ranking(scores_N[rows], positive_N[rows], groups_N[rows])
            is_ranked = has_classes and 0 < positive_N[rows].sum() < rows.size
            is_numeric = bool(np.isfinite(value_N).all()) and rows.size > 2
            yield VariantRow(
                part=part,
                source=source,
                score=score,
                num_rows=int(rows.size),
                num_positive=int(positive_N[rows].sum()) if has_classes else None,
                auroc=ranking.auroc_interval(seed) if is_ranked else None,
                auprc=ranking.auprc_interval(seed) if is_ranked else None,
                auprc_by_group=precision_by_group(ranking) if is_ranked else None,
                # A low score of an assay means loss of function.
                spearman=rank_correlation(scores_N[rows], -value_N[rows], groups_N[rows], seed)
                if is_numeric
                else None,
            )
