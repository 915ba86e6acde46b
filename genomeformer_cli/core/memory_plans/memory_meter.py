"""Measure peak memory and time of a call.

On a GPU the allocator counts. On a CPU every tensor is tracked from allocation to release; scratch
memory of kernels and memory held by the heap are not included, unlike in the peak of the process.
"""

from __future__ import annotations

import resource
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Cost of a call."""

    num_bytes: int  # Peak bytes of live tensors, without those that existed before the call.
    seconds: float  # Wall time.


def measure(function: Callable[[], _Result], device: torch.device) -> tuple[_Result, Usage]:
    """Call a function and measure its cost."""
    if device.type == "cuda":
        return _measure_on_gpu(function, device)
    started = time.perf_counter()
    with _LiveTensors() as live:
        result = function()
    seconds = time.perf_counter() - started
    return result, Usage(num_bytes=live.peak, seconds=seconds)


def _measure_on_gpu(function: Callable[[], _Result], device: torch.device) -> tuple[_Result, Usage]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    started = time.perf_counter()
    result = function()
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    return result, Usage(
        num_bytes=torch.cuda.max_memory_allocated(device) - before, seconds=seconds
    )


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the storages that operations create until they are released."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._storages:
            return
        size = storage.nbytes()

        def forget(_: weakref.ref[torch.UntypedStorage]) -> None:
            self.live -= size
            self._storages.pop(key, None)

        self._storages[key] = weakref.ref(storage, forget)
        self.live += size
        self.peak = max(self.peak, self.live)


def bytes_in_use(device: torch.device) -> int:
    """Return the memory held by the allocator of the GPU or by this process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()
    return 0


def forget_peak(device: torch.device) -> None:
    """Reset the peak of memory, where the system supports it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(device: torch.device) -> int:
    """Return the peak of memory since `forget_peak`, or since the process started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available_bytes(device: torch.device) -> int:
    """Return the memory still available on the GPU, or to this process on the CPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    limits: list[int] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        limits.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup")
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        limits.append(limit - int((folder / "memory.current").read_text(encoding="ascii")))
    return min(limits, default=4 * 2**30)
