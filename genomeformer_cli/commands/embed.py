"""`genomeformer embed`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Context, Option

from genomeformer_cli.commands._options import (
    MERGE_HELP,
    OUTPUT_HELP,
    PLOT_HELP,
    RESUME_HELP,
    WINDOW_HELP,
    ConfigOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    PrecisionOption,
    SetOption,
    ShowConfigOption,
    WorkersOption,
    given_settings,
    is_given,
    resolved_config,
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
from genomeformer_cli.core.embedding.pools import Pool  # noqa: TID253 - it imports nothing
from genomeformer_cli.core.errors import UsageError

EXAMPLE = (
    "Example:  genomeformer embed promoters.fa --model demo-performer --ids ids.txt > promoters.npy"
)
_INPUT, _OUTPUT, _VECTORS, _PICTURE = "Input", "Output", "Vectors", "Picture"

# Setting of each option that is one, by parameter name.
_PLACES = {"pool": "rows.pool"}


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
    shard: Annotated[
        str | None,
        Option(
            help="`i/n`: only every n-th record, beginning with the i-th.",
            metavar="I/N",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    merge: Annotated[
        bool,
        Option("--merge", help=MERGE_HELP, rich_help_panel=_OUTPUT),
    ] = False,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            callback=standard_output,
            help=f"{OUTPUT_HELP} `.npy`, `.npz`, `.h5`, `.h5ad`, `.parquet` or `.tsv` by its name; "
            "a description is written beside it. Default: `.npy` on standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        Option(
            help="File of the ids, one per line, in the order of the rows; a `.tsv` also has "
            "lengths and rows.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        Option(
            "--resume",
            help=f"{RESUME_HELP} A finished output is kept.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    pool: Annotated[
        Literal[Pool, "cls", "genome"],
        Option(
            help="Pooling over the real bases of a record. `auto`: pooling and layers that the "
            "model recommends; `auto:placed`, `auto:motif`, `auto:composition`: for labels that "
            "depend on a motif at one place, a motif anywhere, or composition. `bins`: means of "
            "eight equal parts; `moments`: mean and standard deviation; `words`: features of the "
            "positions of each word of three bases; `none`: one row per base; "
            "`genome`: one row per genome, the mean over its tiles or records, weighted by bases. "
            "`cls` is refused: features are of bases, not of [CLS] tokens.",
            rich_help_panel=_VECTORS,
        ),
    ] = "auto",
    window: Annotated[
        str | None, Option(help=WINDOW_HELP, metavar="TOKENS|whole", rich_help_panel=_VECTORS)
    ] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    precision: PrecisionOption = "auto",
    plot: Annotated[
        Path | None,
        Option(
            help=f"{PLOT_HELP} The rows on a plane: `.png`, `.svg`, `.pdf`, or `.html` with ids "
            "under the pointer.",
            rich_help_panel=_PICTURE,
        ),
    ] = None,
    settings: SetOption = None,
    config: ConfigOption = None,
    show_config: ShowConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert sequences to vectors, in input order: a float32 .npy array, one row per record."""
    from genomeformer_cli.core.configuration import merge_values
    from genomeformer_cli.core.embedding.options import EmbedConfig, EmbedOptions

    options = given_settings(context, _PLACES)
    if pool == "genome":
        options = merge_values(options, {"rows": {"pool": "mean"}})
    if window is not None:
        options = merge_values(options, {"rows": {"window": parse_window(window)}})
    # `cls` is refused here, with its reason; the type of the setting does not have it.
    row_pool = "mean" if pool == "genome" else pool
    defaults = EmbedConfig(rows=EmbedOptions(pool=row_pool))  # type: ignore[arg-type]
    resolved = resolved_config(context, defaults, options)
    if merge:
        _merge(context, output, as_json=as_json)
        return
    if output is None and as_json:
        raise UsageError(
            "standard output cannot hold both the array and JSON",
            hint="write the array to a file with `-o`",
        )
    if output is None and sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, and the array is binary",
            hint="redirect it, as in `> vectors.npy`, or give `-o`",
        )
    from genomeformer_cli.core.workflows.embed import embed_sequences
    from genomeformer_cli.core.workflows.embed_request import EmbedRequest
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.plots import check_plane_options, draw_plane, read_colors
    from genomeformer_cli.render.progress import terminal_reporter

    check_plane_options(plot, resolved.plot_colors)
    colors = read_colors(resolved.plot_colors)
    request = EmbedRequest(
        sources=given_sources(
            context, flank=resolved.flank, rules=resolved.regions, shard=parse_shard(shard)
        ),
        model=model,
        choices=resolved.rows,
        output=output,
        ids=ids,
        dtype=resolved.dtype,
        gpus=resolved.gpus,
        device=device,
        workers=workers,
        precision=precision,
        strict=resolved.strict,
        resume=resume,
        group=resolved.group if pool == "genome" else None,
        plane=resolved.plot_method if plot else None,
    )
    with terminal_reporter() as reporter:
        result = embed_sequences(request, reporter=reporter, stream=sys.stdout.buffer)
        if plot is not None and result.plane is not None:
            draw_plane(result.plane, result.ids, plot, colors, reporter)
            reporter.note(f"picture: {plot}")
    if output is None:
        return
    from genomeformer_cli.core.proposals import count_noun

    text = f"{output}: {count_noun(result.rows, 'row')} of {result.width}"
    document = {
        "output": output,
        "rows": result.rows,
        "width": result.width,
        "model": result.model,
        "precision": result.precision,
    }
    show(document, text, as_json=as_json)


def _merge(context: Context, output: Path | None, *, as_json: bool) -> None:
    """Join the shards that are given as sources.

    Raises:
        UsageError: There are no shards, no output, or other options.
    """
    from genomeformer_cli.core.proposals import count_noun
    from genomeformer_cli.core.workflows.embed_merge import merge_shards
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter

    allowed = ("sources", "merge", "output", "as_json", "quiet", "verbose")
    excluded = [name for name in context.params if name not in allowed and is_given(context, name)]
    if excluded:
        raise UsageError(
            f"`--merge` and `--{excluded[0].replace('_', '-')}` exclude each other",
            hint="merge finished shards: `--merge SHARD... -o FILE`",
        )
    shards = context.params["sources"]
    if not shards or output is None:
        missing = "an output" if shards else "shards"
        raise UsageError(f"`--merge` needs {missing}", hint="as in `--merge a.npy b.npy -o c.npy`")
    with terminal_reporter() as reporter:
        result = merge_shards([Path(shard) for shard in shards], output, reporter=reporter)
    rows = count_noun(result.rows, "row")
    text = f"{output}: {rows} of {result.width}, from {result.shards} shards"
    show(result, text, as_json=as_json)


def parse_window(text: str) -> int | str:
    """Parse a number of tokens, or `whole`.

    Raises:
        UsageError: The text is neither.
    """
    if text == "whole":
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"invalid window `{text}`", hint="give `--window` a number of tokens, or `whole`"
        ) from None


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Parse a shard such as `1/4`.

    Raises:
        UsageError: The text is not two numbers with a slash between them.
    """
    if text is None:
        return None
    first, slash, step = text.partition("/")
    if not (slash and first.isdecimal() and step.isdecimal()):
        raise UsageError(f"invalid shard `{text}`", hint="give `--shard` a part such as `1/4`")
    return int(first), int(step)
