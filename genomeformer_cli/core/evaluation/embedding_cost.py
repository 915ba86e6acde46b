"""Cost of embedding the sequences of a task: time of the processor, wall time, peak memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from genomeformer_cli.core.memory_plans.memory_meter import forget_peak, peak_bytes


@dataclass(frozen=True, kw_only=True)
class EmbeddingCost:
    """Cost of a computation of vectors."""

    cpu_seconds: float  # Time of all threads of this process.
    seconds: float  # Wall time.
    peak_bytes: int  # Peak memory of the process; on a GPU, of the allocator.


@dataclass(kw_only=True)
class CostMeter:
    """Meter of the model's own vectors; those of random twins are not measured."""

    device: torch.device  # Device of the model.
    cost: EmbeddingCost | None = field(default=None, init=False)  # Cost of the last measurement.

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the computation in the body of a `with` statement."""
        forget_peak(self.device)
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.cost = EmbeddingCost(
            cpu_seconds=time.process_time() - cpu,
            seconds=time.perf_counter() - wall,
            peak_bytes=peak_bytes(self.device),
        )
