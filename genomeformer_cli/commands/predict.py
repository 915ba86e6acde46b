"""`genomeformer predict`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from typer import Context, Exit, Option

from genomeformer_cli.commands._completion import complete_released
from genomeformer_cli.commands._options import (
    MODEL_HELP,
    OUTPUT_HELP,
    ConfigOption,
    DeviceOption,
    JsonOption,
    SetOption,
    ShowConfigOption,
    WorkersOption,
    show_settings,
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

EXAMPLE = "Example:  genomeformer predict promoters.fa --model demo-promoters > answers.tsv"


def command(
    context: Context,
    sources: SourcesArgument = None,
    *,
    model: Annotated[
        str | None,
        Option(
            help=f"{MODEL_HELP} It must be fine-tuned.",
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
        Path | None,
        Option("-o", "--output", help=f"{OUTPUT_HELP} Default: standard output."),
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
    if model is None:
        raise UsageError("no fine-tuned model is given", hint=EXAMPLE.partition(":  ")[2])
    selected = given_sources(context, flank=resolved.flank, rules=resolved.regions)
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.rows import prediction_lines

    request = workflow.PredictRequest(
        sources=selected,
        model=model,
        config=resolved,
        device=device,
        workers=workers,
    )
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(lock_outputs(output, reporter=reporter))
        predictor = workflow.load_predictor(request, reporter=reporter)
        predictions = workflow.predict_sequences(predictor, request, reporter=reporter)
        lines = prediction_lines(
            predictor.task, predictions, by_base=base_labels == "rows", as_json=as_json
        )
        first = next(lines)
        out = stack.enter_context(atomic_file(output)) if output else data_stream()
        out.write(first)
        out.writelines(lines)
