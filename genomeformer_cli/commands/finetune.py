"""`genomeformer finetune`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Option

from genomeformer_cli.commands._completion import complete_genomes, complete_runs
from genomeformer_cli.commands._options import (
    GENOME_HELP,
    NAME_HELP,
    ONLY_HELP,
    OUTPUT_HELP,
    SEED_HELP,
    SEEDS_HELP,
    ConfigOption,
    DeviceOption,
    JsonOption,
    MissingOption,
    ModelOption,
    ReplaceOption,
    SequenceColumnOption,
    SetOption,
    ShowConfigOption,
    ThreadsOption,
    given_settings,
    resolved_config,
)
from genomeformer_cli.commands._outputs import named_output
from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.finetuning.labels import TaskKind

EXAMPLE = "Example:  genomeformer finetune promoters.tsv --target label --from-scratch"
_TASK = "Task"
_TRAINING = "Training"
_SEEDS = "Seeds and twins"

# Setting of each option that is one, by parameter name.
_PLACES = {
    "method": "tuning.method",
    "linear": "tuning.linear",
    "epochs": "epochs",
    "learning_rate": "training.learning_rate",
    "seed": "training.seed",
}


def command(
    context: Context,
    data: Annotated[
        Path | None,
        Argument(
            help="TSV or CSV with `sequence` and a label, FASTA with `label=X`, a folder of tasks, "
            "or `-`.",
            metavar="DATA",
            show_default=False,
        ),
    ] = None,
    *,
    model: ModelOption = None,
    genome: Annotated[
        str | None,
        Option(
            help=f"{GENOME_HELP} For DATA of regions: `chrom`, `start`, `end` and a label, or BED "
            "with the labels as names.",
            autocompletion=complete_genomes,
            show_default=False,
            rich_help_panel=_TASK,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        Option(
            help="Column of the labels, default `label`; repeat it, or separate names by commas, "
            "for several labels per row.",
            show_default=False,
            rich_help_panel=_TASK,
        ),
    ] = None,
    kind: Annotated[
        str,
        Option(
            help="`classification`, `multi-label`, `regression`, `per-base`, or `auto`: inferred "
            "from the labels.",
            rich_help_panel=_TASK,
        ),
    ] = "auto",
    only: Annotated[
        str | None, Option(help=ONLY_HELP, show_default=False, rich_help_panel=_TASK)
    ] = None,
    group: Annotated[
        str | None,
        Option(
            help="Column whose values are never on both sides of a split, such as `species`.",
            show_default=False,
            rich_help_panel=_TASK,
        ),
    ] = None,
    sequence_column: SequenceColumnOption = None,
    missing: MissingOption = "refuse",
    method: Annotated[
        str,
        Option(
            help="Trained weights: `full` (all), `head`, or `lora` (head and low-rank updates).",
            rich_help_panel=_TRAINING,
        ),
    ] = "full",
    linear: Annotated[
        str,
        Option(
            help="Linear model that is fitted first and added to the output: on `kmers`, on "
            "`gapped` k-mers, on pairs of bases at their `places` (for aligned rows), on `both` "
            "k-mers and places, or `none`.",
            rich_help_panel=_TRAINING,
        ),
    ] = "none",
    epochs: Annotated[
        float, Option(help="Largest number of passes over the rows.", rich_help_panel=_TRAINING)
    ] = 10.0,
    learning_rate: Annotated[
        float,
        Option("--learning-rate", "--lr", help="Peak learning rate.", rich_help_panel=_TRAINING),
    ] = 5e-4,
    from_scratch: Annotated[
        bool,
        Option(
            "--from-scratch",
            help="Also train the same model from random weights, with every seed.",
            rich_help_panel=_SEEDS,
        ),
    ] = False,
    seed: Annotated[int, Option(min=0, help=SEED_HELP, rich_help_panel=_SEEDS)] = 0,
    seeds: Annotated[int, Option(min=1, help=SEEDS_HELP, rich_help_panel=_SEEDS)] = 1,
    name: Annotated[
        str | None,
        Option(
            help=f"{NAME_HELP} The run and its model have it. Default: `MODEL-DATA`.",
            autocompletion=complete_runs,
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            callback=named_output,
            help=f"{OUTPUT_HELP} A folder for a copy of the bundle.",
        ),
    ] = None,
    replace: ReplaceOption = False,
    settings: SetOption = None,
    config: ConfigOption = None,
    show_config: ShowConfigOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a model on labels: classes, several labels, numbers, or one label per base."""
    from genomeformer_cli.core.configuration import merge_values
    from genomeformer_cli.core.evaluation.labels import missing_from_text
    from genomeformer_cli.core.finetuning.config import FinetuneConfig
    from genomeformer_cli.core.workflows.finetune import FinetuneRequest, finetune_model
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.runs import render_finetune

    options = given_settings(context, _PLACES)
    if "seed" in options.get("training", {}):
        options = merge_values({"split": {"seed": seed}}, options)
    resolved = resolved_config(context, FinetuneConfig(), options)
    if data is None:
        raise UsageError("no labelled sequences are given", hint=EXAMPLE.partition(":  ")[2])
    request = FinetuneRequest(
        data=data,
        model=model,
        genome=genome,
        targets=_columns(target),
        only=only,
        kind=_kind(kind),
        group=group,
        sequence=sequence_column,
        missing=missing_from_text(missing),
        name=name,
        config=resolved,
        num_seeds=seeds,
        from_scratch=from_scratch,
        output=output,
        replace=replace,
        device=device,
        threads=threads,
    )
    with terminal_reporter() as reporter:
        result = finetune_model(request, reporter=reporter)
    show(result, render_finetune(result), as_json=as_json)


def _columns(names: Sequence[str] | None) -> tuple[str, ...]:
    """Split the names of the label columns at commas."""
    columns = tuple(part.strip() for name in names or ("label",) for part in name.split(","))
    if not all(columns) or len(set(columns)) < len(columns):
        raise UsageError(
            f"`--target`: `{','.join(columns)}` repeats a column, or has an empty name",
            hint="give each column once",
        )
    return columns


def _kind(text: str) -> TaskKind | None:
    """Return the kind of a task; None to infer it from the labels."""
    from genomeformer_cli.core.finetuning.labels import TaskKind

    if text == "auto":
        return None
    if text not in list(TaskKind):
        kinds = ", ".join(f"`{kind.value}`" for kind in TaskKind)
        raise UsageError(f"`--kind`: unknown kind `{text}`", hint=f"known: {kinds}, or `auto`")
    return TaskKind(text)
