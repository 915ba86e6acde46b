"""Nucleotide dependency map: change of the prediction at base j after substituting base i.

The strength of (i, j) is the largest absolute change of the log2-odds of a base at j, over the
three substitutions at i and the four bases at j (Tomaz da Silva et al. 2024, "Nucleotide
dependency analysis of DNA language models reveals genomic functional elements"). Every prediction
is computed as by `score`: a masked model does not see base j. The changes are averaged over both
strands; for a causal model, each pair has the change on the one strand that reads i before j.

The pairing of (i, j) is the sum, over the substitutions of i by b, of the change of the log-odds of
the complement of b at j minus the mean change of the four bases at j: a base pair answers a
substitution by the base that restores the pair.
Shape letters: L length, M mutants, R real bases, S strands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable, check_single_bases
from genomeformer_cli.core.evaluation.token_bases import Cut, TokenBases
from genomeformer_cli.core.evaluation.tokenized_record import (
    EVERY,
    Log2,
    ScoringWindow,
    TokenizedRecord,
    passes_of_record,
)
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes

_TOKENS_PER_BATCH, _CPU_TOKENS = 16_384, 4_096

Strengths = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class DependencyMap:
    """Dependencies between the bases of a sequence; row i is the substituted base.

    The diagonal is 0; NaN in the rows and columns of N, and of bases that no token predicts.
    """

    strengths_LL: Strengths  # Largest absolute change of the log2-odds of a base.
    pairing_LL: Strengths  # Change towards the complement of the substitution.


def _ignore(num_positions: int) -> None:
    del num_positions


def check_dependencies(loaded: LoadedModel) -> None:
    """Check that a model predicts single bases without seeing them.

    Raises:
        ConfigError: The tokens or the objective give no log-odds of bases.
    """
    check_scorable(loaded)
    check_single_bases(loaded)
    objective = objective_for(loaded.model.config.direction)
    overlaps = TokenBases(loaded.tokenizer).cut is Cut.OVERLAPPING
    if overlaps and not (objective.hides_targets or objective.is_causal):
        raise ConfigError(
            "tokens that overlap show the base that a model of two stacks predicts",
            hint="give a masked or causal model",
        )


def check_length(loaded: LoadedModel, identifier: str, codes: Codes) -> None:
    """Check that a sequence fits into one window.

    Raises:
        ConfigError: The sequence has more tokens than the context of the model.
    """
    context = loaded.model.config.context
    if loaded.tokenizer.encode(codes).size > context:
        raise ConfigError(
            f"`{identifier}` has {codes.size:,} bases, more than one window of the model "
            f"({context:,} tokens)",
            hint="explain regions (`--bed`, `--gff`, `--feature`) or windows (`--tile 500`)",
        )


@dataclass(frozen=True)
class _Substitution:
    """Substitutions of one base."""

    position: int

    def sequences(self, codes: Codes) -> list[Codes]:
        """Return the three mutants of a sequence, in the order of their bases."""
        mutants = []
        for base in range(NUM_REAL_BASES):
            if base != codes[self.position]:
                mutant = codes.copy()
                mutant[self.position] = base
                mutants.append(mutant)
        return mutants


def dependency_map(
    loaded: LoadedModel,
    codes: Codes,
    *,
    every: int = EVERY,
    progress: Callable[[int], None] = _ignore,
) -> DependencyMap:
    """Return the dependency map of a sequence.

    Args:
        loaded: The model.
        codes: Base codes, no longer than one window of the model.
        every: Number of passes of a masked model, see `ScoringOptions`.
        progress: Receives the number of substituted positions of each finished batch.

    Raises:
        ConfigError: The model gives no log-odds of bases.
        CheckpointError: A number is not finite.
    """
    check_dependencies(loaded)
    length = codes.size
    strengths, pairing = np.full((2, length, length), np.nan, dtype=np.float32)
    result = DependencyMap(strengths_LL=strengths, pairing_LL=pairing)
    positions = np.flatnonzero(codes < NUM_REAL_BASES).tolist()
    if not positions:
        return result
    is_causal = objective_for(loaded.model.config.direction).is_causal
    reference_SLR = _strand_log_odds(loaded, [codes], every)[:, 0]
    cost = BatchCost.of_model(loaded.model)
    tasks = [_Substitution(position) for position in positions]

    def compute(task: _Substitution) -> None:
        odds_SMLR = _strand_log_odds(loaded, task.sequences(codes), every)
        change_MLR = _combine(odds_SMLR - reference_SLR[:, None], is_causal=is_causal)
        strengths[task.position] = np.abs(change_MLR).max(axis=(0, 2))
        # The mutants are in the order of their bases.
        complements = [3 - base for base in range(NUM_REAL_BASES) if base != codes[task.position]]
        towards_ML = change_MLR[range(len(complements)), :, complements] - change_MLR.mean(axis=2)
        pairing[task.position] = towards_ML.sum(axis=0)

    run_tasks(
        compute,
        tasks,
        device=loaded.model.device,
        demand=cost.demand([(_rows_per_batch(loaded, length), length)] * len(tasks)),
        on_done=lambda _: progress(1),
    )
    for values in (strengths, pairing):
        np.fill_diagonal(values, np.where(codes < NUM_REAL_BASES, 0, np.nan))
    return result


def _combine(change_SMLR: Log2, *, is_causal: bool) -> Log2:
    """Combine the changes of both strands to (M, L, R); NaN where neither predicts."""
    is_known_SMLR = np.isfinite(change_SMLR)
    num_known_MLR = is_known_SMLR.sum(axis=0)
    total_MLR = np.where(is_known_SMLR, change_SMLR, 0).sum(axis=0)
    if not is_causal:
        # A causal strand that has not read the substituted base has a change of exactly 0.
        total_MLR = total_MLR / np.maximum(num_known_MLR, 1)
    return np.where(num_known_MLR > 0, total_MLR, np.nan)


def _strand_log_odds(loaded: LoadedModel, rows: Sequence[Codes], every: int) -> Log2:
    """Return log2-odds of A C G T at every base on each strand, (S, M, L, R)."""
    forward_MLR = predicted_log_odds(loaded, rows, every)
    if loaded.model.is_equivariant and loaded.model.config.direction == "two-stack":
        return forward_MLR[None]
    reverse = [reverse_complement_codes(codes) for codes in rows]
    reverse_MLR = predicted_log_odds(loaded, reverse, every)[:, ::-1, ::-1]
    return np.stack((forward_MLR, reverse_MLR))


def predicted_log_odds(loaded: LoadedModel, rows: Sequence[Codes], every: int) -> Log2:
    """Return log2-odds (M, L, R) of A C G T at every base of sequences of one length."""
    log2_MLR = np.full((len(rows), rows[0].size, NUM_REAL_BASES), np.nan)
    records = [TokenizedRecord.of_codes(loaded, codes) for codes in rows]
    items = [
        (row, offset)
        for row, record in enumerate(records)
        for offset in range(passes_of_record(record, every, max(record.ids_T.size, 1)))
    ]
    batch_size = _rows_per_batch(loaded, rows[0].size)
    for first in range(0, len(items), batch_size):
        _write_batch(records, items[first : first + batch_size], every, log2_MLR)
    # log2(1 - p) from the other three: exact where p is close to 1.
    with np.errstate(invalid="ignore"):  # NaN where a base is not predicted
        others_MLR = np.stack(
            [
                np.logaddexp2.reduce(np.delete(log2_MLR, base, axis=2), axis=2)
                for base in range(NUM_REAL_BASES)
            ],
            axis=2,
        )
    odds_MLR: Log2 = log2_MLR - others_MLR
    return odds_MLR


def _rows_per_batch(loaded: LoadedModel, length: int) -> int:
    on_cpu = loaded.model.device.type == "cpu"
    return max((_CPU_TOKENS if on_cpu else _TOKENS_PER_BATCH) // max(length, 1), 1)


@torch.inference_mode()
def _write_batch(
    records: Sequence[TokenizedRecord],
    items: Sequence[tuple[int, int]],
    every: int,
    log2_MLR: Log2,
) -> None:
    """Write the log2 probabilities that some passes over some records predict."""
    loaded = records[0].loaded
    tokenizer, model = loaded.tokenizer, loaded.model
    width = max(records[row].ids_T.size for row, _ in items)
    if not width:
        return
    shift = 1 if records[0].objective.is_causal else 0
    inputs_BT = np.full((len(items), width), tokenizer.pad_id, dtype=np.int64)
    all_queries = []
    for line, (row, offset) in enumerate(items):
        record = records[row]
        size = record.ids_T.size
        num_passes = passes_of_record(record, every, size)
        queries, masked_N = record.pass_queries(ScoringWindow(0, size, 0, size), offset, num_passes)
        inputs_BT[line, :size] = record.ids_T
        if masked_N.size:
            assert tokenizer.mask_id is not None
            inputs_BT[line, masked_N] = tokenizer.mask_id
        all_queries.append(queries)
    inputs = torch.from_numpy(inputs_BT).to(model.device)
    features_BTE = model.hidden(inputs, padding_mask(inputs, tokenizer.pad_id))
    for line, ((row, _), queries) in enumerate(zip(items, all_queries, strict=True)):
        if queries.token_N.size:
            logits_NV = records[row].logits(features_BTE[line, queries.token_N - shift])
            records[row].write_bases(log2_MLR[row], queries, logits_NV)
