"""Throughput of `embed`, and two processes on one device. Parts of `gpu_report.py`.

    python benchmarks/gpu_parts.py embed --json embed.json
    python benchmarks/gpu_parts.py processes --json processes.json

`embed`: the whole command over sequences of 100 to 2,000 bases, in float32 and in bfloat16, plain
and fused, beside a bare loop over rows of equal length. `processes`: steps of the preset by one
process and by two on the same device, each with half of the rows, gradients summed over NCCL and
over gloo; NCCL refuses two processes on one GPU in most versions, which is then the result.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embed import LONGEST, SHORTEST, draw
from gpu import about
from one_device import Cells, Patience, Row, median_seconds
from torch.multiprocessing.spawn import start_processes

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.model_io.model_folder import write_model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.settings import KERNELS_VARIABLE, ProcessRank
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.training.distributed import ProcessGroup, join_process_group
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.presets import PRESETS, preset
from genomeformer_cli.core.workflows.embed import embed_sequences
from genomeformer_cli.core.workflows.embed_request import EmbedRequest


def embed(cells: Cells, options: argparse.Namespace) -> None:
    """Print sequences and bases per second of `embed` for each mechanism, precision and kernel."""
    header = ["attention", "precision", "kernels", "sequences/s", "Mbases/s"]
    cells.table(f"embed, {options.sequences:,} sequences of {SHORTEST} to {LONGEST} bases", header)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lengths = np.random.default_rng(1).integers(SHORTEST, LONGEST + 1, options.sequences)
        draw(lengths, folder / "some.fa")
        for name in options.mechanisms:
            save(folder / name, name, options)
            for precision in ("fp32", "bf16"):
                for kernels in ("plain", "auto"):
                    cells.run(
                        {
                            "section": "embed",
                            "attention": name,
                            "precision": precision,
                            "kernels": kernels,
                        },
                        lambda name=name, precision=precision, kernels=kernels: embed_speed(  # type: ignore[misc]
                            cells, folder, name, (precision, kernels), lengths
                        ),
                        lambda row: [
                            f"{row['sequences'] / row['seconds']:,.0f}",
                            f"{row['bases'] / row['seconds'] / 1e6:.2f}",
                        ],
                    )


def save(folder: Path, name: str, options: argparse.Namespace) -> None:
    """Write a model of the sizes of the preset, with random weights."""
    config = preset(options.preset).model
    config = replace(config, context=LONGEST, attention=AttentionConfig(name=name))
    folder.mkdir()
    write_model(build_model(config), CharTokenizer(), folder)
    seal(folder)


def embed_speed(
    cells: Cells, folder: Path, name: str, way: tuple[Any, str], lengths: np.ndarray
) -> Row:
    """Seconds of the command; the first run compiles, the second is timed."""
    precision, os.environ[KERNELS_VARIABLE] = way
    request = EmbedRequest(
        sources=SequenceSources(files=(str(folder / "some.fa"),)),
        model=str(folder / name),
        choices=EmbedOptions(window=LONGEST),
        output=folder / "some.npy",
        device=str(cells.device),
        precision=precision,
    )
    seconds = 0.0
    for _ in range(2):
        (folder / "some.npy").unlink(missing_ok=True)
        started = time.perf_counter()
        embed_sequences(request, reporter=SilentReporter())
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "sequences": len(lengths), "bases": int(lengths.sum())}


def processes(cells: Cells, options: argparse.Namespace) -> None:
    """Print tokens per second of one process, and of two on the same device."""
    cells.table(f"Two processes on one device, `{options.preset}`", ["processes", "tokens/s"])
    ways = [("1", "")] + [("2", backend) for backend in ("nccl", "gloo")]
    for size, backend in ways:
        if backend == "nccl" and cells.device.type != "cuda":
            continue
        cells.run(
            {"section": "processes", "processes": f"{size} {backend}".strip()},
            lambda size=size, backend=backend: speed_of_processes(  # type: ignore[misc]
                cells, options, int(size), backend
            ),
            lambda row: [f"{row['tokens'] / row['seconds']:,.0f}"],
        )


def speed_of_processes(cells: Cells, options: argparse.Namespace, size: int, backend: str) -> Row:
    """Seconds of a step by that many processes."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "seconds"
        arguments = (size, backend, options, result)
        start: Any = start_processes
        start(work, arguments, nprocs=size, start_method="spawn")
        seconds = float(result.read_text(encoding="utf-8"))
    return {"seconds": seconds, "tokens": options.rows * options.context}


def work(rank: int, size: int, backend: str, options: argparse.Namespace, result: Path) -> None:
    """Take steps as one of several processes; the first writes the seconds of one."""
    device = torch.device(options.device)
    member = None
    if size > 1:
        member = ProcessRank(
            rank=rank,
            size=size,
            local_rank=rank,
            local_size=size,
            address="127.0.0.1",
            port=options.port + (backend == "gloo"),
        )
    # gloo moves tensors of any device.
    with join_process_group(
        member, device if backend == "nccl" else torch.device("cpu")
    ) as processes_of_run:
        seconds = step_seconds(processes_of_run, device, options)
    if rank == 0:
        result.write_text(str(seconds), encoding="utf-8")


def step_seconds(group: ProcessGroup, device: torch.device, options: argparse.Namespace) -> float:
    """Seconds of forward, backward and sum of gradients; the number of steps is fixed."""
    config = replace(preset(options.preset).model, context=options.context)
    model = build_model(config).to(device).train()
    rows = options.rows // group.size
    examples = random_examples(
        model, Step(batch=rows, length=options.context, real_ids=range(5, 9))
    )
    bf16 = device.type == "cuda"
    compute = ComputeConfig(precision="bf16" if bf16 else "fp32", compile="off")

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with computing(compute, model):
            part = accumulate_gradients(model, examples, MemoryConfig(plan="full"))
        group.all_reduce(model, part)

    # As many steps in all processes, whatever time they take.
    return median_seconds(step, device, 0.0)


def main(given: Sequence[str] | None = None) -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("part", choices=["embed", "processes"])
    add("--device", default="cuda")
    add("--json", type=Path, help="file for every figure")
    add("--deadline", type=float, default=80.0, help="seconds after which no cell begins")
    add("--preset", choices=PRESETS, default="base")
    add("--mechanisms", nargs="+", default=["softmax", "local", "gated-delta"])
    add("--sequences", type=int, default=20_000)
    add("--context", type=int, default=8192)
    add("--rows", type=int, default=8, help="rows of a step, over all processes")
    add("--port", type=int, default=29_511)
    options = parser.parse_args(given)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "nothing measured: there is no GPU here\n")
    patience = Patience(cell=45.0, timed=0.5, until=time.monotonic() + options.deadline)
    cells = Cells(device, patience, options.json, {"about": about(device)})
    {"embed": embed, "processes": processes}[options.part](cells, options)


if __name__ == "__main__":
    main(sys.argv[1:])
