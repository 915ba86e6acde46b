"""Scores of a model, count tables and random-init twins on held-out bases.

| model          | query                                                                       |
|----------------|-----------------------------------------------------------------------------|
| bidirectional  | one base in 64 masked at a time, all neighbours visible; and once more at   |
|                | the training rate, where the table still sees all neighbours                |
| two stacks     | each base, all others of its window visible                                 |
| causal         | each base, all before it in its record visible: whole records if the        |
|                | mechanism can carry a state, else windows                                   |
| other tokens   | each base, as `score` predicts it; see `token_bases`                        |

Shape letters: W windows, T tokens per window, N queries, P passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import MAX_WINDOW, check_range
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable, score_bases
from genomeformer_cli.core.evaluation.counts import (
    LONGEST_LEFT,
    CountedScores,
    Subset,
    best_tables,
    count_and_score,
    widest_order,
)
from genomeformer_cli.core.evaluation.held_out_segments import (
    CHAR,
    cut_segments,
    has_char_tokens,
    segment_scorer,
    segment_subsets,
)
from genomeformer_cli.core.evaluation.held_out_sequences import (
    REGIONS,
    HeldOutSequence,
    SequenceWindows,
    cut_sequences,
    sorted_by_content,
)
from genomeformer_cli.core.evaluation.likelihood import score_windows
from genomeformer_cli.core.evaluation.masked_queries import (
    HIDE_ONE_IN,
    Queries,
    all_queries,
    queries_at_rate,
    sparse_queries,
)
from genomeformer_cli.core.evaluation.model_ranking import (
    PositionBin,
    QueryScores,
    RankingRow,
    position_curve,
    rank_models,
    used_subsets,
)
from genomeformer_cli.core.evaluation.token_bases import Cut, TokenBases
from genomeformer_cli.core.evaluation.token_scores import TokenScores, concatenate_scores
from genomeformer_cli.core.evaluation.tokenized_record import EVERY
from genomeformer_cli.core.evaluation.wide_counts import ContextQueries, Sides
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.training.metrics import Score

TWIN_SEED_SHIFT = 1_000_003


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """Settings of the evaluation on held-out bases."""

    window: int | None = None  # Bases per window; None: the model's context.
    # Maximum number of windows per genome; for whole records, the same number of bases.
    windows: int = 200
    # Unit of a row of results: genome (or file), record, or prefix of record ids, up to `|`.
    by: Literal["genome", "record", "prefix"] = "genome"
    # Unit of the parts of the corpus that are counted by themselves, beside the whole corpus;
    # `corpus`: no parts. More than 16 parts are not counted.
    counts_by: Literal["corpus", "genome", "record", "prefix"] = "genome"
    passes: int = 4  # Number of the 64 disjoint sets of masked bases that are scored.
    rate: float = 0.15  # Masking rate of the training.
    seed: int = 0  # Seed of the masks, the bootstrap and the first random twin.
    num_twins: int = 1  # Number of models with random weights.

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("window", self.window, 1, MAX_WINDOW)
        check_range("windows", self.windows, 2)
        check_range("passes", self.passes, 1, HIDE_ONE_IN)
        check_range("rate", self.rate, 0.01, 0.9)
        check_range("seed", self.seed, 0)
        check_range("num_twins", self.num_twins, 1)


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """Scores on one kind of query."""

    question: str  # Description of the queries.
    rows: tuple[RankingRow, ...]  # Scores on all queries and on subsets.
    places: tuple[PositionBin, ...]  # Bits per base by position; `place_is` names the position.
    place_is: str  # Unit of the positions.
    logarithmic: bool = False  # True if positions are best drawn on a logarithmic scale.

    def score_of(self, source: str) -> Score:
        """Return the score of a model, `counts` or `random` on all queries."""
        row = next(row for row in self.rows if row.kind == "all" and row.who == source)
        return Score(
            bits_per_base=row.bits.value, accuracy=row.accuracy.value, num_bases=row.num_bases
        )


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """Models, tables and settings of one evaluation."""

    loaded: LoadedModel
    corpus: Corpus | None
    config: HeldOutConfig
    reporter: Reporter
    sides: Sides

    def count(
        self, queries: ContextQueries, subsets: Mapping[Subset, npt.NDArray[np.bool_]]
    ) -> dict[Subset, CountedScores]:
        """Return the best counts for each subset of the queries; none without a corpus."""
        if self.corpus is None:
            return {}
        by = None if self.config.counts_by == "corpus" else GroupBy(self.config.counts_by)
        tables = count_and_score(self.corpus, queries, self.reporter, self.sides, by)
        return best_tables(tables, subsets)


def random_twins(loaded: LoadedModel, seed: int, number: int) -> dict[int, Model]:
    """Build models of one configuration with random weights, by seed, on the same device."""
    twins = {}
    for twin_seed in range(seed, seed + number):
        model = build_model(loaded.model.config, seed=twin_seed + TWIN_SEED_SHIFT)
        twins[twin_seed] = model.to(loaded.model.device).eval()
    return twins


def score_held_out(
    loaded: LoadedModel,
    sequences: Sequence[HeldOutSequence],
    corpus: Corpus | None,
    config: HeldOutConfig,
    reporter: Reporter,
) -> tuple[HeldOutScores, ...]:
    """Score a model, count tables and random twins on the same queries.

    Args:
        loaded: The model.
        sequences: Held-out sequences.
        corpus: Corpus whose training split is counted; None: no tables.
        config: Settings.
        reporter: Receives progress.

    Raises:
        ConfigError: The model's tokens have no single bases, or the sequences are too short.
    """
    check_scorable(loaded)
    if TokenBases(loaded.tokenizer).cut is Cut.PIECES:
        raise ConfigError(
            f"the tokens of the model are `{loaded.tokenizer.kind}`, which give no probabilities "
            "of single bases to compare with a table of counts",
            hint="evaluate it on labelled sequences alone: `--no-likelihood --task FILE`",
        )
    objective = objective_for(loaded.model.config.direction)
    sides = Sides.LEFT if objective.is_causal else Sides.BOTH
    comparison = _Comparison(
        loaded=loaded, corpus=corpus, config=config, reporter=reporter, sides=sides
    )
    if objective.is_causal:
        return (_score_records(comparison, sequences),)
    length = config.window or loaded.model.config.context
    windows = cut_sequences(sequences, CHAR, length=length, max_windows=config.windows)
    real_ids = CHAR.real_ids
    if not has_char_tokens(loaded):
        queries_by_name = {
            f"each base, one token in {EVERY} hidden": all_queries(windows.tokens_WT, real_ids)
        }
    elif not objective.hides_targets:
        queries_by_name = {
            "each base, all others visible": all_queries(windows.tokens_WT, real_ids)
        }
    else:
        generator = np.random.default_rng([config.seed, 15])
        queries_by_name = {
            "one base in 64 hidden": sparse_queries(windows.tokens_WT, real_ids, config.passes),
            f"{config.rate:.0%} of the bases hidden": queries_at_rate(
                windows.tokens_WT, real_ids, config.rate, generator
            ),
        }
    return tuple(
        _score_windowed(comparison, question, queries, windows)
        for question, queries in queries_by_name.items()
    )


def _window_scorer(loaded: LoadedModel) -> Callable[[Model, Queries], TokenScores]:
    """Return the function that scores a model like this one on queries of single bases."""
    if has_char_tokens(loaded):
        return score_windows

    def score(model: Model, queries: Queries) -> TokenScores:
        like = replace(loaded, model=model)
        chunks = []
        for tokens_T, is_query_T in zip(queries.tokens_WL, queries.hidden_PWL[0], strict=True):
            size = int((tokens_T != CHAR.pad_id).sum())
            codes = (tokens_T[:size] - CHAR.real_ids.start).astype(np.uint8)
            chunks.append(score_bases(like, codes, is_query_T[:size]))
        return concatenate_scores(chunks)

    return score


def _score_windowed(
    comparison: _Comparison, question: str, queries: Queries, windows: SequenceWindows
) -> HeldOutScores:
    loaded, config = comparison.loaded, comparison.config
    twins = random_twins(loaded, config.seed, config.num_twins)
    with comparison.reporter.track(question, 1 + len(twins), "models") as tracker:
        score = _window_scorer(loaded)
        model_scores = score(loaded.model, queries)
        tracker.advance(1)
        twin_scores = {}
        for seed, twin in twins.items():
            twin_scores[seed] = score(twin, queries)
            tracker.advance(1)
    _, windows_N, columns_N = np.nonzero(queries.hidden_PWL)
    lengths_W = (windows.tokens_WT != 0).sum(axis=1)
    subsets = {
        ("genome", name): windows.groups_W[windows_N] == index
        for index, name in enumerate(windows.groups)
    }
    if windows.regions_WT is not None:
        regions_N = windows.regions_WT[windows_N, columns_N]
        subsets |= {("region", name): regions_N == index for index, name in enumerate(REGIONS)}
    subsets = used_subsets(subsets, windows_N.size)
    scores = QueryScores(
        model=model_scores,
        tables=comparison.count(ContextQueries.of_windows(queries), subsets),
        twins=twin_scores,
        windows_N=windows_N,
        subsets=subsets,
        positions_N=np.minimum(columns_N, lengths_W[windows_N] - 1 - columns_N),
    )
    return HeldOutScores(
        question=question,
        rows=rank_models(scores, config.seed),
        places=position_curve(scores, logarithmic=False),
        place_is="bases to the nearer end of the window",
    )


def _score_records(comparison: _Comparison, sequences: Sequence[HeldOutSequence]) -> HeldOutScores:
    loaded, config = comparison.loaded, comparison.config
    context = config.window or loaded.model.config.context
    carries_state = loaded.model.can_stream and config.window is None
    corpus = comparison.corpus
    order = LONGEST_LEFT
    if corpus is not None:
        order = widest_order(corpus.manifest.num_train, comparison.sides)
    budget = config.windows * context
    segments = cut_segments(
        sorted_by_content(sequences), budget, None if carries_state else context, order
    )
    score_segment = segment_scorer(loaded, carries_state=carries_state)
    twins = random_twins(loaded, config.seed, config.num_twins)
    num_bases = sum(segment.stop - segment.start for segment in segments)
    scores_by_seed: dict[int | None, TokenScores] = {}
    models: dict[int | None, Model] = {None: loaded.model} | {**twins}
    with comparison.reporter.track("predicting", num_bases * (1 + len(twins)), "bases") as tracker:
        for seed, model in models.items():
            chunks = []
            for segment in segments:
                chunks.append(score_segment(model, segment))
                tracker.advance(segment.stop - segment.start)
            scores_by_seed[seed] = concatenate_scores(chunks)
    positions_N = np.concatenate([np.flatnonzero(segment.is_query_L) for segment in segments])
    owner_N = np.repeat(
        np.arange(len(segments)), [int(segment.is_query_L.sum()) for segment in segments]
    )
    groups = [sequence.group for sequence in sequences]
    subsets = used_subsets(segment_subsets(segments, owner_N, groups), owner_N.size)
    tables = comparison.count(
        ContextQueries.of_parts(
            (
                segment.sequence.codes[segment.start : segment.stop],
                np.flatnonzero(segment.is_query_L),
            )
            for segment in segments
        ),
        subsets,
    )
    scores = QueryScores(
        model=scores_by_seed[None],
        tables=tables,
        twins={
            seed: twin_scores for seed, twin_scores in scores_by_seed.items() if seed is not None
        },
        windows_N=owner_N * (int(positions_N.max()) // context + 1) + positions_N // context,
        subsets=subsets,
        positions_N=positions_N,
    )
    context_name = "its record" if carries_state else f"its window of {context:,}"
    return HeldOutScores(
        question=f"each base from those before it in {context_name}",
        rows=rank_models(scores, config.seed),
        places=position_curve(scores, logarithmic=True),
        place_is="bases before it",
        logarithmic=True,
    )
