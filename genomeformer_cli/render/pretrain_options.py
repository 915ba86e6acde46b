"""The options of `genomeformer pretrain`, in panels, and what they override."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from genomeformer_cli.core.configuration import unflatten
from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest

_MODEL, _TRAINING, _MEMORY, _WATCHING = "Model", "Training", "Memory", "Watching"
_COMPUTE, _SCALE = "Compute", "Several processes"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}

AttentionOption = Annotated[
    str | None,
    Option(
        help="Mechanism, such as `softmax` or `performer`; several, joined by `+`, take turns "
        "from block to block; an unknown name lists all.",
        rich_help_panel=_MODEL,
    ),
]
SeqLenOption = Annotated[
    str | None,
    Option(
        help="Tokens in a training window; unless `--batch-size` is given too, a step keeps its "
        "number of tokens. `256:4096` begins with windows of 256 and doubles them.",
        rich_help_panel=_MODEL,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    Option(
        help="`masked`: find hidden bases from both sides; `causal`: each base from those before "
        "it; `surrounding`: each from all others, by two stacks that meet there.",
        rich_help_panel=_MODEL,
    ),
]
FromOption = Annotated[
    str | None,
    Option(
        "--from",
        help="Start from the weights of this run, bundle or released model, and its architecture.",
        rich_help_panel=_MODEL,
        metavar="MODEL",
    ),
]
PatchOption = Annotated[
    int | None,
    Option(
        help="Tokens that a position of the model stands for: 4 makes it some three times as fast; "
        "every base is predicted all the same.",
        rich_help_panel=_MODEL,
    ),
]
StepsOption = Annotated[int | None, Option(help="Optimizer steps.", rich_help_panel=_TRAINING)]
BatchSizeOption = Annotated[
    int | None,
    Option(
        help="Windows computed together: a step, unless `--tokens-per-step` holds more.",
        rich_help_panel=_TRAINING,
    ),
]
TokensPerStepOption = Annotated[
    int | None,
    Option(
        help="Tokens of a step; gradients are accumulated over batches of `--batch-size`.",
        rich_help_panel=_TRAINING,
    ),
]
PackOption = Annotated[
    bool | None,
    Option(
        "--pack/--no-pack",
        help="Whether contigs shorter than a window share rows; default: where there are any.",
        rich_help_panel=_TRAINING,
    ),
]
OptimizerOption = Annotated[
    str | None,
    Option(
        help="`adamw`, or `muon`: the blocks' matrices by Muon, the rest by AdamW.",
        rich_help_panel=_TRAINING,
    ),
]
EmaOption = Annotated[
    float | None,
    Option(
        help="Keep a moving average of the weights, such as 0.999; it is validated and saved too.",
        rich_help_panel=_TRAINING,
    ),
]
SpikeFactorOption = Annotated[
    float | None,
    Option(
        help="Leave out steps whose gradient norm is so many times the median of the latest 64.",
        rich_help_panel=_TRAINING,
    ),
]
RedrawEveryOption = Annotated[
    int | None,
    Option(
        help="Steps between fresh draws of random features (`performer`).",
        rich_help_panel=_TRAINING,
    ),
]
MaskSpanOption = Annotated[
    int | None,
    Option(help="Consecutive tokens hidden together.", rich_help_panel=_TRAINING),
]
BothStrandsOption = Annotated[
    bool | None,
    Option(
        "--both-strands",
        help="Validate with the mean of what the model says of either strand.",
        rich_help_panel=_TRAINING,
    ),
]
LearningRateOption = Annotated[
    float | None, Option(help="Peak learning rate.", rich_help_panel=_TRAINING)
]
ScheduleOption = Annotated[str | None, Option(help="`wsd` or `cosine`.", rich_help_panel=_TRAINING)]
MaskRateOption = Annotated[
    float | None, Option(help="Part of the bases to predict.", rich_help_panel=_TRAINING)
]
SoftMaskWeightOption = Annotated[
    float | None,
    Option(help="Weight of the loss at lower-case bases.", rich_help_panel=_TRAINING),
]
CheckpointEveryOption = Annotated[
    int | None, Option(help="Steps between checkpoints.", rich_help_panel=_TRAINING)
]
ValidateEveryOption = Annotated[
    int | None, Option(help="Steps between validations.", rich_help_panel=_TRAINING)
]
SeedOption = Annotated[
    int | None,
    Option(help="Of weights, data order, masks and strands.", rich_help_panel=_TRAINING),
]
MemoryOption = Annotated[
    str | None,
    Option(
        help="How gradients are computed, all exact: `full`, `checkpoint`, `two-sweep`, `slim`; "
        "`reversible` and `two-stack` are models of their own; `auto` takes the fastest that fits.",
        rich_help_panel=_MEMORY,
    ),
]
MemoryBudgetOption = Annotated[
    str | None,
    Option(
        help="What a step may take beside Python and torch, as `20GiB`: `auto` chooses by it, a "
        "plan that does not fit is refused, `slim` keeps as many slices as fit. Default: most of "
        "what is free, for `auto`.",
        rich_help_panel=_MEMORY,
    ),
]
ChunkOption = Annotated[
    int | None,
    Option(
        "--chunk",
        help="Tokens of a slice, for the plans that go slice by slice.",
        rich_help_panel=_MEMORY,
    ),
]
PrecisionOption = Annotated[
    str | None,
    Option(
        help="`fp32`, `bf16` (autocast), or `auto`: the faster, tried once a machine and "
        "configuration.",
        rich_help_panel=_COMPUTE,
    ),
]
CompileOption = Annotated[
    str | None,
    Option(
        "--compile",
        help="`on`, `off`, or `auto`: `torch.compile` in runs of half an hour and more, if it is "
        "faster, tried once.",
        rich_help_panel=_COMPUTE,
    ),
]
GpusOption = Annotated[
    int | None,
    Option(
        help="GPUs of this machine, one process each; 0: the CPU, with `--processes`.",
        rich_help_panel=_SCALE,
    ),
]
ProcessesOption = Annotated[
    int | None,
    Option(help="Processes on the CPU of this machine (gloo).", rich_help_panel=_SCALE),
]
ShardOption = Annotated[
    bool,
    Option(
        "--shard",
        help="Divide weights and optimizer among the processes (FSDP2), for models beyond one "
        "device.",
        rich_help_panel=_SCALE,
    ),
]
SequenceParallelOption = Annotated[
    int,
    Option(
        help="Processes that share every row, each a stretch of it; for mechanisms that pass a "
        "state, sum the row or see only their neighbours.",
        rich_help_panel=_SCALE,
    ),
]
RestartsOption = Annotated[
    int,
    Option(
        help="How often all processes are started again, from the newest checkpoint, when one "
        "ends.",
        rich_help_panel=_SCALE,
    ),
]
TensorboardOption = Annotated[
    bool,
    Option(
        "--tensorboard",
        help="Write `tensorboard/` in the run folder (extra `tensorboard`).",
        rich_help_panel=_WATCHING,
    ),
]
WandbOption = Annotated[
    str | None,
    Option(
        help="Show the run in this project of Weights & Biases too (extra `wandb`); "
        "`WANDB_MODE=offline` keeps it here.",
        rich_help_panel=_WATCHING,
        metavar="PROJECT",
    ),
]
WatchOption = Annotated[
    list[str] | None,
    Option(
        help="Show how far these runs are, beside each other, and stop; may be given several "
        "times.",
        rich_help_panel=_WATCHING,
        metavar="RUN",
    ),
]
DryRunOption = Annotated[
    bool,
    Option(
        "--dry-run",
        help="Say what each memory plan would take, and stop.",
        rich_help_panel=_MEMORY,
    ),
]


def direction(objective: str | None) -> str | None:
    """The direction of the model that an objective needs.

    Raises:
        UsageError: There is no such objective.
    """
    directions = {
        None: None,
        "masked": "bidirectional",
        "causal": "causal",
        "surrounding": "two-stack",
    }
    if objective not in directions:
        raise UsageError(
            f"unknown objective `{objective}`", hint="known: `masked`, `causal`, `surrounding`"
        )
    return directions[objective]


def bytes_of(text: str | None) -> int | None:
    """A number of bytes from `20GiB`, `8G`, `500 MB`.

    Raises:
        UsageError: It is no size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"`{text}` is no size of memory", hint="such as `20GiB` or `8G`")
    number, unit, binary = match.groups()
    power = "kmgt".find(unit.lower()) + 1 if unit else 0
    return int(float(number) * (1024**power if binary else _UNITS[unit.lower()]))


def window_lengths(text: str | None) -> tuple[int | None, int | None]:
    """The first and the last length of a window from `4096` or `256:4096`.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    if match is None:
        raise UsageError(
            f"`{text}` is no length of a window", hint="such as `4096`, or `256:4096` to grow"
        )
    first, last = match.groups()
    return int(first) if first else None, int(last)


# Where each option stands in a configuration, if it is given.
PLACES = {
    "attention": "model.attention.name",
    "patch": "model.patch",
    "steps": "training.steps",
    "batch_size": "training.batch_size",
    "tokens_per_step": "training.tokens_per_step",
    "learning_rate": "training.learning_rate",
    "schedule": "training.schedule",
    "optimizer": "training.optimizer",
    "ema": "training.ema",
    "spike_factor": "training.spike_factor",
    "redraw_every": "training.redraw_every",
    "checkpoint_every": "training.checkpoint_every",
    "validate_every": "training.validate_every",
    "both_strands": "training.both_strands",
    "seed": "training.seed",
    "mask_rate": "masking.rate",
    "mask_span": "masking.span",
    "soft_mask_weight": "masking.soft_mask_weight",
    "memory": "memory.plan",
    "chunk": "memory.chunk",
    "precision": "compute.precision",
    "compiled": "compute.compile",
}


def overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the given options replace in a configuration, nested as in its TOML.

    Raises:
        UsageError: One of them cannot be.
    """
    values = {place: options[name] for name, place in PLACES.items()}
    values["training.start_length"], values["model.context"] = window_lengths(options["seq_len"])
    values["model.direction"] = direction(options["objective"])
    values["training.pack"] = {None: None, True: "on", False: "off"}[options["pack"]]
    return unflatten({place: value for place, value in values.items() if value is not None})


def pretrain_request(options: Mapping[str, Any]) -> PretrainRequest:
    """The request that the options of the command make.

    Raises:
        UsageError: One of them cannot be, or is missing.
    """
    from genomeformer_cli.core.training.parallel_config import ParallelConfig
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest

    corpus, name = options["corpus"], options["name"]
    if corpus is None or (name is None and not options["dry_run"]):
        raise UsageError(
            "`--corpus` and `--name` are needed",
            hint="genomeformer pretrain --corpus demo --name demo-performer --attention performer",
        )
    config: Path | None = options["config"]
    return PretrainRequest(
        corpus=corpus,
        name=name or "dry-run",
        preset=options["preset"],
        config_file=config,
        overrides=overrides(options),
        device=options["device"],
        threads=options["threads"],
        memory_budget=bytes_of(options["memory_budget"]),
        tensorboard=options["tensorboard"],
        origin=options["origin"],
        scale=ParallelConfig(
            gpus=options["gpus"],
            processes=options["processes"],
            restarts=options["restarts"],
            shard=options["shard"],
            sequence_parallel=options["sequence_parallel"],
        ),
        wandb=options["wandb"],
    )
