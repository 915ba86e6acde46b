"""Sequences written by a causal model, base after base or token after token.

Each token is drawn among the tokens of A C G T. The log-likelihood of a written sequence is the sum
over the written tokens of the unfiltered log-probability, as `score` computes it for the model.
Without a prompt and without a token such as `<s>` before sequences, the first token is drawn with
equal probabilities, and does not count.
Shape letters: B rows, R candidate tokens, V vocabulary, E features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.evaluation.token_bases import Cut, Numbers, TokenBases
from genomeformer_cli.core.generation.sampling import (
    SamplingOptions,
    draw,
    filtered_probabilities,
    row_generators,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.continuation import Continuation
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import Codes, encode_bases

_ROWS_AT_ONCE = 64
Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Options of the written sequences."""

    length: int = 1_000  # Bases to write after a prompt.
    number: int = 1  # Sequences per prompt.
    seed: int = 0  # Seed of all random numbers.
    sampling: SamplingOptions = field(default_factory=SamplingOptions)  # Choice of tokens.

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: A number is out of range.
        """
        check_range("length", self.length, 1)
        check_range("number", self.number, 1)
        check_range("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class WrittenSequence:
    """Prompt with its continuation."""

    codes: Codes  # Base codes of prompt and continuation.
    prompt_size: int  # Bases of the prompt.
    num_scored: int  # Bases of the written tokens that count.
    # Sum of the natural logarithms of the probabilities of these tokens.
    log_likelihood: float


def check_writer(loaded: LoadedModel) -> None:
    """Check that a model can write sequences.

    Raises:
        ConfigError: The model is not causal, or its tokens overlap by other than all but one base.
    """
    if not objective_for(loaded.model.config.direction).is_causal:
        raise ConfigError(
            "only causal models write sequences; this one sees both sides of a base",
            hint="fill the N of a sequence with `--infill`, or name a model of "
            "`pretrain --objective causal`",
        )
    bases = TokenBases(loaded.tokenizer)
    if bases.cut is Cut.OVERLAPPING and not _overlaps_by_all_but_one(loaded):
        raise ConfigError(
            "tokens that overlap by other than all but one base cannot be written one by one",
            hint="use a model of single bases, or of k-mers of stride 1 or k",
        )


def _overlaps_by_all_but_one(loaded: LoadedModel) -> bool:
    offsets_T2 = loaded.tokenizer.offsets(encode_bases("ACGTTGCATGCC" * 3))
    return bool((np.diff(offsets_T2[:, 0]) == 1).all())


def continue_sequence(
    loaded: LoadedModel,
    prompt: Codes,
    options: GenerationOptions,
    *,
    record: int = 0,
    progress: Progress = lambda _: None,
) -> Iterator[WrittenSequence]:
    """Yield the continuations of a prompt, in order.

    Args:
        loaded: Causal model, see `check_writer`.
        prompt: Base codes; may be empty.
        options: Length, number and choice of tokens.
        record: Index of the prompt, which selects its random numbers.
        progress: Receives the number of bases written since the last call.

    Raises:
        CheckpointError: A number of the model is not finite.
    """
    for first in range(0, options.number, _ROWS_AT_ONCE):
        number = min(_ROWS_AT_ONCE, options.number - first)
        generators = row_generators(options.seed, record, first, number)
        yield from _Writer(loaded, prompt, options, generators).write(progress)


@dataclass
class _Writer:
    """Rows that continue one prompt."""

    loaded: LoadedModel
    prompt: Codes
    options: GenerationOptions
    generators: list[torch.Generator]

    def __post_init__(self) -> None:
        self._bases = TokenBases(self.loaded.tokenizer)
        self._is_overlapping = self._bases.cut is Cut.OVERLAPPING
        self._lengths = self._bases.lengths

    @torch.inference_mode()
    def write(self, progress: Progress) -> Iterator[WrittenSequence]:
        """Yield the rows after all of them have the wanted length."""
        batch = len(self.generators)
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        rows: list[list[int]] = [[] for _ in range(batch)]
        sizes_B = np.zeros(batch, dtype=np.int64)
        nats_B = np.zeros(batch)
        # Rows of longer tokens grow by different numbers of bases; those that are long enough wait.
        scored_B = np.zeros(batch, dtype=np.int64)
        continuation = model.continuation(batch)
        context = [*tokenizer.prefix_ids, *tokenizer.encode(self.prompt).tolist()]
        last_B = np.full(batch, context[-1] if self.prompt.size else -1)
        feed = torch.tensor([context] * batch, device=model.device) if context else None
        while (sizes_B < self.options.length).any():
            before = int(np.minimum(sizes_B, self.options.length).sum())
            counts = feed is not None
            ids_B, added_B = self._next(continuation, feed, last_B)
            for row, number in enumerate(ids_B.tolist()):
                if sizes_B[row] >= self.options.length:
                    continue
                is_first = self._is_overlapping and last_B[row] < 0
                rows[row].append(number)
                grown = 1 if self._is_overlapping and not is_first else self._lengths[number]
                sizes_B[row] += grown
                nats_B[row] += added_B[row]
                scored_B[row] += grown if counts else 0
            last_B = ids_B
            feed = torch.from_numpy(ids_B)[:, None].to(model.device)
            progress(int(np.minimum(sizes_B, self.options.length).sum()) - before)
        for row, ids in enumerate(rows):
            yield WrittenSequence(
                codes=np.concatenate([self.prompt, self._letters(ids)]),
                prompt_size=self.prompt.size,
                num_scored=int(scored_B[row]),
                log_likelihood=float(nats_B[row]),
            )

    def _next(
        self, continuation: Continuation, feed: Tensor | None, last_B: Numbers
    ) -> tuple[Numbers, npt.NDArray[np.float64]]:
        """Return the next token of each row, and its log-probability in nats."""
        batch = len(self.generators)
        if feed is None:
            ids = self._bases.real_ids
            uniform_BR = torch.full((batch, ids.size), 1 / ids.size, dtype=torch.float64)
            return ids[draw(uniform_BR, self.generators).numpy()], np.zeros(batch)
        logits_BV = self.loaded.model.logits(continuation.feed(feed)).double().cpu()
        if not bool(logits_BV.isfinite().all()):
            raise CheckpointError(
                f"the model in `{self.loaded.folder}` computes values that are not finite",
                hint="its weights are too large or damaged; fetch or train it again",
            )
        candidates_BR = self._candidates(last_B)
        nats_BR = torch.log_softmax(logits_BV.gather(1, candidates_BR), dim=-1)
        probability_BR = filtered_probabilities(nats_BR, self.options.sampling)
        index_B1 = draw(probability_BR, self.generators)[:, None]
        ids_B: Numbers = candidates_BR.gather(1, index_B1)[:, 0].numpy()
        return ids_B, nats_BR.gather(1, index_B1)[:, 0].numpy()

    def _candidates(self, last_B: Numbers) -> Tensor:
        """Return the ids (B, R) of the tokens that can follow."""
        real_ids = torch.from_numpy(self._bases.real_ids)
        if not self._is_overlapping or (last_B < 0).any():
            return real_ids.expand(len(last_B), -1)
        length = int(self._lengths[last_B[0]])
        shifted_B = (self._bases.numbers[last_B] << 2) & (4**length - 1)
        numbers_B4 = shifted_B[:, None] + np.arange(4)
        return torch.from_numpy(self._bases.ids_of_length(length)[numbers_B4])

    def _letters(self, ids: list[int]) -> Codes:
        tokens = [self.loaded.tokenizer.tokens[number] for number in ids]
        if self._is_overlapping:
            keeps_first = not self.prompt.size
            tokens = [
                token if keeps_first and number == 0 else token[-1]
                for number, token in enumerate(tokens)
            ]
        return encode_bases("".join(tokens))[: self.options.length]
