"""Over how many processes a run is spread: no part of what is learned, so not of a run's settings.

A run that was begun with two goes on with one, or with three.
"""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Processes and what they share.

    Attributes:
        gpus: GPUs of this machine, one process each; 0: CPU; None: as the device says.
        processes: Processes of this machine on its CPU; with GPUs there are as many as these.
        restarts: How often all are started again when one ends, at most.
        shard: Whether weights and optimizer are divided among them (FSDP2).
        sequence_parallel: How many of them share every row, each a stretch of it.
    """

    gpus: int | None = None
    processes: int | None = None
    restarts: int = 3
    shard: bool = False
    sequence_parallel: int = 1

    def __post_init__(self) -> None:
        counts = (self.processes or 1, self.sequence_parallel, (self.gpus or 0) + 1)
        if min(counts) < 1 or self.processes == 0 or self.restarts < 0:
            raise ConfigError(
                "processes must be at least 1, GPUs and restarts at least 0",
                hint="`--gpus 2`, or `--gpus 0 --processes 2`",
            )
        if self.gpus and self.processes not in (None, self.gpus):
            raise ConfigError(
                f"{self.processes} processes on {self.gpus} GPUs: there is one a GPU",
                hint="leave `--processes` out, or `--gpus 0` for processes on the CPU",
            )
        if self.shard and self.sequence_parallel > 1:
            raise ConfigError(
                "`--shard` divides the weights, `--sequence-parallel` the rows: not both",
                hint="leave one of them out",
            )

    @property
    def num_processes(self) -> int:
        """Processes to start on this machine."""
        return self.gpus or self.processes or 1

    @property
    def on_cpu(self) -> bool:
        """Whether they compute on the CPU, whatever else there is."""
        return self.gpus == 0 or (self.gpus is None and self.processes is not None)

    @property
    def is_special(self) -> bool:
        """Whether a model or a row is parted: then nothing is tried on one process beforehand."""
        return self.shard or self.sequence_parallel > 1

    def check_model(self, model: ModelConfig, training: TrainingConfig, plan: str) -> None:
        """Make sure that a model can be parted, if it is to be.

        Raises:
            ConfigError: It cannot; the hint says what can.
        """
        if not self.shard:
            return
        what = ""
        if plan not in ("full", "checkpoint"):
            what = f"`--memory {plan}`"
        elif model.residual != "plain":
            what = "reversible residuals"
        elif training.optimizer != "adamw":
            what = f"`--optimizer {training.optimizer}`, which needs matrices whole"
        elif training.ema:
            what = "`--ema`"
        if what:
            raise ConfigError(
                f"`--shard` cannot be with {what}",
                hint="it takes plain residuals, `--memory full` or `checkpoint`, `--optimizer "
                "adamw`, no `--ema`",
            )

    def check_size(self, size: int) -> None:
        """Make sure that so many processes can do it.

        Raises:
            ConfigError: They cannot.
        """
        if size % self.sequence_parallel:
            raise ConfigError(
                f"{size} processes do not divide into lines of {self.sequence_parallel}",
                hint="`--sequence-parallel` must divide the number of processes",
            )
        if self.shard and size == 1:
            raise ConfigError(
                "one process has nobody to share the weights with",
                hint="start several: `--gpus 2 --shard`, or `--gpus 0 --processes 2 --shard`",
            )
