"""Batches of a run, prefetched; each is a pure function of the seed and the step.

`Batches.make` builds the whole batch of a step, of which each process takes some rows.
`Prefetcher` calls it from a thread, a few steps ahead.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.mixture import Mixture
from genomeformer_cli.core.data.windows import Sampling, Short, Windows, WindowSampler
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.objectives.examples import make_examples
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, OrderedTokenizer
from genomeformer_cli.core.tokenizers.token_lengths import token_layout
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.feature_redraw import check_redraw
from genomeformer_cli.core.training.length_curriculum import stage_of, stages

_STEPS_AHEAD = 3
_LOOK_AGAIN = 0.2


class StepBatch(Protocol):
    """Interface of a batch for the training loop, independent of the task."""

    @property
    def step(self) -> int:
        """Step number, from 0."""

    @property
    def num_bases(self) -> int:
        """Number of bases."""

    def pinned(self) -> StepBatch:
        """Copy to pinned memory."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Batch of one pretraining step."""

    step: int  # Step number, from 0.
    examples: Examples  # Inputs, targets and loss weights.
    num_tokens: int  # Number of tokens without padding.
    num_bases: int  # Number of bases of these tokens.
    target_bases: int  # Number of bases of the targets.
    total_weight: Tensor  # Weight of all targets, the normaliser of the loss.

    def rows(self, rows: slice) -> Batch:
        """Return this process's rows; the statistics remain those of the full batch."""
        return replace(self, examples=self.examples.rows(rows))

    def pinned(self) -> Batch:
        """Copy to pinned memory."""
        return replace(self, examples=self.examples.pinned())


class Batches:
    """Builder of the batch of any step.

    Args:
        corpus: Corpus whose training split is read.
        model: Model configuration: direction and context.
        masking: Masking of bases.
        config: Seed, rows, strands, packing and stages.
        mixture: Groups and weights of the windows.

    Attributes:
        mixture: Groups and weights of the windows.

    Raises:
        ConfigError: The model would see its targets, or the configuration requires data that the
            corpus does not have.
    """

    def __init__(
        self,
        corpus: Corpus,
        model: ModelConfig,
        masking: MaskingConfig,
        config: TrainingConfig,
        mixture: Mixture | None = None,
    ) -> None:
        check_redraw(model, config)
        self._tokenizer = corpus.tokenizer
        self._model, self._masking = model, masking
        self._stages = stages(config, model.context)
        if token_layout(corpus.tokenizer).overlaps and model.direction == "two-stack":
            raise ConfigError(
                "two stacks would read each base off the k-mers beside it, which overlap",
                hint="use k-mers without overlap, or `--tokenizer char`",
            )
        self.mixture, self._steps = mixture or Mixture(), config.steps
        self._samplers = {
            stage.length: WindowSampler(
                corpus,
                "train",
                Sampling(
                    length=stage.length,
                    batch_size=stage.rows,
                    seed=config.seed,
                    reverse_complement=config.reverse_complement,
                    short=short_segments(corpus, model, config),
                    jitter=self.mixture.config.jitter,
                    repeat_weight=self.mixture.config.repeat_weight,
                ),
                self.mixture.groups,
            )
            for stage in self._stages
        }

    def epochs(self) -> dict[str, float]:
        """Return the expected passes of the run over each group of the mixture."""
        epochs = {group.name: 0.0 for group in self.mixture.groups}
        lasts = [stage.first for stage in self._stages[1:]] + [self._steps]
        for stage, last in zip(self._stages, lasts, strict=True):
            rows = (last - stage.first) * stage.rows
            # Without a mixture, one count of all windows and no group.
            counts = self._samplers[stage.length].group_windows
            for group, num_windows in zip(self.mixture.groups, counts, strict=False):
                epochs[group.name] += rows * group.share / num_windows
        return epochs

    def make(self, step: int) -> Batch:
        """Build the batch of a step."""
        stage = stage_of(step, self._stages)
        windows, generator = self._samplers[stage.length].batch(step - stage.first)
        options = (self._model, self._masking)
        return make_batch(step, windows, self._tokenizer, options, generator)


def make_batch(
    step: int,
    windows: Windows,
    tokenizer: OrderedTokenizer,
    options: tuple[ModelConfig, MaskingConfig],
    generator: np.random.Generator,
) -> Batch:
    """Build the batch of a step from its windows.

    Args:
        step: Step number.
        windows: Windows of the step.
        tokenizer: Tokenizer of the windows.
        options: Model configuration, and masking; spans are in bases.
        generator: Random generator of the masks.
    """
    model, masking = options
    layout = token_layout(tokenizer)
    masking = replace(masking, span=masking.span + layout.shortest_span - 1)
    examples = make_examples(windows, tokenizer.real_ids, model, masking, generator)
    targets = examples.targets_BL.numpy()
    return Batch(
        step=step,
        examples=examples,
        num_tokens=int((windows.tokens_BL != PAD_ID).sum()),
        num_bases=int(layout.bases_V[windows.tokens_BL].sum()),
        target_bases=int(np.take(layout.bases_V, targets[targets >= 0]).sum()),
        total_weight=examples.total_weight,
    )


def short_segments(corpus: Corpus, model: ModelConfig, config: TrainingConfig) -> Short:
    """Return the treatment of short segments: packed if requested, or if there are any."""
    if config.pack == "auto":
        any_shorter = any(segment.length < model.context for segment in corpus.segments("train"))
        return "pack" if any_shorter else "pad"
    treatments: dict[str, Short] = {"on": "pack", "off": "pad", "skip": "skip"}
    return treatments[config.pack]


class Prefetcher:
    """Build the batches of the next steps in a thread while the current one is trained.

    Args:
        make: Function that builds the batch of a step.
        first: First step.
        stop: End of the steps, exclusive.
        pinned: Copy the batches to pinned memory.
    """

    def __init__(
        self, make: Callable[[int], StepBatch], first: int, stop: int, *, pinned: bool = False
    ) -> None:
        self._make = make
        self._steps = range(first, stop)
        self._pinned = pinned
        self._queue: queue.Queue[StepBatch | BaseException] = queue.Queue(maxsize=_STEPS_AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def next(self) -> StepBatch:
        """Return the batch of the next step.

        Raises:
            Exception: Building the batch failed.
        """
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _run(self) -> None:
        try:
            for step in self._steps:
                batch = self._make(step)
                self._hand_over(batch.pinned() if self._pinned else batch)
                if self._ended.is_set():
                    return
        except Exception as failure:  # noqa: BLE001 - it is raised again where the batch is awaited
            self._hand_over(failure)

    def _hand_over(self, item: StepBatch | BaseException) -> None:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_LOOK_AGAIN)
                return
