"""The options of `genomeformer evaluate`, in four panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

_HELD_OUT = "Held-out bases"
_LABELLED = "Labelled sequences"

LikelihoodOption = Annotated[
    bool,
    Option(
        "--likelihood/--no-likelihood",
        help="Ask for held-out bases, beside tables of counts.",
        rich_help_panel=_HELD_OUT,
    ),
]
CorpusOption = Annotated[
    str | None,
    Option(
        help="Whose training part is counted and whose held-out part is asked for. Default: the "
        "corpus that the model was trained on.",
        show_default=False,
        rich_help_panel=_HELD_OUT,
    ),
]
HeldOutOption = Annotated[
    list[Path] | None,
    Option(
        help="FASTA to ask for in place of the corpus's held-out part; several times for several.",
        show_default=False,
        rich_help_panel=_HELD_OUT,
    ),
]
AnnotationOption = Annotated[
    Path | None,
    Option(
        help="GFF3 or GenBank of the `--held-out` file: scores by codon position, and intergenic.",
        show_default=False,
        rich_help_panel=_HELD_OUT,
    ),
]
ByOption = Annotated[
    str,
    Option(
        help="What has a row: `genome` (or file), `record`, or `prefix` (of ids, up to `|`).",
        rich_help_panel=_HELD_OUT,
    ),
]
WindowsOption = Annotated[
    int,
    Option(
        min=2,
        help="Windows of each genome at most; of whole records, as many bases.",
        rich_help_panel=_HELD_OUT,
    ),
]
PassesOption = Annotated[
    int,
    Option(
        min=1,
        max=64,
        help="One base in 64 is hidden at a time: so many of the 64 sets are asked for.",
        rich_help_panel=_HELD_OUT,
    ),
]
MaskRateOption = Annotated[
    float,
    Option(
        min=0.01,
        max=0.9,
        help="Part of the bases hidden in the second question of masked models.",
        rich_help_panel=_HELD_OUT,
    ),
]
TaskOption = Annotated[
    list[Path] | None,
    Option(
        help="TSV or CSV with `sequence` and a label, or FASTA with `label=X`; several times for "
        "several.",
        show_default=False,
        rich_help_panel=_LABELLED,
    ),
]
SuiteOption = Annotated[
    list[Path] | None,
    Option(
        help="A folder of tasks: ours, GUE, Genomic Benchmarks, or NT, as downloaded.",
        show_default=False,
        rich_help_panel=_LABELLED,
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    Option(
        help="Of the suites, tasks whose names begin so; several times for several.",
        show_default=False,
        rich_help_panel=_LABELLED,
    ),
]
LabelOption = Annotated[
    str, Option(help="Column of the labels in a table.", rich_help_panel=_LABELLED)
]
MaxTrainOption = Annotated[
    int,
    Option(
        min=10,
        help="Rows that a probe learns from, at most; all rows are tested.",
        rich_help_panel=_LABELLED,
    ),
]
WindowOption = Annotated[
    int | None,
    Option(
        min=1,
        help="Longest stretch seen at once. Default: the training context.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, Option(min=0, help="The first seed.")]
SeedsOption = Annotated[
    int,
    Option(min=1, help="Seeds to go through: random twins, folds and draws of each."),
]
OutputOption = Annotated[
    Path | None,
    Option(
        "-o",
        "--output",
        help="Folder for `eval_results.json` and `report.html`. Default: `NAME-evaluation`.",
        show_default=False,
    ),
]
