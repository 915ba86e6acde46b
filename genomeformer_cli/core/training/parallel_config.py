"""Parallelism settings. Not part of the run configuration, because they do not change the result.

A run may be resumed with another number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Number of processes and division of the work."""

    # GPUs of this machine, one process each; 0: CPU; None: given by the device.
    gpus: int | None = None
    # Processes on the CPU of this machine; with GPUs, one process per GPU. None: those of the
    # started run; for a new run of some minutes one per core, unless threads or memory are set.
    processes: int | None = None
    restarts: int = 3  # Largest number of restarts of all processes after one exits.
    shard: bool = False  # Shard weights and optimizer over the processes (FSDP2).
    sequence_parallel: int = 1  # Number of processes that share every row, each with a shard of it.
    # Largest memory of a step beside Python and torch, such as `20GiB`: `auto` chooses by it, a
    # plan that does not fit is refused, `slim` keeps as many slices as fit. Unset: no limit for a
    # named plan, most of the free memory for `auto`.
    memory_budget: str | None = None

    def __post_init__(self) -> None:
        check_range("parallel.processes", self.processes, 1)
        check_range("parallel.sequence_parallel", self.sequence_parallel, 1)
        check_range("parallel.gpus", self.gpus, 0)
        check_range("parallel.restarts", self.restarts, 0)
        if self.gpus and self.processes not in (None, self.gpus):
            raise ConfigError(
                f"{self.processes} processes on {self.gpus} GPUs: there is one process per GPU",
                hint="leave `parallel.processes` out, or `--gpus 0` for processes on the CPU",
            )
        if self.shard and self.sequence_parallel > 1:
            raise ConfigError(
                "`parallel.shard` divides the weights, `parallel.sequence_parallel` the rows: not "
                "both",
                hint="leave one of them out",
            )

    @property
    def num_processes(self) -> int:
        """Number of requested processes on this machine."""
        return self.gpus or self.processes or 1

    @property
    def on_cpu(self) -> bool:
        """True if the processes compute on the CPU even if there is a GPU."""
        return self.gpus == 0 or (self.gpus is None and self.processes is not None)

    @property
    def is_special(self) -> bool:
        """True if a model or a row is sharded, so that one process cannot run trials."""
        return self.shard or self.sequence_parallel > 1

    def check_teacher(self, teacher: TeacherConfig) -> None:
        """Check that no teacher reads sharded rows or has sharded projections.

        Raises:
            ConfigError: The run has a teacher and is sharded.
        """
        if teacher.model is not None and self.is_special:
            raise ConfigError(
                "a teacher reads whole rows, and its projection has whole weights: neither "
                "`parallel.shard` nor `parallel.sequence_parallel` divides them",
                hint="leave them out, or train without `--teacher`",
            )

    def check_model(self, model: ModelConfig, training: TrainingConfig, plan: str) -> None:
        """Check that a model can be sharded, if requested.

        Raises:
            ConfigError: It cannot; the hint names what can.
        """
        if not self.shard:
            return
        what = ""
        if plan not in ("full", "checkpoint"):
            what = f"`--memory {plan}`"
        elif model.residual != "plain":
            what = "reversible residuals"
        elif training.optimizer != "adamw":
            what = f"`training.optimizer={training.optimizer}`, which needs matrices whole"
        elif training.ema:
            what = "`training.ema`"
        if what:
            raise ConfigError(
                f"`parallel.shard` cannot be combined with {what}",
                hint="it takes plain residuals, `--memory full` or `checkpoint`, "
                "`training.optimizer=adamw`, `training.ema=0`",
            )

    def check_size(self, size: int) -> None:
        """Check that the number of processes fits the settings.

        Raises:
            ConfigError: It does not.
        """
        if size % self.sequence_parallel:
            raise ConfigError(
                f"{size} processes do not divide into groups of {self.sequence_parallel}",
                hint="`parallel.sequence_parallel` must divide the number of processes",
            )
        if self.shard and size == 1:
            raise ConfigError(
                "`parallel.shard` needs several processes",
                hint="start them with `--gpus 2`, or `--gpus 0 --set parallel.processes=2`",
            )
