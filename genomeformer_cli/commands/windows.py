"""`genomeformer windows`."""

from __future__ import annotations

from genomeformer_cli.commands._options import JsonOption
from genomeformer_cli.core.annotation.config import (
    WindowRules,
    WrittenStrand,
    flanks_from_text,
    labels_from_text,
)
from genomeformer_cli.render import window_options as options

EXAMPLE = (
    "Example:  genomeformer windows --fasta genome.fa.gz --annotation genes.gff.gz "
    "--per-class 500 -o labelled/mine"
)


def command(
    *,
    genome: options.GenomeOption = None,
    taxon: options.TaxonOption = None,
    lock: options.LockOption = None,
    all_genomes: options.AllOption = False,
    annotation: options.AnnotationOption = None,
    fasta: options.FastaOption = None,
    classes: options.ClassesOption = "coding,intergenic,promoter,terminator",
    length: options.LengthOption = 200,
    promoter: options.PromoterOption = "150,50",
    terminator: options.TerminatorOption = "50,150",
    margin: options.MarginOption = 50,
    max_n: options.MaxNOption = 0.0,
    strand: options.StrandOption = WrittenStrand.FEATURE,
    output: options.OutputOption,
    per_class: options.PerClassOption = None,
    seed: options.SeedOption = 0,
    force: options.ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cut annotated genomes into labelled windows: FASTA, and a table of what each one is."""
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
