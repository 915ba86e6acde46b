"""`genomeformer windows`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from genomeformer_cli.commands._options import (
    ANNOTATION_HELP,
    OUTPUT_HELP,
    SEED_HELP,
    AllGenomesOption,
    GenomesOption,
    JsonOption,
    LockOption,
    TaxonOption,
)
from genomeformer_cli.commands._outputs import named_output
from genomeformer_cli.core.annotation.config import (
    WindowRules,
    WrittenStrand,
    flanks_from_text,
    labels_from_text,
)

EXAMPLE = (
    "Example:  genomeformer windows --fasta genome.fa.gz --gff genes.gff.gz "
    "--per-class 500 -o labelled/mine"
)
_GENOMES, _WINDOWS, _OUTPUT = "Genomes", "Windows", "Sample and output"


def command(
    *,
    genome: GenomesOption = None,
    taxon: TaxonOption = None,
    lock: LockOption = None,
    all_genomes: AllGenomesOption = False,
    annotation: Annotated[
        Path | None, Option("--gff", help=ANNOTATION_HELP, rich_help_panel=_GENOMES)
    ] = None,
    fasta: Annotated[
        Path | None,
        Option(help="FASTA file; replaces sequences in the annotation.", rich_help_panel=_GENOMES),
    ] = None,
    classes: Annotated[
        str,
        Option(
            help="Comma-separated: `coding`, `intergenic`, `promoter`, `terminator`, `rrna`, "
            "`trna`.",
            rich_help_panel=_WINDOWS,
        ),
    ] = "coding,intergenic,promoter,terminator",
    length: Annotated[
        int,
        Option(
            help="Bases per window, except promoters and terminators.", rich_help_panel=_WINDOWS
        ),
    ] = 200,
    promoter: Annotated[
        str,
        Option(
            help="Bases before the first base of a gene, and from it on.", rich_help_panel=_WINDOWS
        ),
    ] = "150,50",
    terminator: Annotated[
        str,
        Option(help="Bases up to the last base of a gene, and after it.", rich_help_panel=_WINDOWS),
    ] = "50,150",
    margin: Annotated[
        int,
        Option(
            help="Bases between an intergenic window and any feature.", rich_help_panel=_WINDOWS
        ),
    ] = 50,
    max_n: Annotated[
        float, Option(help="Largest share of N in a window.", rich_help_panel=_WINDOWS)
    ] = 0.0,
    strand: Annotated[
        WrittenStrand,
        Option(
            help="Written strand: that of the gene, or always that of the FASTA file.",
            rich_help_panel=_WINDOWS,
        ),
    ] = WrittenStrand.FEATURE,
    output: Annotated[
        Path,
        Option(
            "-o",
            "--output",
            callback=named_output,
            help=f"{OUTPUT_HELP} PREFIX.fa and PREFIX.tsv; in a folder, `windows.fa` and "
            "`windows.tsv`.",
            metavar="PREFIX",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ],
    per_class: Annotated[
        int | None,
        Option(
            help="Windows per class, over all genomes; default: all of them.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    seed: Annotated[int, Option(help=SEED_HELP, rich_help_panel=_OUTPUT)] = 0,
    force: Annotated[
        bool, Option("--force", help="Replace existing files.", rich_help_panel=_OUTPUT)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Cut annotated genomes into labelled windows: a FASTA file and a table of their classes."""
    from genomeformer_cli.core.workflows.windows import WindowsRequest, cut_windows
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.tables import render_windows

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
    show(result, render_windows(result), as_json=as_json)
