"""`genomeformer windows`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from genomeformer_cli.core.annotation.rules import (
    WindowRules,
    WrittenStrand,
    flanks_from_text,
    labels_from_text,
)
from genomeformer_cli.ui.options import JsonOption

EXAMPLE = (
    "Example:  genomeformer windows --fasta genome.fa.gz --annotation genes.gff.gz "
    "--per-class 500 -o labelled/mine"
)
_SOURCE, _CUT, _CHOICE = "Genomes", "Windows", "Choice and output"


def command(
    *,
    output: Annotated[
        Path,
        Option(
            "-o",
            "--output",
            help="Write PREFIX.fa and PREFIX.tsv; into a folder, `windows.fa` and `windows.tsv`.",
            metavar="PREFIX",
            show_default=False,
            rich_help_panel=_CHOICE,
        ),
    ],
    genome: Annotated[
        list[str] | None,
        Option(help="A genome in the cache; repeatable.", rich_help_panel=_SOURCE),
    ] = None,
    taxon: Annotated[
        str | None,
        Option(
            help="Cached genomes of a taxon: a taxid, or the first words of its name.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    lock: Annotated[
        Path | None,
        Option(help="Cached genomes that a lock file of `fetch` names.", rich_help_panel=_SOURCE),
    ] = None,
    all_genomes: Annotated[
        bool, Option("--all", help="Every genome in the cache.", rich_help_panel=_SOURCE)
    ] = False,
    annotation: Annotated[
        Path | None,
        Option(
            help="GFF3 or GenBank of your own, plain or .gz, for `--fasta` or for one `--genome`; "
            "GenBank with sequence needs neither.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    fasta: Annotated[
        Path | None, Option(help="FASTA of your own, plain or .gz.", rich_help_panel=_SOURCE)
    ] = None,
    classes: Annotated[
        str,
        Option(
            help="Comma-separated: `coding`, `intergenic`, `promoter`, `terminator`, `rrna`, "
            "`trna`.",
            rich_help_panel=_CUT,
        ),
    ] = "coding,intergenic,promoter,terminator",
    length: Annotated[
        int, Option(help="Bases of a window, but for the next two.", rich_help_panel=_CUT)
    ] = 200,
    promoter: Annotated[
        str,
        Option(help="Bases before a gene's start, and from it on.", rich_help_panel=_CUT),
    ] = "150,50",
    terminator: Annotated[
        str, Option(help="Bases up to a gene's end, and past it.", rich_help_panel=_CUT)
    ] = "50,150",
    margin: Annotated[
        int,
        Option(help="Bases between an intergenic window and any gene.", rich_help_panel=_CUT),
    ] = 50,
    max_n: Annotated[
        float, Option(help="Largest part of a window that may be N.", rich_help_panel=_CUT)
    ] = 0.0,
    strand: Annotated[
        WrittenStrand,
        Option(
            help="Write the strand of the gene, or always that of the FASTA file.",
            rich_help_panel=_CUT,
        ),
    ] = WrittenStrand.FEATURE,
    per_class: Annotated[
        int | None,
        Option(
            help="Windows of each class, of all genomes together; default: all there are.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    seed: Annotated[int, Option(help="Seed of every choice.", rich_help_panel=_CHOICE)] = 0,
    force: Annotated[
        bool, Option("--force", help="Replace files that are there.", rich_help_panel=_CHOICE)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Cut annotated genomes into labelled windows: FASTA, and a table of what each one is."""
    from genomeformer_cli.core.workflows.windows import WindowsRequest, cut_windows
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.progress import terminal_reporter
    from genomeformer_cli.ui.results import windows_table

    rules = WindowRules(
        labels=labels_from_text(classes),
        length=length,
        promoter=flanks_from_text(promoter, "--promoter"),
        terminator=flanks_from_text(terminator, "--terminator"),
        margin=margin,
        max_n=max_n,
        strand=strand,
        seed=seed,
    )
    request = WindowsRequest(
        output=output,
        genomes=tuple(genome or ()),
        taxon=taxon,
        lock=lock,
        all_genomes=all_genomes,
        annotation=annotation,
        fasta=fasta,
        rules=rules,
        per_class=per_class,
        force=force,
    )
    with terminal_reporter() as reporter:
        result = cut_windows(request, reporter=reporter)
    show(result, windows_table(result), as_json=as_json)
