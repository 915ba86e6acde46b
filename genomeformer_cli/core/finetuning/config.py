"""How a model is fine-tuned, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.precision import ComputeConfig

# There are 4^9 words of this length.
_LONGEST_WORD = 9


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """What is adapted, and how the head answers.

    Attributes:
        method: `full`: every weight; `head`: the head alone; `lora`: the head, and a change of low
            rank to every matrix of the blocks.
        rank: Of these changes.
        alpha: A change is scaled by this over the rank.
        pool: How positions make a sequence: `mean`, `max`, `mean-max`: both side by side, or
            `attention`: means weighed by what stands at a position and where it stands, four of
            them side by side.
        dropout: Part of the features that the head does not see in a training step.
        mutation: Part of the bases that a training step sees as others, drawn anew each time.
        shift: Bases that a training step leaves out of every longer row, some at its start and the
            others at its end, drawn anew each time: what matters is seen at other places.
        smoothing: Part of a class's weight in the loss that all classes share.
        head_rate: Times the learning rate that the head learns at.
        layer_decay: The learning rate of a block times this is that of the block below it.
        linear: A linear model that is fitted first and whose outputs are added to the head's: of
            `kmers`, of pairs of bases in their `places`, of `both`; or `none`.
        kmer: Bases of its words.
        strands: `given`: as the sequences stand; `augment`: read from either strand at random in
            training; `average`: that, and answers are the mean of both strands'.
        class_weights: `balanced`: a class counts as much as any other, however rare.
        metric: What validation chooses by; empty: `mcc`, of several labels `auroc`, of numbers
            `r2`.
        patience: Validations in a row without a better one after which the run ends; 0: none do.
        window: Longest stretch the model sees at once, in tokens; 0: its context. Longer sequences
            are read window by window.
        tokens_per_batch: Tokens computed at once, padding included: memory, not the result.
    """

    method: Literal["full", "head", "lora"] = "full"
    rank: int = 8
    alpha: float = 16.0
    pool: Literal["mean", "max", "mean-max", "attention"] = "mean-max"
    dropout: float = 0.1
    mutation: float = 0.0
    shift: int = 0
    smoothing: float = 0.0
    linear: Literal["none", "kmers", "places", "both"] = "none"
    kmer: int = 7
    head_rate: float = 5.0
    layer_decay: float = 1.0
    strands: Literal["given", "augment", "average"] = "given"
    class_weights: Literal["none", "balanced"] = "none"
    metric: str = ""
    patience: int = 8
    window: int = 0
    tokens_per_batch: int = 16_384

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise ConfigError(
                f"a change of rank {self.rank}, scaled by {self.alpha:g}, changes nothing",
                hint="a rank of 8 and an alpha of 16 are usual",
            )
        if not (0 <= self.dropout < 1 and 0 < self.layer_decay <= 1 and self.head_rate > 0):
            raise ConfigError(
                "dropout lies between 0 and 1, the decay of layers above 0 and up to 1",
                hint="0.1 and 0.8 are usual; rates are positive",
            )
        if not (0 <= self.mutation < 1 and 0 <= self.smoothing < 1):
            raise ConfigError(
                "parts of bases and of a class's weight lie between 0 and 1",
                hint="0.05 and 0.1 are usual; 0 leaves them out",
            )
        if not 1 <= self.kmer <= _LONGEST_WORD:
            raise ConfigError(
                f"words of {self.kmer} bases", hint=f"from 1 to {_LONGEST_WORD}; 7 is usual"
            )
        if self.linear in ("places", "both") and self.strands != "given":
            raise ConfigError(
                "places are counted along one strand, and the other is read too",
                hint="`--linear kmers`, or `--strands given`",
            )
        if min(self.patience, self.window, self.shift) < 0 or self.tokens_per_batch < 1:
            raise ConfigError(
                "patience, windows, shifts and batches cannot be negative",
                hint="0 leaves out the first three",
            )


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How rows are parted where the file does not say.

    Attributes:
        validation: Part of the rows to choose on.
        test: Part of the rows to be judged on.
        seed: Of the draw; the same for every seed of a run.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise ConfigError(
                f"{self.validation:g} to choose on and {self.test:g} to test on leave no rows, or "
                "are none",
                hint="0.1 and 0.2 are usual",
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything a fine-tuning is, but for its model and its rows.

    Attributes:
        epochs: Times that every row is seen, at most.
        validate_every: Steps between validations; 0: an epoch, and ten times in all at least.
        scratch_rate: Learning rate of the twin that starts from random weights; 0: the same.
        tuning: What is adapted, and how the head answers.
        split: How rows are parted where the file does not say.
        training: Steps, optimizer, schedule; the steps follow from `epochs`.
        compute: In which precision; `auto` is settled before a run is begun.
    """

    epochs: float = 10.0
    validate_every: int = 0
    scratch_rate: float = 0.0
    tuning: TuningConfig = field(default_factory=TuningConfig)
    split: SplitRule = field(default_factory=SplitRule)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            learning_rate=5e-4, decay_share=0.9, weight_decay=0.01, keep_checkpoints=1
        )
    )
    compute: ComputeConfig = field(
        default_factory=lambda: ComputeConfig(precision="auto", compile="off")
    )

    def __post_init__(self) -> None:
        if self.epochs <= 0 or min(self.scratch_rate, self.validate_every) < 0:
            raise ConfigError(
                "epochs must be positive, rates and intervals not negative",
                hint="10 epochs are usual",
            )
        if self.compute.compile != "off":
            raise ConfigError("fine-tuning compiles nothing", hint='compile = "off"')
