"""Unknown bases of a sequence, filled by a model that sees both sides of a base.

In each round the model reads the sequence with the bases filled so far, and the bases that it is
most certain of are filled (Ghazvininejad et al. 2019, "Mask-Predict", section 3.2, without taking
choices back). Records longer than the context are read in windows that overlap by half.
Shape letters: L length, N unknown bases, E features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable
from genomeformer_cli.core.evaluation.token_bases import Cut, Numbers, TokenBases
from genomeformer_cli.core.evaluation.tokenized_record import scoring_windows
from genomeformer_cli.core.generation.sampling import (
    SamplingOptions,
    draw,
    filtered_probabilities,
    row_generators,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class FillingOptions:
    """Options of filled gaps."""

    rounds: int = 16  # Number of rounds; each fills an equal share of the unknown bases.
    seed: int = 0  # Seed of all random numbers.
    sampling: SamplingOptions = field(default_factory=SamplingOptions)  # Choice of bases.

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("rounds", self.rounds, 1)
        check_range("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class FilledSequence:
    """Sequence whose unknown bases are filled."""

    codes: Codes  # Base codes without N.
    num_filled: int  # Number of filled bases.
    # Sum of the natural logarithms of the probabilities of the filled bases, each in its round.
    log_likelihood: float


def check_filler(loaded: LoadedModel) -> None:
    """Check that a model can fill gaps.

    Raises:
        ConfigError: The model sees one side only, or its tokens are longer than one base.
    """
    if objective_for(loaded.model.config.direction).is_causal:
        raise ConfigError(
            "a causal model sees only the bases before a gap",
            hint="leave `--infill` out to continue sequences, or name a model of masked bases",
        )
    if TokenBases(loaded.tokenizer).cut is not Cut.BASES:
        raise ConfigError(
            f"tokens of `{loaded.tokenizer.kind}` are longer than one base, and gaps are not",
            hint="use a model whose tokens are single bases",
        )
    check_scorable(loaded)


def fill_gaps(
    loaded: LoadedModel,
    codes: Codes,
    options: FillingOptions,
    *,
    record: int = 0,
    progress: Progress = lambda _: None,
) -> FilledSequence:
    """Return a sequence with all unknown bases filled.

    Args:
        loaded: Model that sees both sides of a base, see `check_filler`.
        codes: Base codes.
        options: Number of rounds and choice of bases.
        record: Index of the sequence, which selects its random numbers.
        progress: Receives the number of bases filled since the last call.

    Raises:
        CheckpointError: A number of the model is not finite.
    """
    (generator,) = row_generators(options.seed, record, 0, 1)
    filled = codes.copy()
    total = 0.0
    unknown_N = np.flatnonzero(filled >= NUM_REAL_BASES)
    num_filled = unknown_N.size
    for left in range(options.rounds, 0, -1):
        if not unknown_N.size:
            break
        nats_NR = _predict(loaded, filled, unknown_N)
        number = -(-unknown_N.size // left)
        order_N = np.argsort(-nats_NR.max(axis=1), kind="stable")
        chosen_N = np.sort(order_N[:number])
        nats = torch.from_numpy(nats_NR[chosen_N])
        probability = filtered_probabilities(nats, options.sampling)
        bases_N = draw(probability, [generator] * number)
        filled[unknown_N[chosen_N]] = bases_N.numpy().astype(np.uint8)
        total += float(nats.gather(1, bases_N[:, None]).sum())
        unknown_N = np.delete(unknown_N, chosen_N)
        progress(number)
    return FilledSequence(codes=filled, num_filled=num_filled, log_likelihood=total)


@torch.inference_mode()
def _predict(loaded: LoadedModel, codes: Codes, unknown_N: Numbers) -> npt.NDArray[np.float64]:
    """Return the log-probabilities (N, 4) of A C G T at unknown bases, in nats."""
    model, tokenizer = loaded.model, loaded.tokenizer
    assert tokenizer.base_ids is not None
    tokens_L = tokenizer.encode(codes).astype(np.int64)
    if objective_for(model.config.direction).hides_targets:
        assert tokenizer.mask_id is not None
        tokens_L[unknown_N] = tokenizer.mask_id
    nats_NR = np.empty((unknown_N.size, NUM_REAL_BASES))
    base_ids = torch.tensor(tokenizer.base_ids, device=model.device)
    for window in scoring_windows(codes.size, model.config.context, causal=False):
        first, last = np.searchsorted(unknown_N, (window.first, window.last))
        if first == last:
            continue
        place_N = unknown_N[first:last] - window.start
        row_1L = torch.from_numpy(tokens_L[None, window.start : window.stop]).to(model.device)
        features_NE = model.hidden(row_1L, None)[0, torch.from_numpy(place_N).to(model.device)]
        logits_NR = model.logits(features_NE)[:, base_ids].double().cpu()
        nats_NR[first:last] = torch.log_softmax(logits_NR, dim=-1).numpy()
    if not np.isfinite(nats_NR).all():
        raise CheckpointError(
            f"the model in `{loaded.folder}` computes values that are not finite",
            hint="its weights are too large or damaged; fetch or train it again",
        )
    return nats_NR
