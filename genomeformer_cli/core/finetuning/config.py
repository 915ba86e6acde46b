"""Configuration of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.precision import ComputeConfig

# There are 4^9 k-mers of this length.
_MAX_KMER = 9


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """Trainable weights, head and regularisation."""

    # `full`: every weight; `head`: the head alone; `lora`: the head, and a low-rank update of every
    # matrix of the blocks.
    method: Literal["full", "head", "lora"] = "full"
    rank: int = 8  # Rank of the updates of `lora`.
    alpha: float = 16.0  # Scale of the updates times the rank.
    # Pooling of positions: `mean`, `max`, `mean-max`: both concatenated, or `attention`: four
    # weighted means, with weights from the features and the relative position.
    pool: Literal["mean", "max", "mean-max", "attention"] = "mean-max"
    dropout: float = 0.1  # Fraction of the features that the head drops in a training step.
    mutation: float = 0.0  # Fraction of the bases that are replaced at random in a training step.
    # Bases that a training step removes from the ends of every longer row, divided at random
    # between start and end: features occur at varying positions.
    shift: int = 0
    smoothing: float = 0.0  # Label smoothing: fraction of a class's weight that all classes share.
    # Linear model that is fitted first and whose outputs are added to the head's: of `kmers`, of
    # `gapped` k-mers (two 3-mers, 1 to 8 bases apart), of base pairs in their `places`, of `both`
    # k-mers and places; or `none`.
    linear: Literal["none", "kmers", "gapped", "places", "both"] = "none"
    kmer: int = 7  # K-mer length of the linear model.
    # Convolution filters of 9 to 23 bases that read the rows beside the model, from random weights;
    # on both strands unless `strands` is `given`. 0: none; 128 is usual.
    motif_filters: int = 0
    head_rate: float = 5.0  # Learning rate of the head relative to that of the model.
    # Ratio of the learning rates of consecutive blocks, from the top down.
    layer_decay: float = 1.0
    # `given`: the sequences as given; `augment`: a random strand in training; `average`: also
    # average the predictions of both strands.
    strands: Literal["given", "augment", "average"] = "given"
    # `balanced`: every class has the same total weight.
    class_weights: Literal["none", "balanced"] = "none"
    # Metric of model selection; empty: `mcc`, for several labels `auroc`, for numbers `r2`.
    metric: str = ""
    # Validations without improvement before training stops; 0: no early stopping.
    patience: int = 8
    # Maximum window of the model, in tokens; 0: its context. Longer sequences are read window by
    # window.
    window: int = 0
    # Tokens computed at once, padding included; changes memory, not results.
    tokens_per_batch: int = 16_384

    def __post_init__(self) -> None:
        check_range("tuning.rank", self.rank, 1)
        check_range("tuning.alpha", self.alpha, 0, excluded="lowest")
        check_range("tuning.dropout", self.dropout, 0, 1, "highest")
        check_range("tuning.layer_decay", self.layer_decay, 0, 1, "lowest")
        check_range("tuning.head_rate", self.head_rate, 0, excluded="lowest")
        check_range("tuning.mutation", self.mutation, 0, 1, "highest")
        check_range("tuning.smoothing", self.smoothing, 0, 1, "highest")
        check_range("tuning.kmer", self.kmer, 1, _MAX_KMER)
        for name in ("patience", "window", "shift", "motif_filters"):
            check_range(f"tuning.{name}", getattr(self, name), 0)
        check_range("tuning.tokens_per_batch", self.tokens_per_batch, 1)
        if self.linear in ("places", "both") and self.strands != "given":
            raise ConfigError(
                "positional base pairs need a single strand",
                hint="`--linear kmers`, or `--set tuning.strands=given`",
            )


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Split of rows for a file without a split."""

    validation: float = 0.1  # Fraction of validation rows.
    test: float = 0.2  # Fraction of test rows.
    seed: int = 0  # Seed of the draw, independent of the seeds of a run.

    def __post_init__(self) -> None:
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise ConfigError(
                f"invalid fractions: validation {self.validation:g}, test {self.test:g}",
                hint="both are above 0, their sum below 1; 0.1 and 0.2 are usual",
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Complete configuration of a fine-tuning, without its model and rows."""

    epochs: float = 10.0  # Maximum number of passes over the training rows.
    validate_every: int = 0  # Steps between validations; 0: once per epoch, and at least ten times.
    # Learning rate of the twin with random weights; 0: that of the model.
    scratch_rate: float = 0.0
    # Passes over the unlabelled training rows with the pretraining objective before fine-tuning.
    adapt: float = 0.0
    adapt_rate: float = 5e-4  # Peak learning rate of these passes.
    # Fit baselines to the same rows: linear models of k-mers, gapped k-mers and bases in their
    # places, and a small convolutional network from random weights.
    baselines: bool = False
    # Train a small convolutional network on the same rows too, for every seed, and stack it: its
    # outputs and those of the model are summed with weights that fit the validation rows. `auto`:
    # unless the labels are of bases.
    network: Literal["auto", "on", "off"] = "auto"
    # Models to save: that of the `best` seed by validation, or those of `all` seeds too, as
    # NAME-seed-N, for `predict` with several `--model`.
    members: Literal["best", "all"] = "best"
    # Trainable weights, head and regularisation.
    tuning: TuningConfig = field(default_factory=TuningConfig)
    split: SplitRule = field(default_factory=SplitRule)  # Split of rows for a file without a split.
    # Steps, optimizer, schedule; the steps are computed from `epochs`.
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            learning_rate=5e-4, decay_share=0.9, weight_decay=0.01, keep_checkpoints=1
        )
    )
    # Precision; `auto` is resolved before the run starts.
    compute: ComputeConfig = field(
        default_factory=lambda: ComputeConfig(precision="auto", compile="off")
    )

    def choose_network(self, *, per_base: bool) -> Literal["on", "off"]:
        """Return whether a network is trained for labels of rows, or of bases."""
        if self.network == "auto":
            return "off" if per_base else "on"
        return self.network

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 0, excluded="lowest")
        check_range("adapt_rate", self.adapt_rate, 0, excluded="lowest")
        for name in ("scratch_rate", "validate_every", "adapt"):
            check_range(name, getattr(self, name), 0)
        if self.compute.compile != "off":
            raise ConfigError("fine-tuning does not support `compile`", hint='compile = "off"')
