"""Cases of a benchmark, each in a fresh process on one core, watched for time and memory.

A script calls `run_case` with what a case is; the child, started with `--case`, calls
`measured_step` and prints one line of JSON.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 2**20

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a case is ended."""

    seconds: float  # Wall time of its process, start included.
    gigabytes: float  # GiB resident.
    threads: int = 1  # Cores that it is pinned to, and threads.


def run_case(script: str, case: Row, limits: Limits) -> Row:
    """Return the printed row of a case, with its fields; `skipped` has the reason of a failure."""
    command = [sys.executable, "-W", "ignore", script, "--case", json.dumps(case)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(limits.threads),
        "MKL_NUM_THREADS": str(limits.threads),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }
    cores = sorted(os.sched_getaffinity(0))[-limits.threads :]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        child = subprocess.Popen(command, stdout=said, stderr=complained, env=environment)
        os.sched_setaffinity(child.pid, cores)
        ended = None
        while child.poll() is None and ended is None:
            time.sleep(0.05)
            if _resident(child.pid) > limits.gigabytes * 2**30:
                ended = f"more than {limits.gigabytes:g} GiB"
            elif time.monotonic() - started > limits.seconds:
                ended = f"more than {limits.seconds:.0f} s"
            if ended is not None:
                child.kill()
        child.wait()
        said.seek(0)
        complained.seek(0)
        lines = said.read().splitlines()
        complaints = complained.read().strip().splitlines()
    if ended is None and child.returncode == 0 and lines:
        found: Row = json.loads(lines[-1])
        return {**case, **found}
    last = complaints[-1] if complaints else f"exit {child.returncode}"
    return {**case, "skipped": ended or last[:200]}


def _resident(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def touch(gigabytes: float) -> None:
    """Use so many GiB, and give them back.

    A virtual machine that has not used its memory for a while asks its host for it page by page, at
    ten times the cost of a page fault: what is timed next should not pay for that.
    """
    pieces = [bytearray(2**26) for _ in range(int(gigabytes * 16))]
    for piece in pieces:
        piece[:: mmap.PAGESIZE] = bytes(len(range(0, len(piece), mmap.PAGESIZE)))


def measured_step(step: Callable[[], object], *, repeats: int = 1, budget: float = math.inf) -> Row:
    """CPU and wall seconds of a step (the fastest), and what the process held at its peak.

    Args:
        step: A training step; the first call is the one that makes what later ones find.
        repeats: Steps at most; the first one is not timed if there are others.
        budget: No further step begins when so many CPU seconds are spent.

    Returns:
        `cpu_s`, `wall_s`, `steps`, `before_mib` resident before the first step, `peak_mib` the
        most resident, `grown_mib` the difference.
    """
    import torch

    from genomeformer_cli.core.memory_plans.memory_meter import (
        bytes_in_use,
        forget_peak,
        peak_bytes,
    )

    device = torch.device("cpu")
    warm = torch.nn.Linear(64, 64)
    torch.autograd.backward(torch.nn.functional.silu(warm(torch.randn(256, 64))).sum())
    forget_peak(device)
    before = bytes_in_use(device)
    seconds: list[tuple[float, float]] = []
    while len(seconds) < max(repeats, 1):
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        seconds.append((time.process_time() - cpu, time.perf_counter() - wall))
        if sum(spent for spent, _ in seconds) > budget:
            break
    timed = seconds[1:] or seconds
    peak = peak_bytes(device)
    return {
        "cpu_s": min(cpu for cpu, _ in timed),
        "wall_s": min(wall for _, wall in timed),
        "steps": len(seconds),
        "before_mib": before / MIB,
        "peak_mib": peak / MIB,
        "grown_mib": (peak - before) / MIB,
    }


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def conditions() -> str:
    """Return one line about the machine and its load, printed beside every figure."""
    import torch

    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"torch {torch.__version__}, {model}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end"
    )
