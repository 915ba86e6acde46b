"""`genomeformer embed`."""

from __future__ import annotations

import sys

from genomeformer_cli.commands._options import DeviceOption, JsonOption, ModelOption, ThreadsOption
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.render import embed_options as options

EXAMPLE = (
    "Example:  genomeformer embed promoters.fa --model demo-performer --ids ids.txt > promoters.npy"
)


def command(
    sources: options.SourcesArgument = None,
    *,
    model: ModelOption = None,
    genome: options.GenomeOption = None,
    bed: options.BedOption = None,
    vcf: options.VcfOption = None,
    flank: options.FlankOption = 100,
    shard: options.ShardOption = None,
    strict: options.StrictOption = False,
    output: options.OutputOption = None,
    ids: options.IdsOption = None,
    dtype: options.DtypeOption = "float32",
    resume: options.ResumeOption = False,
    pool: options.PoolOption = "mean",
    include: options.IncludeOption = "pooled",
    layers: options.LayersOption = "auto",
    rc: options.RcOption = "none",
    window: options.WindowOption = None,
    stride: options.StrideOption = None,
    toks_per_batch: options.BatchOption = "auto",
    jobs: options.JobsOption = 1,
    gpus: options.GpusOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    plot: options.PlotOption = None,
    plot_method: options.PlotMethodOption = "pca",
    color_by: options.ColorByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn sequences into vectors, in input order: a float32 .npy array, one row a record."""
    if output is None and as_json:
        raise UsageError(
            "standard output cannot hold both the array and JSON",
            hint="give the array a file with `-o`",
        )
    if output is None and sys.stdout.isatty():
        raise UsageError(
            "an array would garble the terminal",
            hint="redirect it, as in `> vectors.npy`, or give `-o`",
        )
    from genomeformer_cli.core.embedding.options import EmbedOptions
    from genomeformer_cli.core.workflows.embed import EmbedRequest, embed_sequences
    from genomeformer_cli.core.workflows.embed_sources import EmbedSources
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.plots import check_plane_options, draw_plane, read_colors
    from genomeformer_cli.render.progress import terminal_reporter

    check_plane_options(plot, color_by)
    colors = read_colors(color_by)
    request = EmbedRequest(
        sources=EmbedSources(
            files=tuple(sources or ()),
            genome=genome,
            bed=bed,
            vcf=vcf,
            flank=flank,
            shard=options.shard_from_text(shard),
        ),
        model=model,
        choices=EmbedOptions(
            pool="none" if include == "per-base" else pool,  # type: ignore[arg-type]
            layers=layers,
            rc=rc,
            window=options.window_from_text(window),
            stride=stride,
            tokens_per_batch=options.batch_from_text(toks_per_batch),
        ),
        output=output,
        ids=ids,
        dtype=dtype,
        jobs=jobs,
        gpus=gpus,
        device=device,
        threads=threads,
        strict=strict,
        resume=resume,
        plane=plot_method if plot else None,
    )
    with terminal_reporter() as reporter:
        result = embed_sequences(request, reporter=reporter, stream=sys.stdout.buffer)
        if plot is not None and result.plane is not None:
            draw_plane(result.plane, result.ids, plot, colors, reporter)
    if output is None:
        return
    text = f"{output}: {result.rows} rows of {result.width}"
    shown = {
        "output": output,
        "rows": result.rows,
        "width": result.width,
        "model": result.model,
    }
    show(shown, text, as_json=as_json)
