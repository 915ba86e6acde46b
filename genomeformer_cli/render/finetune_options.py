"""The options of `genomeformer finetune`, in five panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.finetuning.config import FinetuneConfig
    from genomeformer_cli.core.finetuning.labels import TaskKind

_TASK = "Task"
_MODEL = "Model"
_TRAINING = "Training"
_SEEDS = "Seeds and twins"
_COMPUTE = "Compute"

DEFAULT_RATE = 5e-4

DataArgument = Annotated[
    Path,
    Argument(
        help="TSV or CSV with `sequence` and a label, FASTA with `label=X`, or a folder of tasks.",
        metavar="DATA",
    ),
]
TargetOption = Annotated[
    list[str] | None,
    Option(
        help="Column of the labels; several, or several names with commas, for several at once. "
        "Default: `label`.",
        show_default=False,
        rich_help_panel=_TASK,
    ),
]
KindOption = Annotated[
    str,
    Option(
        help="`classification`, `multi-label`, `regression`, `per-base`, or `auto`: what the "
        "labels look like.",
        rich_help_panel=_TASK,
    ),
]
OnlyOption = Annotated[
    str | None,
    Option(
        help="Of a folder of tasks, the one whose name begins so.",
        show_default=False,
        rich_help_panel=_TASK,
    ),
]
GroupOption = Annotated[
    str | None,
    Option(
        help="Column whose values never stand on both sides of a split, such as `species`.",
        show_default=False,
        rich_help_panel=_TASK,
    ),
]
ValidationOption = Annotated[
    float,
    Option(
        help="Part of the rows to choose on, where the file has no `split`.", rich_help_panel=_TASK
    ),
]
TestOption = Annotated[
    float,
    Option(
        help="Part of the rows to be judged on, where the file has no `split`.",
        rich_help_panel=_TASK,
    ),
]
MethodOption = Annotated[
    str,
    Option(
        help="What is trained: `full`: every weight; `head`; `lora`: changes of low rank.",
        rich_help_panel=_MODEL,
    ),
]
RankOption = Annotated[int, Option(min=1, help="Of `lora`.", rich_help_panel=_MODEL)]
AlphaOption = Annotated[
    float, Option(help="Of `lora`: changes are scaled by it over the rank.", rich_help_panel=_MODEL)
]
PoolOption = Annotated[
    str,
    Option(
        help="How positions make a sequence: `mean`, `max`, `mean-max` (both), `attention` (by "
        "what and where).",
        rich_help_panel=_MODEL,
    ),
]
LinearOption = Annotated[
    str,
    Option(
        help="Fit a linear model first, and let the weights learn beside it: of `kmers`, of pairs "
        "of bases in their `places` (for rows that begin alike), of `both`; `none`.",
        rich_help_panel=_MODEL,
    ),
]
KmerOption = Annotated[
    int, Option(min=1, max=9, help="Bases of its words.", rich_help_panel=_MODEL)
]
RcOption = Annotated[
    str,
    Option(
        help="`augment`: train on either strand; `average`: answer with the mean of both too. "
        "Leave it at `none` where the strand matters.",
        rich_help_panel=_MODEL,
    ),
]
WindowOption = Annotated[
    int,
    Option(
        min=0,
        help="Longest stretch seen at once, in tokens; 0: the training context.",
        rich_help_panel=_MODEL,
    ),
]
EpochsOption = Annotated[
    float, Option(help="Times that every row is seen, at most.", rich_help_panel=_TRAINING)
]
BatchSizeOption = Annotated[int, Option(min=1, help="Rows a step.", rich_help_panel=_TRAINING)]
LearningRateOption = Annotated[
    float,
    Option("--learning-rate", "--lr", help="Peak of the schedule.", rich_help_panel=_TRAINING),
]
HeadRateOption = Annotated[
    float, Option(help="Times that, for the head.", rich_help_panel=_TRAINING)
]
LayerDecayOption = Annotated[
    float,
    Option(
        help="The rate of a block times this is that of the block below; 1: all alike.",
        rich_help_panel=_TRAINING,
    ),
]
WarmupOption = Annotated[
    float,
    Option(
        min=0.0,
        max=0.9,
        help="Part of the steps that the rate rises; then it falls.",
        rich_help_panel=_TRAINING,
    ),
]
WeightDecayOption = Annotated[
    float, Option(min=0.0, help="On matrices.", rich_help_panel=_TRAINING)
]
DropoutOption = Annotated[
    float,
    Option(
        help="Part of the features hidden from the head in training.", rich_help_panel=_TRAINING
    ),
]
MutateOption = Annotated[
    float,
    Option(
        help="Part of the bases that a training step sees as others: 0.05 makes few rows more.",
        rich_help_panel=_TRAINING,
    ),
]
ShiftOption = Annotated[
    int,
    Option(
        min=0,
        help="Bases that a training step leaves out, some at a row's start, the rest at its end.",
        rich_help_panel=_TRAINING,
    ),
]
SmoothingOption = Annotated[
    float,
    Option(
        help="Part of a class's weight in the loss that all classes share.",
        rich_help_panel=_TRAINING,
    ),
]
EmaOption = Annotated[
    float,
    Option(
        help="Decay of a moving average of the weights, which is then what is validated and "
        "kept; 0: none, 0.99 is usual.",
        rich_help_panel=_TRAINING,
    ),
]
ClassWeightsOption = Annotated[
    str,
    Option(
        help="`balanced`: rare classes count as much as frequent ones.", rich_help_panel=_TRAINING
    ),
]
MetricOption = Annotated[
    str,
    Option(
        help="What validation chooses by: `mcc`, `accuracy`, `f1`, `auroc`; of numbers `r2`, "
        "`pearson`, `spearman`, `rmse`; or `loss`. `auto`: the first, of several labels `auroc`.",
        rich_help_panel=_TRAINING,
    ),
]
PatienceOption = Annotated[
    int,
    Option(
        min=0,
        help="Validations without a better one that end the run; 0: none do.",
        rich_help_panel=_TRAINING,
    ),
]
ValidateEveryOption = Annotated[
    int,
    Option(
        min=0,
        help="Steps between validations; 0: every epoch, and ten times at least.",
        rich_help_panel=_TRAINING,
    ),
]
FromScratchOption = Annotated[
    bool,
    Option(
        "--from-scratch",
        help="Train the same model from random weights too: every seed, the same budget.",
        rich_help_panel=_SEEDS,
    ),
]
ScratchRateOption = Annotated[
    float,
    Option(min=0.0, help="Learning rate of that twin; 0: the same.", rich_help_panel=_SEEDS),
]
SeedOption = Annotated[
    int,
    Option(min=0, help="The first seed; it draws the split too.", rich_help_panel=_SEEDS),
]
SeedsOption = Annotated[
    int,
    Option(min=1, help="Seeds to go through, for a mean and its spread.", rich_help_panel=_SEEDS),
]
NameOption = Annotated[
    str | None,
    Option(help="Of the run and of the model it makes. Default: `MODEL-DATA`.", show_default=False),
]
OutputOption = Annotated[
    Path | None, Option("-o", "--output", help="Also write the bundle to this folder.")
]
ReplaceOption = Annotated[
    bool, Option("--replace", help="Replace a released model of the same name in the cache.")
]
PrecisionOption = Annotated[
    str,
    Option(
        help="`fp32`, `bf16` (autocast), or `auto`: the faster, tried once a machine and model.",
        rich_help_panel=_COMPUTE,
    ),
]
BatchTokensOption = Annotated[
    int,
    Option(
        min=1,
        help="Tokens computed at once, padding included: memory, not the result.",
        rich_help_panel=_COMPUTE,
    ),
]


def columns_from_text(given: Sequence[str] | None) -> tuple[str, ...]:
    """Columns of the labels.

    Raises:
        UsageError: One is named twice, or has no name.
    """
    columns = tuple(part.strip() for one in given or ("label",) for part in one.split(","))
    if not all(columns) or len(set(columns)) < len(columns):
        raise UsageError(
            f"`{','.join(columns)}` are not different columns", hint="name each of them once"
        )
    return columns


def kind_from_text(text: str) -> TaskKind | None:
    """The kind of a task; None: what the labels look like.

    Raises:
        UsageError: There is no such kind.
    """
    from genomeformer_cli.core.finetuning.labels import TaskKind

    if text == "auto":
        return None
    if text not in list(TaskKind):
        known = ", ".join(f"`{one.value}`" for one in TaskKind)
        raise UsageError(f"`{text}` is no kind of task", hint=f"choose one of {known}, or `auto`")
    return TaskKind(text)


def config_from_plain(plain: Mapping[str, Any]) -> FinetuneConfig:
    """What the options say, in place of the defaults.

    Raises:
        ConfigError: It cannot be.
    """
    from genomeformer_cli.core.configuration import overlay
    from genomeformer_cli.core.finetuning.config import FinetuneConfig

    return overlay(FinetuneConfig(), plain, where="command line")
