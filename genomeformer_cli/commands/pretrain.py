"""`genomeformer pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.ui import pretrain_options as o
from genomeformer_cli.ui.options import DeviceOption, JsonOption, ThreadsOption

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
        Option(
            help="A TOML file whose settings replace the preset's, such as a run's `config.toml`."
        ),
    ] = None,
    list_presets: Annotated[
        bool, Option("--list-presets", help="Show the presets and stop.")
    ] = False,
    attention: o.AttentionOption = None,
    seq_len: o.SeqLenOption = None,
    objective: o.ObjectiveOption = None,
    steps: o.StepsOption = None,
    batch_size: o.BatchSizeOption = None,
    learning_rate: o.LearningRateOption = None,
    schedule: o.ScheduleOption = None,
    mask_rate: o.MaskRateOption = None,
    soft_mask_weight: o.SoftMaskWeightOption = None,
    checkpoint_every: o.CheckpointEveryOption = None,
    validate_every: o.ValidateEveryOption = None,
    seed: o.SeedOption = None,
    memory: o.MemoryOption = None,
    memory_budget: o.MemoryBudgetOption = None,
    chunk: o.ChunkOption = None,
    dry_run: o.DryRunOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pretrain a model by predicting masked bases; the same command again resumes it."""
    from genomeformer_cli.core.workflows.dry_run import forecast_run
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest, pretrain_model
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.plots import can_plot, plot_loss
    from genomeformer_cli.ui.progress import terminal_reporter
    from genomeformer_cli.ui.results import forecast_table, presets_table, run_table

    if list_presets:
        from genomeformer_cli.core.presets.pretrain import PRESETS

        configs = {preset_name: build() for preset_name, build in PRESETS.items()}
        show(configs, presets_table(configs), as_json=as_json)
        raise Exit
    if corpus is None or (name is None and not dry_run):
        raise UsageError(
            "`--corpus` and `--name` are needed", hint=EXAMPLE.removeprefix("Example:  ")
        )
    training = o.given(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        seed=seed,
    )
    model = o.given(
        context=seq_len,
        attention=o.given(name=attention),
        direction=o.direction(objective),
    )
    request = PretrainRequest(
        corpus=corpus,
        name=name or "dry-run",
        preset=preset,
        config_file=config,
        overrides={
            "model": model,
            "masking": o.given(rate=mask_rate, soft_mask_weight=soft_mask_weight),
            "training": training,
            "memory": o.given(plan=memory, chunk=chunk),
        },
        device=device,
        threads=threads,
        memory_budget=o.bytes_of(memory_budget),
    )
    if dry_run:
        with terminal_reporter() as reporter:
            forecast = forecast_run(request, reporter=reporter)
        show(forecast, forecast_table(forecast), as_json=as_json)
        raise Exit
    with terminal_reporter() as reporter:
        result = pretrain_model(request, reporter=reporter)
        if can_plot():
            reporter.note(f"picture: {plot_loss(result)}")
        else:
            reporter.note("no picture of the loss: install `genomeformer[plots]` to have one")
    show(result, run_table(result), as_json=as_json)
