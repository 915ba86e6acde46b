"""Records and windows of records that a causal model reads from their first base on.

Shape letters: L positions of a segment, W windows, N queries, P passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import score_bases
from genomeformer_cli.core.evaluation.held_out_sequences import REGIONS, HeldOutSequence
from genomeformer_cli.core.evaluation.likelihood import score_record_tokens, score_windows
from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.evaluation.token_scores import TokenScores
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.tokenizers.char import CharTokenizer

# Tokens of the queries, whatever the tokens of the model.
CHAR = CharTokenizer()


def has_char_tokens(loaded: LoadedModel) -> bool:
    """Return True for the tokens of `genomeformer tokenize --tokenizer char`."""
    return loaded.tokenizer.tokens == CHAR.tokens


@dataclass(frozen=True)
class Segment:
    """Record, or a window of a record, that is read from its first base on."""

    sequence: HeldOutSequence
    start: int
    stop: int
    is_query_L: npt.NDArray[np.bool_]


def cut_segments(
    sequences: Sequence[HeldOutSequence], budget: int, max_length: int | None, order: int
) -> list[Segment]:
    """Return the segments that a causal model reads: the first `budget` bases of every group.

    Args:
        sequences: Held-out sequences.
        budget: Maximum number of bases per group.
        max_length: Maximum length of a segment; None: whole records.
        order: Number of real bases before each query.

    Raises:
        ConfigError: The sequences are too short.
    """
    remaining = dict.fromkeys((sequence.group for sequence in sequences), budget)
    segments: list[Segment] = []
    for sequence in sequences:
        end = min(sequence.codes.size, remaining[sequence.group])
        remaining[sequence.group] -= end
        for start in range(0, end, max_length or max(end, 1)):
            stop = min(start + max_length, end) if max_length else end
            real_L = sequence.codes[start:stop] < NUM_REAL_BASES
            is_query_L = np.zeros(stop - start, dtype=np.bool_)
            if stop - start > order:
                contexts = np.lib.stride_tricks.sliding_window_view(real_L, order + 1)
                is_query_L[order:] = contexts.all(axis=1)
            if is_query_L.any():
                segments.append(Segment(sequence, start, stop, is_query_L))
    if not segments:
        raise ConfigError("the held-out part is too short to validate on", hint="hold out more")
    return segments


def segment_subsets(
    segments: Sequence[Segment], owner_N: npt.NDArray[np.int64], names: Sequence[str]
) -> dict[tuple[str, str], npt.NDArray[np.bool_]]:
    """Return the queries of each genome and, if regions are known, of each region.

    Args:
        segments: Segments of the held-out sequences.
        owner_N: Segment of each query.
        names: Genomes, in the order of the results.
    """
    groups = list(dict.fromkeys(names))
    group_of = np.array([groups.index(segment.sequence.group) for segment in segments])
    subsets = {("genome", name): group_of[owner_N] == index for index, name in enumerate(groups)}
    if all(segment.sequence.regions_L is None for segment in segments):
        return subsets
    regions_N = np.concatenate(
        [
            np.zeros(int(segment.is_query_L.sum()), dtype=np.uint8)
            if segment.sequence.regions_L is None
            else segment.sequence.regions_L[segment.start : segment.stop][segment.is_query_L]
            for segment in segments
        ]
    )
    return subsets | {("region", name): regions_N == index for index, name in enumerate(REGIONS)}


def segment_scorer(
    loaded: LoadedModel, *, carries_state: bool
) -> Callable[[Model, Segment], TokenScores]:
    """Return the function that scores a model like this one on the queries of a segment.

    Args:
        loaded: The model.
        carries_state: Read a segment of any length with a passed state.
    """
    real_ids = CHAR.real_ids

    def score(model: Model, segment: Segment) -> TokenScores:
        codes = segment.sequence.codes[segment.start : segment.stop]
        if not has_char_tokens(loaded):
            return score_bases(replace(loaded, model=model), codes, segment.is_query_L)
        tokens_L = CHAR.encode(codes).astype(np.int64)
        if carries_state:
            return score_record_tokens(model, tokens_L, segment.is_query_L, real_ids)
        queries = Queries(
            tokens_WL=tokens_L[None],
            hidden_PWL=segment.is_query_L[None, None],
            real_ids=real_ids,
        )
        return score_windows(model, queries)

    return score
