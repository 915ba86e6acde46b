"""`genomeformer score`."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Option

from genomeformer_cli.commands._options import (
    OUTPUT_HELP,
    PLOT_HELP,
    WINDOW_HELP,
    DeviceOption,
    ModelOption,
    WorkersOption,
)
from genomeformer_cli.commands._sources import (
    BedOption,
    DownstreamOption,
    FeatureOption,
    GenomeOption,
    GffOption,
    SourcesArgument,
    StepOption,
    TileOption,
    UpstreamOption,
    VcfOption,
    given_sources,
)
from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.model_io.model_folder import LoadedModel
    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.score import VariantSource

EXAMPLE = "Example:  genomeformer score promoters.fa > scores.tsv"


def command(
    context: Context,
    sources: SourcesArgument = None,
    *,
    model: ModelOption = None,
    genome: GenomeOption = None,
    bed: BedOption = None,
    gff: GffOption = None,
    feature: FeatureOption = None,
    upstream: UpstreamOption = None,
    downstream: DownstreamOption = None,
    vcf: VcfOption = None,
    tile: TileOption = None,
    step: StepOption = None,
    ism: Annotated[
        bool, Option("--ism", help="Score every single substitution of every sequence.")
    ] = False,
    plot: Annotated[
        Path | None, Option(help=f"{PLOT_HELP} With `--ism`: maps of the first six records.")
    ] = None,
    per_base: Annotated[
        Path | None,
        Option(help="File of one row per base: bits, and the probabilities of A C G T."),
    ] = None,
    both_strands: Annotated[
        bool, Option("--both-strands", help="Average the log-probabilities of both strands.")
    ] = False,
    every: Annotated[
        int, Option(min=1, help="Distance of the bases that a masked model hides at a time.")
    ] = 16,
    window: Annotated[int | None, Option(min=2, help=WINDOW_HELP, show_default=False)] = None,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            help=f"{OUTPUT_HELP} With `--vcf`, `.vcf` or `.vcf.gz`: the input with scores in INFO. "
            "Default: standard output.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
) -> None:
    """Score sequences, variants or substitutions by probability, tab-separated, in input order."""
    selected = given_sources(context)
    if (plot and not ism) or (per_base and (ism or vcf)) or (ism and vcf):
        raise UsageError(
            "invalid combination of options",
            hint="`--plot` needs `--ism`; `--ism` and `--vcf` exclude each other and `--per-base`",
        )
    from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import score as workflow
    from genomeformer_cli.render import rows as table
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.plots import check_picture_path, plot_substitutions
    from genomeformer_cli.render.progress import terminal_reporter

    check_picture_path(plot)
    rule = ScoringOptions(window=window, every=every, both_strands=both_strands)
    request = workflow.ScoreRequest(
        model=model,
        rule=rule,
        needs_bases=ism or per_base is not None,
        device=device,
        workers=workers,
    )
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(lock_outputs(output, per_base, plot, reporter=reporter))
        loaded = workflow.load_scorer(request, reporter=reporter)
        if vcf is not None and genome is not None:
            variants = workflow.VariantSource(
                vcf=vcf, genome=genome, window=window, model=model or "default"
            )
            _write_variants(loaded, variants, output, reporter)
            return
        has_regions = selected.has_regions
        out = stack.enter_context(atomic_file(output)) if output else data_stream()
        if ism:
            maps = list(workflow.map_sequences(loaded, selected, every, reporter))
            rows = (
                line
                for substitution_map in maps
                for line in table.substitution_rows(substitution_map)
            )
            columns = table.with_coordinates(table.MAP_COLUMNS, has_regions=has_regions)
            table.write_rows(out, columns, rows)
            if plot is not None:
                plot_substitutions(maps, plot)
            return
        scored = workflow.score_sequences(loaded, selected, rule, reporter)
        if per_base is not None:
            bases = stack.enter_context(atomic_file(per_base))
            columns = table.with_coordinates(table.BASE_COLUMNS, has_regions=has_regions)
            bases.write(table.tsv_line(columns))
            scored = table.write_bases(scored, bases)
        columns = table.with_coordinates(table.RECORD_COLUMNS, has_regions=has_regions)
        table.write_rows(out, columns, map(table.record_row, scored))


def _write_variants(
    loaded: LoadedModel, source: VariantSource, output: Path | None, reporter: Reporter
) -> None:
    """Write the scores of variants as VCF, if the output has such a name, or as a table."""
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.workflows import score as workflow
    from genomeformer_cli.render import rows as table
    from genomeformer_cli.render.console import data_stream

    if output is not None and output.name.endswith(workflow.VCF_SUFFIXES):
        result = workflow.annotate_vcf(loaded, source, output, reporter)
    else:
        result = workflow.score_vcf(loaded, source, reporter)
        with atomic_file(output) if output else nullcontext(data_stream()) as out:
            rows = map(table.variant_row, result.scores)
            table.write_rows(out, table.VARIANT_COLUMNS, rows)
    # After the rows, whose notes hold the reasons.
    result.check_scored()
