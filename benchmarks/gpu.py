"""Training steps on one GPU: a ceiling, steps beside peers, MFU, the longest rows.

`gpu_report.py` runs these and more within twelve minutes. By hand:

    python benchmarks/gpu.py --json gpu.json                        # all four, about six minutes
    python benchmarks/gpu.py steps --lengths 8192 --mechanisms performer --peers performer-pytorch
    python benchmarks/gpu.py mfu --compile off blocks on --mfu-mechanisms softmax

`ceiling`: matrix products, copies, fused attention by themselves. `steps`: forward, backward and
AdamW of every mechanism and of its peers, as in `attention.py` (4 layers, width 256, equal
parameters), bf16. `mfu`: a preset at its own context, with the model FLOP of its formula (six
operations a weight and token, twelve a score and feature) as a share of the large product of
`ceiling` and of what the maker states. `longest`: the longest row of every mechanism and memory
plan.

bf16 is autocast; products of float32 that remain run in TF32, peers' too. Memory is the most that
torch's allocator gave out at once, weights and optimizer included. A cell that is out of memory or
of time says so in its row. Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True for `longest`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from attention import GATED_HIDDEN, MASKED, QUADRATIC, REVERSIBLE, our_step, peer_step
from gpu_ceiling import AS_TORCH_CHOOSES, BACKENDS, ceiling, product_speed
from gpu_longest import Search, longest
from gpu_mfu import mfu
from one_device import GIB, Cells, Patience, Row, median_seconds
from peers import PEERS, Size, is_installed
from torch import nn

from genomeformer_cli.core.attention.kernels.fused import KernelChoice
from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.memory_plans.memory_meter import forget_peak, peak_bytes
from genomeformer_cli.core.memory_plans.plans import PLANS
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.presets import PRESETS

SECTIONS = ("ceiling", "steps", "mfu", "longest")
LENGTHS = (512, 2048, 8192, 32768, 131072)
# Steps that a cell takes at least, warm-up included.
_STEPS = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table of steps."""

    name: str  # Mechanism, or peer.
    direction: str = ""  # Direction of ours.
    kernels: KernelChoice | None = None  # Kernels of ours; None: a peer.

    @property
    def title(self) -> str:
        """Name in the table."""
        if self.kernels is None:
            return self.name
        causal = ", causal" if self.direction == "causal" else ""
        return f"ours: {self.name}{causal}" + (", fused" if self.kernels == "fused" else "")


def steps(cells: Cells, options: argparse.Namespace) -> None:
    """Every mechanism and peer at every length."""
    header = ["L", "case", "parameters", "tokens/s", "ms/step", "peak GiB"]
    cells.table(f"Training steps, bf16, {options.tokens:,} tokens or one row a step", header)
    last: dict[str, Row] = {}
    for length in options.lengths:
        for case in cases(options):
            cell = {"section": "steps", "length": length, "case": case.title}
            last[case.title] = cells.run(
                cell,
                lambda case=case, length=length: step_speed(  # type: ignore[misc]
                    cells, options, case, Size(length=length)
                ),
                shown_step,
                objection=objection(case.name, last.get(case.title), cell, options),
            )


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Every mechanism in the directions and kernels that it has, then the peers."""
    for name in options.mechanisms:
        entry = ATTENTIONS[name]
        for direction in options.directions:
            if direction not in entry.directions:
                continue
            for kernels in options.kernels:
                # Rows of one document leave softmax to torch in either case.
                can = entry.fused is not None and direction in entry.fused_directions
                if kernels == "plain" or (can and name != "softmax"):
                    yield Case(name=name, direction=direction, kernels=kernels)
    if "reformer" in options.mechanisms:
        yield Case(name=REVERSIBLE, direction="bidirectional", kernels="plain")
    for name in options.peers:
        yield Case(name=name)


def objection(name: str, last: Row | None, cell: Row, options: argparse.Namespace) -> str:
    """Why a case is not even tried; empty if it is."""
    if name == cell["case"] and not is_installed(name):
        return "not installed"
    if last is None or str(last.get("skipped", "")).startswith("not run"):
        return ""
    if "skipped" in last:
        return f"at {last['length']:,} already: {last['skipped'].split(': ')[-1]}"
    tokens = max(options.tokens, cell["length"])
    seconds = last["seconds"] * tokens / last["tokens"]
    if name in QUADRATIC:
        seconds *= cell["length"] / last["length"]
    if seconds * _STEPS > options.seconds_per_cell:
        return f"left out: about {seconds:.1f} s a step"
    return ""


def step_speed(cells: Cells, options: argparse.Namespace, case: Case, size: Size) -> Row:
    """Seconds and memory of a step."""
    torch.manual_seed(0)
    if case.kernels:
        model, gradients = our_step(case.name, size, causal=case.direction == "causal")
    else:
        model, gradients = peer_step(case.name, size)
    model.to(cells.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    shape = (max(options.tokens // size.length, 1), size.length)
    generator = torch.Generator().manual_seed(1)
    ids_BL = torch.randint(5, 9, shape, generator=generator).to(cells.device)
    asked_BL = (torch.rand(shape, generator=generator) < MASKED).to(cells.device)
    arithmetic = in_precision(options, model, case.kernels or "plain")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with arithmetic():
            gradients(ids_BL, asked_BL)
        optimizer.step()

    forget_peak(cells.device)
    seconds = median_seconds(step, cells.device, options.seconds_timed)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": shape[0] * shape[1],
        "seconds": seconds,
        "peak": peak_bytes(cells.device),
    }


def in_precision(
    options: argparse.Namespace, model: nn.Module, kernels: KernelChoice
) -> Callable[[], AbstractContextManager[None]]:
    """Ours as `pretrain` has it, a peer by the same autocast."""
    if isinstance(model, Encoder):
        return lambda: computing(compute(options, kernels), model)
    kind = next(model.parameters()).device.type
    return lambda: torch.autocast(kind, torch.bfloat16, enabled=options.precision == "bf16")


def compute(options: argparse.Namespace, kernels: KernelChoice = "auto") -> ComputeConfig:
    """Return the precision and the kernels of our steps."""
    return ComputeConfig(precision=options.precision, compile="off", kernels=kernels)


def shown_step(row: Row) -> list[str]:
    """Return the cells of a measured step."""
    return [
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['tokens'] / row['seconds']:,.0f}",
        f"{1000 * row['seconds']:.1f}",
        f"{row['peak'] / GIB:.2f}",
    ]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("sections", nargs="*", help=f"sections: {', '.join(SECTIONS)}; default: all")
    add("--device", default="cuda")
    add("--json", type=Path, help="file for every figure")
    add("--deadline", type=float, default=570.0, help="seconds after which no cell begins")
    add("--seconds-per-cell", type=float, default=8.0)
    add("--seconds-timed", type=float, default=0.4, help="least seconds of the timed steps")
    add("--precision", choices=["bf16", "fp32"], default="bf16")
    add("--mechanisms", nargs="*", choices=ATTENTIONS, default=[*ATTENTIONS])
    add("--kernels", nargs="+", choices=["plain", "fused"], default=["plain", "fused"])
    group = parser.add_argument_group("ceiling")
    group.add_argument("--side", type=int, default=8192, help="rows of the large matrices")
    group.add_argument("--ceiling-tokens", type=int, default=65536)
    group.add_argument(
        "--ceiling-length", type=int, default=8192, help="positions of a row, for attention"
    )
    group = parser.add_argument_group("steps")
    group.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    group.add_argument(
        "--tokens", type=int, default=131072, help="tokens of a step, at least one row"
    )
    group.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS])
    both = ["bidirectional", "causal"]
    group.add_argument("--directions", nargs="+", choices=both, default=both)
    _long_arguments(parser)
    options = parser.parse_args(given)
    options.sections = options.sections or [*SECTIONS]
    if unknown := {*options.sections} - {*SECTIONS}:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return options


def _long_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("mfu")
    group.add_argument("--preset", choices=PRESETS, default="base")
    group.add_argument("--context", type=int, help="instead of the preset's")
    group.add_argument("--batches", type=int, nargs="+", default=[8, 4, 2, 1], help="rows to try")
    mechanisms = ["softmax", "linear", "local", "performer"]
    group.add_argument("--mfu-mechanisms", nargs="+", choices=mechanisms, default=mechanisms[:3])
    group.add_argument(
        "--heads", type=int, nargs="+", help="heads of softmax; default: those of the preset"
    )
    sdpa = [AS_TORCH_CHOOSES, *BACKENDS]
    group.add_argument("--sdpa", nargs="+", choices=sdpa, default=[AS_TORCH_CHOOSES, "cudnn"])
    compile_ = ["off", "blocks", "on"]
    group.add_argument("--compile", nargs="+", choices=compile_, default=compile_[:2])
    group.add_argument("--compile-seconds", type=float, default=120.0, help="more for such a cell")
    group = parser.add_argument_group("longest")
    group.add_argument("--plans", nargs="+", choices=PLANS, default=[*PLANS])
    group.add_argument("--first", type=int, default=2**14)
    group.add_argument("--last", type=int, default=2**25)
    group.add_argument(
        "--step-seconds", type=float, default=2.0, help="seconds of the step of the longest row"
    )
    group.add_argument("--chunk", type=int, default=2**16, help="tokens of a slice")


def about(device: torch.device) -> str:
    """Return the version of torch, the device and its memory."""
    name = device.type
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name = f"{properties.name}, {properties.total_memory / GIB:.1f} GiB"
    return f"torch {torch.__version__}, {name}"


def warm_up(device: torch.device) -> None:
    """Import what a first step imports: an alarm in the middle of that breaks every later cell."""
    importlib.import_module("torch._inductor.compile_fx")
    weight = nn.Parameter(torch.ones(8, 8, device=device))
    torch.autograd.backward([(weight @ weight).sum()])
    torch.optim.AdamW([weight], fused=True).step()


def main(given: Sequence[str] | None = None) -> None:
    """Run the sections."""
    options = arguments(given)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("nothing measured: there is no GPU here", file=sys.stderr)
        return
    torch.set_float32_matmul_precision("high")
    patience = Patience(
        cell=options.seconds_per_cell,
        timed=options.seconds_timed,
        until=time.monotonic() + options.deadline,
    )
    plain = {name: value for name, value in vars(options).items() if name != "json"}
    cells = Cells(device, patience, options.json, {"about": about(device), "options": plain})
    print(about(device), flush=True)
    warm_up(device)
    best = 0.0
    side = options.side
    if "ceiling" in options.sections:
        tokens, length = options.ceiling_tokens, options.ceiling_length
        best = ceiling(cells, side=side, tokens=tokens, length=length)
    if "steps" in options.sections:
        steps(cells, options)
    if "mfu" in options.sections:
        mfu(cells, options, best or product_speed(cells, (side, side, side), "bf16"))
    if "longest" in options.sections:
        search = Search(
            first=options.first,
            last=options.last,
            step_seconds=options.step_seconds,
            sizes=ModelConfig(width=256, depth=4, num_heads=4, mlp_width=GATED_HIDDEN),
            chunk=options.chunk,
            compute=compute(options),
        )
        longest(cells, search, options.mechanisms, options.plans)


if __name__ == "__main__":
    main()
