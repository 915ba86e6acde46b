"""`genomeformer compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from genomeformer_cli.commands._options import DeviceOption, JsonOption, ThreadsOption
from genomeformer_cli.render import compare_options as o
from genomeformer_cli.render import pretrain_options as p

EXAMPLE = "Example:  genomeformer compare demo --attention softmax,performer,linear --minutes 5"


def command(
    corpora: o.CorporaArgument = None,
    *,
    name: o.ComparisonNameOption = None,
    attentions: o.AttentionsOption = None,
    variant: o.VariantOption = None,
    seeds: o.SeedsOption = 1,
    minutes: o.MinutesOption = None,
    tokens: o.TokensOption = None,
    flops: o.FlopsOption = None,
    preset: Annotated[
        str, Option(help="The configuration to start from; see `pretrain --list-presets`.")
    ] = "tiny",
    config: Annotated[
        Path | None, Option(help="A TOML file whose settings replace the preset's.")
    ] = None,
    seq_len: p.SeqLenOption = None,
    objective: p.ObjectiveOption = None,
    batch_size: p.BatchSizeOption = None,
    learning_rate: p.LearningRateOption = None,
    seed: p.SeedOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train several on your genome under one budget, and see what each is worth; resumable."""
    options = dict(locals())
    from genomeformer_cli.core.workflows.compare import compare_models
    from genomeformer_cli.render.comparison import (
        check_all_ended,
        draw_comparison,
        render_comparison,
    )
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter

    request = o.compare_request(options)
    with terminal_reporter() as reporter:
        result = compare_models(request, reporter=reporter)
        draw_comparison(result, reporter)
    show(result, render_comparison(result), as_json=as_json)
    check_all_ended(result)
