"""`genomeformer pretrain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from genomeformer_cli.commands._options import DeviceOption, JsonOption, ThreadsOption
from genomeformer_cli.core.settings import is_main_process
from genomeformer_cli.core.training.failure_file import has_failure
from genomeformer_cli.render import pretrain_options as o

EXAMPLE = (
    "Example:  genomeformer pretrain --corpus demo --name demo-performer --attention performer"
)


def command(
    *,
    corpus: Annotated[
        str | None, Option(help="Name of a corpus, made by `tokenize`.", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        Option(
            help="Name of the run; the same name and settings again go on with it.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str, Option(help="The configuration to start from; see `--list-presets`.")
    ] = "tiny",
    config: Annotated[
        Path | None,
        Option(help="A TOML file of settings that replace the preset's, as a run's `config.toml`."),
    ] = None,
    list_presets: Annotated[
        bool, Option("--list-presets", help="Show the presets and stop.")
    ] = False,
    attention: o.AttentionOption = None,
    seq_len: o.SeqLenOption = None,
    objective: o.ObjectiveOption = None,
    patch: o.PatchOption = None,
    origin: o.FromOption = None,
    steps: o.StepsOption = None,
    batch_size: o.BatchSizeOption = None,
    tokens_per_step: o.TokensPerStepOption = None,
    pack: o.PackOption = None,
    learning_rate: o.LearningRateOption = None,
    schedule: o.ScheduleOption = None,
    optimizer: o.OptimizerOption = None,
    ema: o.EmaOption = None,
    spike_factor: o.SpikeFactorOption = None,
    redraw_every: o.RedrawEveryOption = None,
    mask_rate: o.MaskRateOption = None,
    mask_span: o.MaskSpanOption = None,
    soft_mask_weight: o.SoftMaskWeightOption = None,
    checkpoint_every: o.CheckpointEveryOption = None,
    validate_every: o.ValidateEveryOption = None,
    both_strands: o.BothStrandsOption = None,
    seed: o.SeedOption = None,
    memory: o.MemoryOption = None,
    memory_budget: o.MemoryBudgetOption = None,
    chunk: o.ChunkOption = None,
    dry_run: o.DryRunOption = False,
    precision: o.PrecisionOption = None,
    compiled: o.CompileOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    gpus: o.GpusOption = None,
    processes: o.ProcessesOption = None,
    shard: o.ShardOption = False,
    sequence_parallel: o.SequenceParallelOption = 1,
    restarts: o.RestartsOption = 3,
    tensorboard: o.TensorboardOption = False,
    wandb: o.WandbOption = None,
    watch: o.WatchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pretrain a model by predicting masked bases; the same command again resumes it."""
    options = dict(locals())
    if has_failure():
        raise Exit
    from genomeformer_cli.core.reporting import SilentReporter
    from genomeformer_cli.core.workflows.dry_run import forecast_run
    from genomeformer_cli.core.workflows.launch import launched
    from genomeformer_cli.core.workflows.presets import forecast_presets
    from genomeformer_cli.core.workflows.pretrain import pretrain_model
    from genomeformer_cli.core.workflows.runs import watch_runs
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.plots import draw_loss, draw_runs
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.runs import (
        render_forecast,
        render_presets,
        render_run,
        render_runs,
    )

    if list_presets:
        presets = forecast_presets(reporter=SilentReporter())
        show(presets, render_presets(presets), as_json=as_json)
        raise Exit
    with terminal_reporter() as reporter:
        if watch:
            runs = watch_runs(watch)
            draw_runs(runs, reporter)
            show(runs, render_runs(runs), as_json=as_json)
            raise Exit
        request = o.pretrain_request(options)
        if dry_run:
            forecast = forecast_run(request, reporter=reporter)
            show(forecast, render_forecast(forecast), as_json=as_json)
            raise Exit
        if launched(sys.argv[1:], request.scale):
            raise Exit
        result = pretrain_model(request, reporter=reporter)
        if is_main_process():
            draw_loss(result, reporter)
    if is_main_process():
        show(result, render_run(result), as_json=as_json)
