"""`genomeformer score`."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

from typer import Context, Option

from genomeformer_cli.commands._options import (
    OUTPUT_HELP,
    PLOT_HELP,
    WINDOW_HELP,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    WorkersOption,
)
from genomeformer_cli.commands._outputs import check_suffix, standard_output
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
    from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
    from genomeformer_cli.core.model_io.model_folder import LoadedModel
    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.score import VariantSource
    from genomeformer_cli.core.workflows.sources import Look

EXAMPLE = "Example:  genomeformer score promoters.fa > scores.tsv"
_TABLES = (".tsv", ".txt")


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
        Path | None,
        Option(
            help=f"{PLOT_HELP} With `--ism`: maps of the first six records. With `--per-base`: "
            "bits and genes along the genome; `.html` is a page with zoom."
        ),
    ] = None,
    per_base: Annotated[
        Path | None,
        Option(
            help="File of one row per base: bits, and the probabilities of A C G T; `.bedgraph` or "
            "`.bw`: bits along the genome."
        ),
    ] = None,
    bin_width: Annotated[
        int,
        Option("--bin", min=1, help="Bases whose mean is one value of a track.", metavar="BASES"),
    ] = 1,
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
            callback=standard_output,
            help=f"{OUTPUT_HELP} With `--vcf`, `.vcf` or `.vcf.gz`: the input with scores in INFO. "
            "Default: standard output.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Score sequences, variants or substitutions by probability, tab-separated, in input order."""
    draws_genes = plot is not None and per_base is not None
    selected = given_sources(context, draws_genes=draws_genes)
    if (plot and not (ism or per_base)) or (per_base and (ism or vcf)) or (ism and vcf):
        raise UsageError(
            "invalid combination of options",
            hint="`--plot` needs `--ism` or `--per-base`; `--ism`, `--vcf` and `--per-base` "
            "exclude each other",
        )
    from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import score as workflow
    from genomeformer_cli.core.workflows.score_track import check_base_file
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.plots import check_picture_path
    from genomeformer_cli.render.progress import terminal_reporter

    check_suffix(output, (*_TABLES, *(workflow.VCF_SUFFIXES if vcf else ())))
    check_picture_path(plot, *([] if ism else [".html"]))
    if per_base is not None:
        check_base_file(selected, per_base, bin_width)
    elif bin_width > 1:
        raise UsageError("`--bin` needs a track", hint="give `--per-base FILE.bw`")
    rule = ScoringOptions(window=window, every=every, both_strands=both_strands)
    request = workflow.ScoreRequest(
        model=model,
        rule=rule,
        needs_bases=ism or per_base is not None,
        device=device,
        workers=workers,
        precision=precision,
    )
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(
            lock_outputs(output, per_base, plot, reporter=reporter, inputs=selected.inputs)
        )
        loaded = workflow.load_scorer(request, reporter=reporter)
        if vcf is not None and genome is not None:
            variants = workflow.VariantSource(
                vcf=vcf, genome=genome, window=window, model=model or "default"
            )
            _write_variants(loaded, variants, output, reporter)
            return
        look = stack.enter_context(workflow.open_sequences(selected, reporter))
        out = stack.enter_context(atomic_file(output)) if output else data_stream()
        sequences = _Sequences(look=look, noun=selected.noun, has_regions=selected.has_regions)
        if ism:
            _write_substitutions(loaded, sequences, every, out, plot, reporter)
        else:
            bases = _BaseFiles(path=per_base, bin_width=bin_width, plot=plot, genes=gff)
            _write_records(loaded, sequences, rule, out, bases, reporter)


@dataclass(frozen=True, kw_only=True)
class _Sequences:
    """Sequences that were read once."""

    look: Look
    noun: str  # Noun of a sequence in messages.
    has_regions: bool  # The sequences have coordinates.


@dataclass(frozen=True, kw_only=True)
class _BaseFiles:
    """Files of the bits of every base."""

    path: Path | None  # Table or track.
    bin_width: int  # Bases per value of a track.
    plot: Path | None  # Picture.
    genes: Path | None  # Annotation of the genes of the picture; None: that of the sources.


def _write_substitutions(
    loaded: LoadedModel,
    sequences: _Sequences,
    every: int,
    out: IO[bytes],
    plot: Path | None,
    reporter: Reporter,
) -> None:
    from genomeformer_cli.core.workflows import score as workflow
    from genomeformer_cli.render import rows as table
    from genomeformer_cli.render.plots import plot_substitutions

    maps = list(workflow.map_sequences(loaded, sequences.look, every, reporter))
    rows = (line for record in maps for line in table.substitution_rows(record))
    columns = table.with_coordinates(table.MAP_COLUMNS, has_regions=sequences.has_regions)
    table.write_rows(out, columns, rows)
    if plot is not None:
        plot_substitutions(maps, plot)


def _write_records(
    loaded: LoadedModel,
    sequences: _Sequences,
    rule: ScoringOptions,
    out: IO[bytes],
    bases: _BaseFiles,
    reporter: Reporter,
) -> None:
    """Write the likelihoods of records, and their bases as a table, a track or a picture."""
    from genomeformer_cli.core.formats.tracks.files import is_score_track
    from genomeformer_cli.core.proposals import count_noun
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.workflows import score as workflow
    from genomeformer_cli.core.workflows.score_track import BasePicture, write_base_track
    from genomeformer_cli.render import rows as table
    from genomeformer_cli.render.genome_view import draw_genome

    has_regions, look = sequences.has_regions, sequences.look
    scored = workflow.score_sequences(loaded, look, rule, reporter, sequences.noun)
    columns = table.with_coordinates(table.RECORD_COLUMNS, has_regions=has_regions)
    title, per_base = f"bits per base, {loaded.folder.name}", bases.path
    picture = BasePicture(look) if bases.plot else None
    if picture is not None:
        scored = picture.collect(scored)
    if is_score_track(per_base):
        assert per_base is not None
        out.write(table.tsv_line(columns))
        records = table.write_records(scored, out)
        count = write_base_track(records, look, per_base, bin_width=bases.bin_width, title=title)
        out.flush()
        reporter.note(f"{per_base}: {count_noun(count, 'row')}")
    else:
        with nullcontext() if per_base is None else atomic_file(per_base) as file:
            if file is not None:
                base_columns = table.with_coordinates(table.BASE_COLUMNS, has_regions=has_regions)
                file.write(table.tsv_line(base_columns))
                scored = table.write_bases(scored, file)
            table.write_rows(out, columns, map(table.record_row, scored))
    if picture is not None and bases.plot is not None:
        draw_genome(picture.finish(title, bases.genes, reporter), bases.plot)
        reporter.note(f"picture: {bases.plot}")


def _write_variants(
    loaded: LoadedModel, source: VariantSource, output: Path | None, reporter: Reporter
) -> None:
    """Write the scores of variants as VCF, if the output has such a name, or as a table."""
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.workflows import score as workflow
    from genomeformer_cli.render import rows as table
    from genomeformer_cli.render.console import data_stream

    if output is not None and output.name.lower().endswith(workflow.VCF_SUFFIXES):
        result = workflow.annotate_vcf(loaded, source, output, reporter)
    else:
        result = workflow.score_vcf(loaded, source, reporter)
        with atomic_file(output) if output else nullcontext(data_stream()) as out:
            rows = map(table.variant_row, result.scores)
            table.write_rows(out, table.VARIANT_COLUMNS, rows)
    # After the rows, whose notes hold the reasons.
    result.check_scored()
