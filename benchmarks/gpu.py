"""What one GPU makes of our training steps: a ceiling, steps beside peers, MFU, the longest rows.

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
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from attention import GATED_HIDDEN, MASKED, QUADRATIC, REVERSIBLE, our_step, peer_step
from gpu_ceiling import AS_TORCH_CHOOSES, BACKENDS, TERA, ceiling, chosen_kernel, product_speed
from gpu_longest import Search, longest
from one_device import (
    GIB,
    Cells,
    Patience,
    Row,
    is_out_of_memory,
    median_seconds,
    release,
)
from peers import PEERS, Size
from torch import nn
from training_steps import operations, training_step

from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.memory_meter import forget_peak, peak_bytes
from genomeformer_cli.core.memory_plans.plans import PLANS
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.presets import PRESETS, preset

SECTIONS = ("ceiling", "steps", "mfu", "longest")
LENGTHS = (512, 2048, 8192, 32768, 131072)
# Of an H100 SXM in bf16, dense, as NVIDIA states it.
STATED = 989e12
# Steps that a cell takes at least, warm-up included.
_STEPS = 5


# The most rows that fitted, by mechanism and heads.
Fits = dict[tuple[str, int], int]


@dataclass(frozen=True, kw_only=True)
class Utilised:
    """One row of the table of MFU."""

    config: ModelConfig  # The model.
    # `off`; `on`: the model, as `compute.compile=on`; `blocks`: each block, which are alike, so
    # that one is compiled for all.
    compile: str
    kernel: str  # Of softmax attention.


def steps(cells: Cells, options: argparse.Namespace) -> None:
    """Every mechanism and peer at every length."""
    header = ["L", "case", "parameters", "tokens/s", "ms/step", "peak GiB"]
    cells.table(f"Training steps, bf16, {options.tokens:,} tokens or one row a step", header)
    cases = [(name, True) for name in options.mechanisms]
    cases += [(REVERSIBLE, True)] * ("reformer" in options.mechanisms)
    cases += [(name, False) for name in options.peers]
    last: dict[str, Row] = {}
    for length in options.lengths:
        for name, ours in cases:
            cell = {
                "section": "steps",
                "length": length,
                "case": f"ours: {name}" if ours else name,
            }
            last[cell["case"]] = cells.run(
                cell,
                lambda name=name, ours=ours, length=length: step_speed(  # type: ignore[misc]
                    cells, options, name, Size(length=length), ours=ours
                ),
                shown_step,
                objection=objection(name, last.get(cell["case"]), cell, options),
            )


def objection(name: str, last: Row | None, cell: Row, options: argparse.Namespace) -> str:
    """Why a case is not even tried; empty if it is."""
    if name == cell["case"] and importlib.util.find_spec(PEERS[name][0]) is None:
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


def step_speed(
    cells: Cells, options: argparse.Namespace, name: str, size: Size, *, ours: bool
) -> Row:
    """Seconds and memory of a step."""
    torch.manual_seed(0)
    model, gradients = (our_step if ours else peer_step)(name, size)
    model.to(cells.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    shape = (max(options.tokens // size.length, 1), size.length)
    generator = torch.Generator().manual_seed(1)
    ids_BL = torch.randint(5, 9, shape, generator=generator).to(cells.device)
    asked_BL = (torch.rand(shape, generator=generator) < MASKED).to(cells.device)
    arithmetic = in_precision(options, model)

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
    options: argparse.Namespace, model: nn.Module
) -> Callable[[], AbstractContextManager[None]]:
    """Ours as `pretrain` has it, a peer by the same autocast."""
    if isinstance(model, Encoder):
        return lambda: computing(compute(options), model)
    kind = next(model.parameters()).device.type
    return lambda: torch.autocast(kind, torch.bfloat16, enabled=options.precision == "bf16")


def compute(options: argparse.Namespace, compile_: str = "off") -> ComputeConfig:
    """How the arithmetic runs."""
    return ComputeConfig(precision=options.precision, compile="on" if compile_ == "on" else "off")


def shown_step(row: Row) -> list[str]:
    """The columns of what was found."""
    return [
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['tokens'] / row['seconds']:,.0f}",
        f"{1000 * row['seconds']:.1f}",
        f"{row['peak'] / GIB:.2f}",
    ]


def mfu(cells: Cells, options: argparse.Namespace, best: float) -> None:
    """A preset, each mechanism, each way of compiling, softmax by each kernel."""
    config = preset(options.preset).model
    if options.context:
        config = replace(config, context=options.context)
    header = ["mechanism", "heads", "compile", "kernel", "rows", "parameters", "tokens/s"]
    header += ["model TFLOP/s", "of the product", "of 989 TFLOP/s", "peak GiB"]
    title = f"`{options.preset}`, rows of {config.context:,}, the large product {best / TERA:.0f}"
    cells.table(f"MFU: {title} TFLOP/s", header)
    fits: Fits = {}
    for trial in trials(options, config):
        cells.run(
            {
                "section": "mfu",
                "mechanism": trial.config.attention.name,
                "heads": trial.config.num_heads,
                "compile": trial.compile,
                "kernel": trial.kernel,
            },
            lambda trial=trial: utilisation(cells, options, trial, fits),  # type: ignore[misc]
            lambda row: shown_utilisation(row, best),
            seconds=options.seconds_per_cell
            + (options.compile_seconds if trial.compile != "off" else 0),
        )


def trials(options: argparse.Namespace, config: ModelConfig) -> Iterator[Utilised]:
    """The quick ones first."""
    for compile_ in options.compile:
        for name in options.mfu_mechanisms:
            softmax = name == "softmax"
            for heads in (softmax and options.heads) or [config.num_heads]:
                attention = replace(config.attention, name=name)
                for kernel in options.kernels if softmax else [AS_TORCH_CHOOSES]:
                    yield Utilised(
                        config=replace(config, num_heads=heads, attention=attention),
                        compile=compile_,
                        kernel=kernel,
                    )


def utilisation(cells: Cells, options: argparse.Namespace, trial: Utilised, fits: Fits) -> Row:
    """Of the largest batch that fits; what is compiled takes what fitted before it was.

    Raises:
        OutOfMemoryError: None does.
    """
    key = (trial.config.attention.name, trial.config.num_heads)
    batches = [one for one in options.batches if one <= fits.get(key, one)]
    for batch in batches:
        found: Row | None = None
        try:
            found = utilisation_of(cells, options, trial, batch)
        except RuntimeError as failure:
            if not is_out_of_memory(failure):
                raise
        # Compiled code holds on to its model, and would be made anew for rows of any number.
        torch.compiler.reset()
        if found is not None:
            fits[key] = batch
            return found
        release(cells.device)
    raise torch.OutOfMemoryError(f"out of memory with {batches[-1]} rows")


def utilisation_of(cells: Cells, options: argparse.Namespace, trial: Utilised, batch: int) -> Row:
    """Tokens a second of a batch of so many rows."""
    config = trial.config
    model = build_model(config)
    assert isinstance(model, Encoder)
    model.to(cells.device).train()
    if trial.compile == "blocks":
        for block in model.stack:
            block.compile()
    shape = Step(batch=batch, length=config.context, real_ids=range(5, 9))
    examples = random_examples(model, shape)
    way = compute(options, trial.compile)
    step = training_step(model, examples, compute=way)
    asked = len(examples.target_positions.index_T) / examples.targets_BL.numel()
    forget_peak(cells.device)
    with chosen_kernel(trial.kernel):
        started = time.perf_counter()
        step()
        first = time.perf_counter() - started
        seconds = median_seconds(step, cells.device, options.seconds_timed)
    return {
        "rows": batch,
        "parameters": model.num_parameters,
        "tokens": batch * config.context,
        "operations": operations(
            config.attention.name,
            config.context,
            config,
            asked=1.0 if way.compile == "on" else asked,
        ),
        "first_seconds": first,
        "seconds": seconds,
        "peak": peak_bytes(cells.device),
    }


def shown_utilisation(row: Row, best: float) -> list[str]:
    """The columns of what was found."""
    speed = row["tokens"] / row["seconds"]
    flops = speed * row["operations"]
    return [
        str(row["rows"]),
        f"{row['parameters'] / 1e6:.1f} M",
        f"{speed:,.0f}",
        f"{flops / TERA:.1f}",
        f"{flops / best:.0%}" if best else "-",
        f"{flops / STATED:.1%}",
        f"{row['peak'] / GIB:.1f}",
    ]


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none is named")
    add("--device", default="cuda")
    add("--json", type=Path, help="where to write every figure")
    add("--deadline", type=float, default=570.0, help="seconds after which no cell begins")
    add("--seconds-per-cell", type=float, default=8.0)
    add("--seconds-timed", type=float, default=0.4, help="of the steps that are timed, at least")
    add("--precision", choices=["bf16", "fp32"], default="bf16")
    add("--mechanisms", nargs="*", choices=ATTENTIONS, default=[*ATTENTIONS])
    group = parser.add_argument_group("ceiling")
    group.add_argument("--side", type=int, default=8192, help="of the large matrices")
    group.add_argument("--ceiling-tokens", type=int, default=65536)
    group.add_argument("--ceiling-length", type=int, default=8192, help="of rows, for attention")
    group = parser.add_argument_group("steps")
    group.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    group.add_argument("--tokens", type=int, default=131072, help="of a step, at least one row")
    group.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS])
    _long_arguments(parser)
    options = parser.parse_args()
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
    group.add_argument("--heads", type=int, nargs="+", help="of softmax; default the preset's")
    kernels = [AS_TORCH_CHOOSES, *BACKENDS]
    group.add_argument("--kernels", nargs="+", choices=kernels, default=[AS_TORCH_CHOOSES, "cudnn"])
    compile_ = ["off", "blocks", "on"]
    group.add_argument("--compile", nargs="+", choices=compile_, default=compile_[:2])
    group.add_argument("--compile-seconds", type=float, default=120.0, help="more for such a cell")
    group = parser.add_argument_group("longest")
    group.add_argument("--plans", nargs="+", choices=PLANS, default=[*PLANS])
    group.add_argument("--first", type=int, default=2**14)
    group.add_argument("--last", type=int, default=2**25)
    group.add_argument("--step-seconds", type=float, default=2.0, help="of the longest row's step")
    group.add_argument("--chunk", type=int, default=2**16, help="tokens of a slice")


def about(device: torch.device) -> str:
    """Where."""
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


def main() -> None:
    """Run the sections."""
    options = arguments()
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
