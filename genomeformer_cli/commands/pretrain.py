"""`genomeformer pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Exit, Option

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.ui.options import DeviceOption, JsonOption, ThreadsOption

EXAMPLE = (
    "Example:  genomeformer pretrain --corpus demo --name demo-performer --attention performer"
)
_MODEL = "Model"
_TRAINING = "Training"


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
    attention: Annotated[
        str | None,
        Option(
            help="Mechanism, such as `softmax` or `performer`; an unknown name lists all.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    seq_len: Annotated[
        int | None, Option(help="Bases in a training window.", rich_help_panel=_MODEL)
    ] = None,
    steps: Annotated[int | None, Option(help="Optimizer steps.", rich_help_panel=_TRAINING)] = None,
    batch_size: Annotated[
        int | None, Option(help="Windows a step.", rich_help_panel=_TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, Option(help="Peak learning rate.", rich_help_panel=_TRAINING)
    ] = None,
    schedule: Annotated[
        str | None, Option(help="`wsd` or `cosine`.", rich_help_panel=_TRAINING)
    ] = None,
    mask_rate: Annotated[
        float | None, Option(help="Part of the bases to predict.", rich_help_panel=_TRAINING)
    ] = None,
    soft_mask_weight: Annotated[
        float | None,
        Option(help="Weight of the loss at lower-case bases.", rich_help_panel=_TRAINING),
    ] = None,
    checkpoint_every: Annotated[
        int | None, Option(help="Steps between checkpoints.", rich_help_panel=_TRAINING)
    ] = None,
    validate_every: Annotated[
        int | None, Option(help="Steps between validations.", rich_help_panel=_TRAINING)
    ] = None,
    seed: Annotated[
        int | None,
        Option(help="Of weights, data order, masks and strands.", rich_help_panel=_TRAINING),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pretrain a model by predicting masked bases; the same command again resumes it."""
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest, pretrain_model
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.plots import can_plot, plot_loss
    from genomeformer_cli.ui.progress import terminal_reporter
    from genomeformer_cli.ui.results import presets_table, run_table

    if list_presets:
        from genomeformer_cli.core.presets.pretrain import PRESETS

        configs = {preset_name: build() for preset_name, build in PRESETS.items()}
        show(configs, presets_table(configs), as_json=as_json)
        raise Exit
    if corpus is None or name is None:
        raise UsageError(
            "`--corpus` and `--name` are needed", hint=EXAMPLE.removeprefix("Example:  ")
        )
    training = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "checkpoint_every": checkpoint_every,
        "validate_every": validate_every,
        "seed": seed,
    }
    overrides: dict[str, Any] = {
        "model": _given({"context": seq_len, "attention": _given({"name": attention})}),
        "masking": _given({"rate": mask_rate, "soft_mask_weight": soft_mask_weight}),
        "training": _given(training),
    }
    request = PretrainRequest(
        corpus=corpus,
        name=name,
        preset=preset,
        config_file=config,
        overrides=overrides,
        device=device,
        threads=threads,
    )
    with terminal_reporter() as reporter:
        result = pretrain_model(request, reporter=reporter)
        if can_plot():
            reporter.note(f"picture: {plot_loss(result)}")
        else:
            reporter.note("no picture of the loss: install `genomeformer[plots]` to have one")
    show(result, run_table(result), as_json=as_json)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}
