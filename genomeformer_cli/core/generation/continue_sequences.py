"""Sequences written by a causal model, base after base or token after token.

Each token is drawn among the tokens of A C G T. The log-likelihood of a written sequence is the sum
over the written tokens of the unfiltered log-probability, as `score` computes it for the model.
Without a prompt and without a token such as `<s>` before sequences, the first token is drawn with
equal probabilities, and does not count. Of both sides, the reverse complement of the prompt and
its continuation is continued too, and turned back: bases before the prompt follow from all others.
Shape letters: B rows, R candidate tokens, V vocabulary, E features,
L tokens, P tokens before a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes

_ROWS_AT_ONCE = 64
Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Options of the written sequences."""

    length: int = 1_000  # Bases to write after a prompt.
    number: int = 1  # Sequences per prompt.
    both_sides: bool = False  # Also write before the prompt, on the other strand.
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
    prompt_start: int  # Number of bases before the prompt.
    prompt_size: int  # Number of bases of the prompt.
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
        yield from continue_prompts(loaded, [prompt] * number, options, generators, progress)


def continue_prompts(
    loaded: LoadedModel,
    prompts: Sequence[Codes],
    options: GenerationOptions,
    generators: Sequence[torch.Generator],
    progress: Progress = lambda _: None,
) -> list[WrittenSequence]:
    """Return one continuation per prompt, each drawn with a generator of its own.

    Raises:
        CheckpointError: A number of the model is not finite.
    """
    rows = _write(loaded, prompts, options, generators, progress)
    if not options.both_sides:
        return rows
    turned_prompts = [reverse_complement_codes(row.codes) for row in rows]
    rows_before = _write(loaded, turned_prompts, options, generators, progress)
    return [
        WrittenSequence(
            codes=reverse_complement_codes(before.codes),
            prompt_start=options.length,
            prompt_size=row.prompt_size,
            num_scored=row.num_scored + before.num_scored,
            log_likelihood=row.log_likelihood + before.log_likelihood,
        )
        for row, before in zip(rows, rows_before, strict=True)
    ]


def _write(
    loaded: LoadedModel,
    prompts: Sequence[Codes],
    options: GenerationOptions,
    generators: Sequence[torch.Generator],
    progress: Progress,
) -> list[WrittenSequence]:
    """Return one continuation per prompt, in batches of prompts of equally many tokens."""
    batches: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        batches.setdefault(loaded.tokenizer.encode(prompt).size, []).append(place)
    sequences: dict[int, WrittenSequence] = {}
    for places in batches.values():
        for first in range(0, len(places), _ROWS_AT_ONCE):
            part = places[first : first + _ROWS_AT_ONCE]
            batch = ([prompts[place] for place in part], options)
            writer = _Writer(loaded, *batch, [generators[place] for place in part])
            sequences.update(zip(part, writer.write(progress), strict=True))
    return [sequences[place] for place in range(len(prompts))]


@dataclass
class _Windows:
    """Continuation in the windows in which `score` reads a record; see `scoring_windows`.

    A window begins with the last half of the one before it, which is read again. The state of a
    model that can stream is never reset.
    """

    model: Model
    prefix: Sequence[int]  # Token ids before every window.
    batch: int  # Number of rows.

    def __post_init__(self) -> None:
        self._length = None if self.model.can_stream else self.model.config.context
        self._start, self._size = 0, 0
        self._continuation: Continuation | None = None
        self._window: list[Tensor] = []  # Tokens (B, L) of the window.

    def feed(self, tokens_BL: Tensor | None) -> Tensor | None:
        """Append tokens, and return the features (B, E) of the last one; None without any."""
        if tokens_BL is not None:
            self._size += tokens_BL.shape[1]
            if self._length is not None:
                self._window.append(tokens_BL)
                tokens_BL = self._move(self._length, tokens_BL)
        if self._continuation is None:
            self._continuation = self.model.continuation(self.batch)
            prefix = torch.tensor(self.prefix, dtype=torch.int64, device=self.model.device)
            prefix_BP = prefix.expand(self.batch, -1)
            tokens_BL = prefix_BP if tokens_BL is None else torch.cat((prefix_BP, tokens_BL), 1)
        if tokens_BL is None or not tokens_BL.shape[1]:
            return None
        return self._continuation.feed(tokens_BL)

    def _move(self, length: int, tokens_BL: Tensor) -> Tensor:
        """Move to the window that predicts the next token; return the tokens to read."""
        step = max(length // 2, 1)
        start = max(-(-(self._size - length + 1) // step), 0) * step
        if start == self._start:
            return tokens_BL
        whole_BL = torch.cat(self._window, dim=1)
        tokens_BL = whole_BL[:, start - self._start :]
        self._start, self._window, self._continuation = start, [tokens_BL], None
        return tokens_BL


@dataclass
class _Writer:
    """Rows that continue prompts of equally many tokens."""

    loaded: LoadedModel
    prompts: list[Codes]
    options: GenerationOptions
    generators: list[torch.Generator]

    def __post_init__(self) -> None:
        self._bases = TokenBases(self.loaded.tokenizer)
        self._is_overlapping = self._bases.cut is Cut.OVERLAPPING
        self._real_ids = torch.from_numpy(self._bases.real_ids)
        tokens = self.loaded.tokenizer.tokens
        self._codes_of = {
            number: encode_bases(tokens[number]).tobytes() for number in self._real_ids.tolist()
        }

    @torch.inference_mode()
    def write(self, progress: Progress) -> list[WrittenSequence]:
        """Return the rows, each with its prompt and the bases after it."""
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        batch, length = len(self.prompts), self.options.length
        rows = [bytearray() for _ in range(batch)]
        nats_B = np.zeros(batch)
        # Rows of longer tokens grow by different numbers of bases; those that are long enough wait.
        scored_B = np.zeros(batch, dtype=np.int64)
        windows = _Windows(model, tokenizer.prefix_ids, batch)
        ids_BL = np.stack([tokenizer.encode(prompt).astype(np.int64) for prompt in self.prompts])
        last_B = ids_BL[:, -1] if ids_BL.shape[1] else np.full(batch, -1)
        feed = torch.from_numpy(ids_BL).to(model.device) if ids_BL.shape[1] else None
        num_bases = 0
        while min(map(len, rows)) < length:
            features_BE = windows.feed(feed)
            ids_B, added_B = self._next(features_BE, last_B)
            for row, number in enumerate(ids_B.tolist()):
                if len(rows[row]) >= length:
                    continue
                codes = self._codes_of[number]
                is_first = last_B[row] < 0
                grown = codes[-1:] if self._is_overlapping and not is_first else codes
                rows[row] += grown
                nats_B[row] += added_B[row]
                scored_B[row] += len(grown) if features_BE is not None else 0
            last_B = ids_B
            feed = torch.from_numpy(ids_B)[:, None].to(model.device)
            before, num_bases = num_bases, sum(min(len(row), length) for row in rows)
            progress(num_bases - before)
        return [
            WrittenSequence(
                codes=np.concatenate([prompt, np.frombuffer(row[:length], dtype=np.uint8)]),
                prompt_start=0,
                prompt_size=prompt.size,
                num_scored=int(scored_B[number]),
                log_likelihood=float(nats_B[number]),
            )
            for number, (prompt, row) in enumerate(zip(self.prompts, rows, strict=True))
        ]

    def _next(
        self, features_BE: Tensor | None, last_B: Numbers
    ) -> tuple[Numbers, npt.NDArray[np.float64]]:
        """Return the next token of each row, and its log-probability in nats."""
        if features_BE is None:
            ids = self._bases.real_ids
            uniform_BR = torch.full((len(last_B), ids.size), 1 / ids.size, dtype=torch.float64)
            return ids[draw(uniform_BR, self.generators).numpy()], np.zeros(len(last_B))
        logits_BV = self.loaded.model.logits(features_BE).cpu().double()
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
        if not self._is_overlapping or (last_B < 0).any():
            return self._real_ids.expand(len(last_B), -1)
        length = int(self._bases.lengths[last_B[0]])
        shifted_B = (self._bases.numbers[last_B] << 2) & (4**length - 1)
        numbers_B4 = shifted_B[:, None] + np.arange(4)
        return torch.from_numpy(self._bases.ids_of_length(length)[numbers_B4])
