"""Options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated

from typer import Option

MODEL_HELP = (
    "A released model or run in the cache, a folder, an archive, `hf://ORG/NAME@REVISION`, or "
    "`default`, the one that came with the package."
)

ModelOption = Annotated[
    str | None,
    Option(help=f"{MODEL_HELP} Without this: `default`.", show_default=False),
]
JsonOption = Annotated[bool, Option("--json", help="Print the result as JSON on stdout.")]
DeviceOption = Annotated[
    str,
    Option(help="`auto`, `cpu`, or a torch device such as `cuda:0`.", rich_help_panel="Compute"),
]
ThreadsOption = Annotated[
    int | None,
    Option(
        min=1,
        help="CPU threads; default: every core, or `OMP_NUM_THREADS`.",
        rich_help_panel="Compute",
    ),
]

SequenceColumnOption = Annotated[
    str | None,
    Option(
        help="Column of the sequences in a table. Default: `sequence`, or else the records of a "
        "FASTA file beside the table.",
        show_default=False,
    ),
]
MissingOption = Annotated[
    str,
    Option(
        help="Rows without a label or a sequence: `refuse` the table, naming them, or `drop` and "
        "count them."
    ),
]
