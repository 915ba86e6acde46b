"""Model FLOP utilisation of a preset on one GPU. Part of `gpu.py`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from gpu_ceiling import TERA, chosen_kernel
from one_device import (
    GIB,
    Cells,
    Row,
    is_out_of_memory,
    median_seconds,
    release,
)
from training_steps import operations, training_step

from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.memory_meter import forget_peak, peak_bytes
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.precision import ComputeConfig
from genomeformer_cli.core.training.presets import preset

# Of an H100 SXM in bf16, dense, as NVIDIA states it.
STATED = 989e12

# The most rows that fitted, by mechanism and heads.
Fits = dict[tuple[str, int], int]


@dataclass(frozen=True, kw_only=True)
class Utilised:
    """One row of the table of MFU."""

    config: ModelConfig  # The model.
    # `off`; `on`: the model, as `compute.compile=on`; `blocks`: each block, which are alike, so
    # that one is compiled for all.
    compile: str
    kernel: str  # Backend of softmax attention, or our kernels: `plain`, `fused`.


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
                fused = ATTENTIONS[name].fused is not None
                ours = options.kernels if fused else ["plain"]
                for kernel in options.sdpa if softmax else ours:
                    yield Utilised(
                        config=replace(config, num_heads=heads, attention=attention),
                        compile=compile_,
                        kernel=kernel,
                    )


def utilisation(cells: Cells, options: argparse.Namespace, trial: Utilised, fits: Fits) -> Row:
    """Measure the largest batch that fits; compiled models take the batch that fitted uncompiled.

    Raises:
        OutOfMemoryError: No batch fits.
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
    way = ComputeConfig(
        precision=options.precision,
        compile="on" if trial.compile == "on" else "off",
        kernels="fused" if trial.kernel == "fused" else "plain",
    )
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
