"""The options of `genomeformer pretrain`, in three panels, and what they override."""

from __future__ import annotations

import re
from typing import Annotated, Any

from typer import Option

from genomeformer_cli.core.errors import UsageError

_MODEL, _TRAINING, _MEMORY = "Model", "Training", "Memory"
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
    int | None,
    Option(
        help="Bases in a training window; unless `--batch-size` is given too, a step keeps its "
        "number of bases.",
        rich_help_panel=_MODEL,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    Option(
        help="`masked`: find hidden bases from both sides; `causal`: each base from those before "
        "it.",
        rich_help_panel=_MODEL,
    ),
]
StepsOption = Annotated[int | None, Option(help="Optimizer steps.", rich_help_panel=_TRAINING)]
BatchSizeOption = Annotated[int | None, Option(help="Windows a step.", rich_help_panel=_TRAINING)]
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
        help="What a step may take with `--memory auto`, as `20GiB`; default: most of what is "
        "free.",
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
    directions = {None: None, "masked": "bidirectional", "causal": "causal"}
    if objective not in directions:
        raise UsageError(f"unknown objective `{objective}`", hint="known: `masked`, `causal`")
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


def given(**settings: Any) -> dict[str, Any]:
    """Those settings that were given."""
    return {key: value for key, value in settings.items() if value not in (None, {})}
