"""`genomeformer predict`."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from genomeformer_cli.commands._completion import complete_released
from genomeformer_cli.commands._options import (
    MODEL_HELP,
    OUTPUT_HELP,
    PLOT_HELP,
    RESUME_HELP,
    ConfigOption,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    SetOption,
    ShowConfigOption,
    WorkersOption,
    show_settings,
)
from genomeformer_cli.commands._outputs import standard_output
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
    from genomeformer_cli.core.finetuning.tracks import TrackRules
    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.predict import Prediction, PredictRequest

EXAMPLE = "Example:  genomeformer predict promoters.fa --model demo-promoters > answers.tsv"

_OUTPUT, _TRACKS = "Output", "Tracks"


def command(
    context: Context,
    sources: SourcesArgument = None,
    *,
    model: Annotated[
        list[str] | None,
        Option(
            help=f"{MODEL_HELP} It must be fine-tuned. May be repeated: the mean prediction of "
            "models of one task.",
            show_default=False,
            autocompletion=complete_released,
        ),
    ] = None,
    genome: GenomeOption = None,
    bed: BedOption = None,
    gff: GffOption = None,
    feature: FeatureOption = None,
    upstream: UpstreamOption = None,
    downstream: DownstreamOption = None,
    vcf: VcfOption = None,
    tile: TileOption = None,
    step: StepOption = None,
    output: Annotated[
        list[Path] | None,
        Option(
            "-o",
            "--output",
            callback=standard_output,
            help=f"{OUTPUT_HELP} A table (`.tsv`), hits (`.bed`, `.gff3`) or scores (`.bedgraph`, "
            "`.bw`); may be repeated. Default: a table on standard output.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    resume: Annotated[bool, Option("--resume", help=RESUME_HELP, rich_help_panel=_OUTPUT)] = False,
    classes: Annotated[
        list[str] | None,
        Option(
            "--class",
            help="Class of hits and scores; may be repeated for hits. Default: all classes, or the "
            "second of `0` and `1`.",
            show_default=False,
            rich_help_panel=_TRACKS,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        Option(
            help="Smallest score of a hit. Default: 0.5 for probabilities.",
            show_default=False,
            rich_help_panel=_TRACKS,
        ),
    ] = None,
    merge_within: Annotated[
        int | None,
        Option(
            "--merge-within",
            min=0,
            help="Merge hits of a class and strand that are at most this many bases apart.",
            metavar="BASES",
            show_default=False,
            rich_help_panel=_TRACKS,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        Option(
            help=f"{PLOT_HELP} Genes, hits and scores along the genome: `.png`, `.svg`, `.pdf`, or "
            "`.html` with zoom.",
            show_default=False,
            rich_help_panel=_TRACKS,
        ),
    ] = None,
    base_labels: Annotated[
        str,
        Option(
            help="Form of the labels of bases: `string`: one row per sequence, one letter per "
            "base; `rows`: one row per base, with probabilities."
        ),
    ] = "string",
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    precision: PrecisionOption = "auto",
    settings: SetOption = None,
    config: ConfigOption = None,
    show_config: ShowConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Apply a fine-tuned model: labels and probabilities, tab-separated, in input order."""
    from genomeformer_cli.core.config_text import combine_settings, resolve
    from genomeformer_cli.core.workflows import predict as workflow

    overrides = combine_settings(workflow.PredictConfig, settings or [], {})
    resolved = resolve(workflow.PredictConfig(), config, overrides)
    if show_config:
        show_settings(resolved, as_json=as_json)
        raise Exit
    if base_labels not in ("string", "rows"):
        raise UsageError(f"invalid form of labels `{base_labels}`", hint="`string` or `rows`")
    if not model:
        raise UsageError("no fine-tuned model is given", hint=EXAMPLE.partition(":  ")[2])
    selected = given_sources(
        context, draws_genes=plot is not None, flank=resolved.flank, rules=resolved.regions
    )
    if resume and not output:
        raise UsageError("`--resume` needs an output file, not standard output", hint="give `-o`")
    from genomeformer_cli.core.finetuning.tracks import TrackRules

    request = workflow.PredictRequest(
        sources=selected,
        models=tuple(model),
        config=resolved,
        device=device,
        workers=workers,
        precision=precision,
        resume=resume,
    )
    files = _Outputs(
        paths=output or [],
        plot=plot,
        genes=gff,
        rules=TrackRules(labels=tuple(classes or ()), threshold=threshold, merge=merge_within),
        by_base=base_labels == "rows",
        as_json=as_json,
    )
    _predict(request, files)


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """Output files and their content."""

    paths: list[Path]  # Tables and tracks; empty: a table on standard output, or only a picture.
    plot: Path | None
    genes: Path | None  # Annotation of the genes of the picture; None: that of the sources.
    rules: TrackRules
    by_base: bool  # Write one row per base.
    as_json: bool


def _predict(request: PredictRequest, files: _Outputs) -> None:
    from genomeformer_cli.core.proposals import count_noun
    from genomeformer_cli.core.reporting import SilentReporter
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import predict as workflow
    from genomeformer_cli.core.workflows import predict_tracks as tracks
    from genomeformer_cli.render.genome_view import draw_genome
    from genomeformer_cli.render.plots import check_picture_path
    from genomeformer_cli.render.progress import terminal_reporter

    for path in files.paths:
        tracks.check_output_name(path)
    check_picture_path(files.plot, ".html")
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(
            lock_outputs(*files.paths, files.plot, reporter=reporter, inputs=request.sources.inputs)
        )
        predictor = workflow.load_predictor(request, reporter=reporter)
        space, draws = predictor.task.targets, files.plot is not None
        tracks.check_tracks(space, request.sources, files.paths, files.rules, draws=draws)
        folder = _parts_folder(request, files, stack)
        prediction = stack.enter_context(
            workflow.open_prediction(predictor, request, reporter=reporter, folder=folder)
        )
        # The first output reads the sequences; the others read the finished parts.
        counts: Reporter = reporter
        for path in files.paths:
            if tracks.is_track(path):
                count = tracks.write_track(prediction, path, files.rules, counts)
                reporter.note(f"{path}: {count_noun(count, 'row')}")
            else:
                _write_table(prediction, files, path, counts)
            counts = SilentReporter()
        if files.plot is not None:
            view = tracks.view_prediction(
                prediction, files.rules, files.genes, reporter, counts=counts
            )
            draw_genome(view, files.plot)
            reporter.note(f"picture: {files.plot}")
        elif not files.paths:
            _write_table(prediction, files, None, reporter)


def _parts_folder(request: PredictRequest, files: _Outputs, stack: ExitStack) -> Path | None:
    """Return the folder of finished parts: for a long scan, or if several outputs read them."""
    from genomeformer_cli.core.workflows.prediction_parts import parts_folder

    num_readers = len(files.paths) + (files.plot is not None)
    if files.paths and (request.sources.tile is not None or request.resume or num_readers > 1):
        return parts_folder(files.paths[0])
    if files.plot is not None:
        return Path(stack.enter_context(TemporaryDirectory(prefix="genomeformer-"))) / "parts"
    return None


def _write_table(
    prediction: Prediction, files: _Outputs, path: Path | None, reporter: Reporter
) -> None:
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.rows import prediction_lines

    lines = prediction_lines(
        prediction.predictor.task,
        prediction.records(reporter),
        by_base=files.by_base,
        as_json=files.as_json or (path is not None and path.suffix.lower() == ".json"),
    )
    first = next(lines)
    with nullcontext(data_stream()) if path is None else atomic_file(path) as out:
        out.write(first)
        out.writelines(lines)
