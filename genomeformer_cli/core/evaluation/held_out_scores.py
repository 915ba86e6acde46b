"""Does a model predict held-out bases better than a table? Asked as its kind can be asked.

| model          | question                                                                    |
|----------------|-----------------------------------------------------------------------------|
| bidirectional  | one base in 64 hidden at a time, all neighbours of it visible; and again at |
|                | the training rate, where the table still sees what the model does not       |
| two stacks     | each base, all others of its window visible                                 |
| causal         | each base, all before it in its record visible, whole records by passing    |
|                | the state along where the mechanism can, else windows                       |

Shape letters: W windows, T tokens in a window, N questions, P passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.counts import (
    LONGEST_LEFT,
    ContextTables,
    Sides,
    count_contexts,
    score_positions,
    score_queries,
    widest_order,
)
from genomeformer_cli.core.evaluation.held_out_sequences import (
    REGIONS,
    HeldOutSequence,
    SequenceWindows,
    cut_sequences,
    sorted_by_content,
)
from genomeformer_cli.core.evaluation.likelihood import score_record_tokens, score_windows
from genomeformer_cli.core.evaluation.masked_queries import (
    Queries,
    all_queries,
    queries_at_rate,
    sparse_queries,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.evaluation.model_ranking import (
    PositionBin,
    QueryScores,
    RankingRow,
    position_curve,
    rank_models,
)
from genomeformer_cli.core.evaluation.token_scores import TokenScores, concatenate_scores
from genomeformer_cli.core.models.genomeformer.build import Model, build_model
from genomeformer_cli.core.models.genomeformer.streaming_forward import can_pass_state
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.training.metrics import Score

TWIN_SEED_SHIFT = 1_000_003


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """How much is asked.

    Attributes:
        window: Bases of a window; None: the model's context.
        windows: At most so many windows of a genome; of whole records, as many bases.
        passes: Of the 64 disjoint sets of hidden bases.
        rate: The training rate of masking.
        seed: Of the masks, the resampling and the first random twin.
        num_twins: Models with random weights beside it.
    """

    window: int | None = None
    windows: int = 200
    passes: int = 4
    rate: float = 0.15
    seed: int = 0
    num_twins: int = 1


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """One kind of question, answered.

    Attributes:
        question: In words.
        rows: Scores, on everything and on its parts.
        places: Bits per base by place: `place_is` says of what.
        place_is: What a place counts.
        logarithmic: Whether places are best drawn on a logarithmic scale.
    """

    question: str
    rows: tuple[RankingRow, ...]
    places: tuple[PositionBin, ...]
    place_is: str
    logarithmic: bool = False

    def score_of(self, who: str) -> Score:
        """On all questions."""
        row = next(row for row in self.rows if row.kind == "all" and row.who == who)
        return Score(
            bits_per_base=row.bits.value, accuracy=row.accuracy.value, num_bases=row.num_bases
        )


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """Who is asked, and how: what every question needs."""

    loaded: LoadedModel
    tables: ContextTables | None
    config: HeldOutConfig
    reporter: Reporter


def random_twins(loaded: LoadedModel, seed: int, number: int) -> dict[int, Model]:
    """The same model with random weights, several times, by seed; where the model is."""
    twins = {}
    for one in range(seed, seed + number):
        model = build_model(loaded.model.config, seed=one + TWIN_SEED_SHIFT)
        twins[one] = model.to(loaded.model.device).eval()
    return twins


def score_held_out(
    loaded: LoadedModel,
    texts: Sequence[HeldOutSequence],
    corpus: Corpus | None,
    config: HeldOutConfig,
    reporter: Reporter,
) -> tuple[HeldOutScores, ...]:
    """Ask a model, tables of counts and random twins the same questions.

    Args:
        loaded: The model.
        texts: Held-out sequences.
        corpus: What the tables are counted on, its training split; None: no tables.
        config: How much is asked.
        reporter: Follows the work.

    Raises:
        ConfigError: The model's tokens are not single bases, or there is too little to ask.
    """
    if not loaded.tokenizer.one_token_a_base:
        raise ConfigError(
            f"the tokens of the model are `{loaded.tokenizer.kind}`, and only single bases can be "
            "compared with a table of counts",
            hint="evaluate it on labelled sequences alone: `--no-likelihood --task FILE`",
        )
    direction = loaded.model.config.direction
    sides = Sides.LEFT if direction == "causal" else Sides.BOTH
    tables = None
    if corpus is not None:
        tables = count_contexts(
            corpus, widest_order(corpus.manifest.num_train, sides), reporter, sides
        )
    panel = _Panel(loaded=loaded, tables=tables, config=config, reporter=reporter)
    if direction == "causal":
        return (_whole_records(panel, texts),)
    length = config.window or loaded.model.config.context
    windows = cut_sequences(texts, loaded.tokenizer, length=length, most=config.windows)
    real_ids = loaded.tokenizer.real_ids
    if direction == "two-stack":
        asked = {"each base, all others visible": all_queries(windows.tokens_WT, real_ids)}
    else:
        generator = np.random.default_rng([config.seed, 15])
        asked = {
            "one base in 64 hidden": sparse_queries(windows.tokens_WT, real_ids, config.passes),
            f"{config.rate:.0%} of the bases hidden": queries_at_rate(
                windows.tokens_WT, real_ids, config.rate, generator
            ),
        }
    return tuple(
        _windowed(panel, question, questions, windows) for question, questions in asked.items()
    )


def _windowed(
    panel: _Panel, question: str, questions: Queries, windows: SequenceWindows
) -> HeldOutScores:
    loaded, tables, config = panel.loaded, panel.tables, panel.config
    twins = random_twins(loaded, config.seed, config.num_twins)
    with panel.reporter.track(question, 1 + len(twins), "models") as tracker:
        said = score_windows(loaded.model, questions)
        tracker.advance(1)
        guesses = {}
        for seed, twin in twins.items():
            guesses[seed] = score_windows(twin, questions)
            tracker.advance(1)
    _, windows_N, columns_N = np.nonzero(questions.hidden_PWL)
    lengths_W = (windows.tokens_WT != 0).sum(axis=1)
    parts = {
        ("genome", name): windows.groups_W[windows_N] == index
        for index, name in enumerate(windows.groups)
    }
    if windows.regions_WT is not None:
        regions_N = windows.regions_WT[windows_N, columns_N]
        parts |= {("region", name): regions_N == index for index, name in enumerate(REGIONS)}
    asked = QueryScores(
        model=said,
        tables=score_queries(tables, questions) if tables else [],
        twins=guesses,
        windows_N=windows_N,
        parts=parts,
        places_N=np.minimum(columns_N, lengths_W[windows_N] - 1 - columns_N),
    )
    return HeldOutScores(
        question=question,
        rows=rank_models(asked, config.seed),
        places=position_curve(asked, logarithmic=False),
        place_is="bases to the nearer end of the window",
    )


@dataclass(frozen=True)
class _Stretch:
    """A record, or a window of one, read from its first base on."""

    text: HeldOutSequence
    start: int
    stop: int
    asked_L: npt.NDArray[np.bool_]


def _stretches(
    texts: Sequence[HeldOutSequence], budget: int, longest: int | None, order: int
) -> list[_Stretch]:
    """What a causal model reads: of every group, its first `budget` bases."""
    left = dict.fromkeys((text.group for text in texts), budget)
    stretches: list[_Stretch] = []
    for text in texts:
        end = min(text.codes.size, left[text.group])
        left[text.group] -= end
        for start in range(0, end, longest or max(end, 1)):
            stop = min(start + longest, end) if longest else end
            real_L = text.codes[start:stop] < NUM_REAL_BASES
            asked_L = np.zeros(stop - start, dtype=np.bool_)
            if stop - start > order:
                seen = np.lib.stride_tricks.sliding_window_view(real_L, order + 1)
                asked_L[order:] = seen.all(axis=1)
            if asked_L.any():
                stretches.append(_Stretch(text, start, stop, asked_L))
    if not stretches:
        raise ConfigError("the held-out part is too short to validate on", hint="hold out more")
    return stretches


def _whole_records(panel: _Panel, texts: Sequence[HeldOutSequence]) -> HeldOutScores:
    loaded, tables, config = panel.loaded, panel.tables, panel.config
    context = config.window or loaded.model.config.context
    carried = can_pass_state(loaded.model) and config.window is None
    order = tables.order if tables else LONGEST_LEFT
    budget = config.windows * context
    stretches = _stretches(sorted_by_content(texts), budget, None if carried else context, order)
    ask = _record_asker(loaded, carried=carried)
    twins = random_twins(loaded, config.seed, config.num_twins)
    num_bases = sum(one.stop - one.start for one in stretches)
    said: dict[int | None, TokenScores] = {}
    models: dict[int | None, Model] = {None: loaded.model} | {**twins}
    with panel.reporter.track("predicting", num_bases * (1 + len(twins)), "bases") as tracker:
        for seed, model in models.items():
            parts = []
            for one in stretches:
                parts.append(ask(model, one))
                tracker.advance(one.stop - one.start)
            said[seed] = concatenate_scores(parts)
    by_order = []
    if tables is not None:
        by_order = [
            score_positions(tables, one.text.codes, one.start + np.flatnonzero(one.asked_L))
            for one in stretches
        ]
    places_N = np.concatenate([np.flatnonzero(one.asked_L) for one in stretches])
    owner_N = np.repeat(np.arange(len(stretches)), [int(one.asked_L.sum()) for one in stretches])
    asked = QueryScores(
        model=said[None],
        tables=[concatenate_scores(parts) for parts in zip(*by_order, strict=True)],
        twins={seed: answers for seed, answers in said.items() if seed is not None},
        windows_N=owner_N * (int(places_N.max()) // context + 1) + places_N // context,
        parts=_parts_of(stretches, owner_N, [text.group for text in texts]),
        places_N=places_N,
    )
    reach = "its record" if carried else f"its window of {context:,}"
    return HeldOutScores(
        question=f"each base from those before it in {reach}",
        rows=rank_models(asked, config.seed),
        places=position_curve(asked, logarithmic=True),
        place_is="bases before it",
        logarithmic=True,
    )


def _parts_of(
    stretches: Sequence[_Stretch], owner_N: npt.NDArray[np.int64], names: Sequence[str]
) -> dict[tuple[str, str], npt.NDArray[np.bool_]]:
    groups = list(dict.fromkeys(names))
    group_of = np.array([groups.index(one.text.group) for one in stretches])
    parts = {("genome", name): group_of[owner_N] == index for index, name in enumerate(groups)}
    if all(one.text.regions_L is None for one in stretches):
        return parts
    regions_N = np.concatenate(
        [
            np.zeros(int(one.asked_L.sum()), dtype=np.uint8)
            if one.text.regions_L is None
            else one.text.regions_L[one.start : one.stop][one.asked_L]
            for one in stretches
        ]
    )
    return parts | {("region", name): regions_N == index for index, name in enumerate(REGIONS)}


def _record_asker(
    loaded: LoadedModel, *, carried: bool
) -> Callable[[Model, _Stretch], TokenScores]:
    tokenizer = loaded.tokenizer

    def ask(model: Model, one: _Stretch) -> TokenScores:
        tokens_L = tokenizer.encode(one.text.codes[one.start : one.stop]).astype(np.int64)
        if carried:
            return score_record_tokens(model, tokens_L, one.asked_L, tokenizer.real_ids)
        questions = Queries(
            tokens_WL=tokens_L[None],
            hidden_PWL=one.asked_L[None, None],
            real_ids=tokenizer.real_ids,
        )
        return score_windows(model, questions)

    return ask
