"""`genomeformer pretrain`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

from typer import Context, Exit, Option

from genomeformer_cli.commands._completion import (
    complete_attentions,
    complete_corpora,
    complete_models,
    complete_runs,
)
from genomeformer_cli.commands._options import (
    ATTENTION_HELP,
    CORPUS_HELP,
    DRY_RUN_HELP,
    NAME_HELP,
    BatchSizeOption,
    ConfigOption,
    ContextOption,
    DeviceOption,
    JsonOption,
    LearningRateOption,
    ObjectiveOption,
    PresetOption,
    SeedOption,
    SetOption,
    ShowConfigOption,
    ThreadsOption,
    show_settings,
    training_settings,
)
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.settings import is_main_process

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest

EXAMPLE = (
    "Example:  genomeformer pretrain --corpus demo --name demo-performer --attention performer"
)
_MODEL, _TRAINING, _MEMORY = "Model", "Training", "Memory"
_COMPUTE, _WATCHING = "Compute", "Watching"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def command(
    ctx: Context,
    *,
    corpus: Annotated[
        str | None, Option(help=CORPUS_HELP, autocompletion=complete_corpora, show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        Option(
            help=f"{NAME_HELP} The same name and settings again resume the run.",
            autocompletion=complete_runs,
            show_default=False,
        ),
    ] = None,
    preset: PresetOption = "tiny",
    list_presets: Annotated[
        bool, Option("--list-presets", help="Print the presets and stop.")
    ] = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    show_config: ShowConfigOption = False,
    attention: Annotated[
        str | None,
        Option(help=ATTENTION_HELP, autocompletion=complete_attentions, rich_help_panel=_MODEL),
    ] = None,
    context: ContextOption = None,
    objective: ObjectiveOption = None,
    origin: Annotated[
        str | None,
        Option(
            "--from",
            help="Start from the weights of this run, bundle or released model, and its "
            "architecture.",
            rich_help_panel=_MODEL,
            metavar="MODEL",
            autocompletion=complete_models,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        Option(
            help="Model to learn from, of any architecture: its probabilities of bases, and with "
            "`--set teacher.features=WEIGHT` its features.",
            rich_help_panel=_TRAINING,
            metavar="MODEL",
            autocompletion=complete_models,
        ),
    ] = None,
    mix: Annotated[
        list[str] | None,
        Option(
            help="Share of the training windows of a group: a genome, a record, a prefix of record "
            "ids before `|`, an organism or taxon, `rest`, or windows around annotated places "
            "(`promoter`, `terminator`, `cds-start`, `CLASS:GROUP`). May be repeated; shares are "
            "normalised.",
            rich_help_panel=_TRAINING,
            metavar="NAME=SHARE",
        ),
    ] = None,
    steps: Annotated[int | None, Option(help="Optimizer steps.", rich_help_panel=_TRAINING)] = None,
    batch_size: BatchSizeOption = None,
    learning_rate: LearningRateOption = None,
    seed: SeedOption = None,
    memory: Annotated[
        str | None,
        Option(
            help="Computation of the gradients, all exact: `full`, `checkpoint`, `two-sweep`, "
            "`slim`; `reversible` and `two-stack` are architectures too; `auto`: the fastest "
            "that fits.",
            rich_help_panel=_MEMORY,
        ),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help=DRY_RUN_HELP, rich_help_panel=_MEMORY)
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    gpus: Annotated[
        int | None,
        Option(
            help="GPUs of this machine, one process each; 0: the CPU.", rich_help_panel=_COMPUTE
        ),
    ] = None,
    watch: Annotated[
        list[str] | None,
        Option(
            help="Print the progress of these runs side by side and stop; may be repeated.",
            rich_help_panel=_WATCHING,
            metavar="RUN",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pretrain a model by predicting masked bases; the same command again resumes it."""
    from genomeformer_cli.core.config_text import combine_settings
    from genomeformer_cli.core.configuration import merge_values
    from genomeformer_cli.core.training.failure_file import has_failure
    from genomeformer_cli.core.training.presets import PretrainSettings
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest
    from genomeformer_cli.core.workflows.pretrain_dry_run import forecast_run, pretrain_settings
    from genomeformer_cli.core.workflows.run_config import resolve_execution
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.runs import render_forecast

    if has_failure():
        raise Exit
    if list_presets:
        return _show_presets(as_json=as_json)
    if watch:
        return _show_runs(watch, as_json=as_json)
    # Options that are settings are read from the context: only those that were given count.
    options = merge_values(training_settings(ctx), parse_mix(mix or []))
    overrides = combine_settings(PretrainSettings, settings or [], options)
    parallel, logging = resolve_execution(config, overrides)
    if not show_config and (corpus is None or (name is None and not dry_run)):
        raise UsageError(
            "`--corpus` or `--name` is missing",
            hint="genomeformer pretrain --corpus demo --name demo-performer",
        )
    request = PretrainRequest(
        corpus=corpus or "",
        name=name or "dry-run",
        preset=preset,
        config_file=config,
        overrides=overrides,
        device=device,
        threads=threads,
        memory_budget=parse_size(parallel.memory_budget),
        origin=origin,
        parallel=parallel,
        logging=logging,
    )
    if not (show_config or dry_run):
        return _train(request, as_json=as_json)
    with terminal_reporter() as reporter:
        if show_config:
            resolved = pretrain_settings(request, reporter=reporter)
            return show_settings(resolved, as_json=as_json)
        forecast = forecast_run(request, reporter=reporter)
    return show(forecast, render_forecast(forecast), as_json=as_json)


def _show_presets(*, as_json: bool) -> None:
    from genomeformer_cli.core.reporting import SilentReporter
    from genomeformer_cli.core.workflows.pretrain_presets import forecast_presets
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.runs import render_presets

    presets = forecast_presets(reporter=SilentReporter())
    show(presets, render_presets(presets), as_json=as_json)


def _show_runs(names: list[str], *, as_json: bool) -> None:
    from genomeformer_cli.core.workflows.run_status import watch_runs
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.plots import plot_runs
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.runs import render_runs

    with terminal_reporter() as reporter:
        runs = watch_runs(names)
        reporter.note(f"picture: {plot_runs(runs)}")
    show(runs, render_runs(runs), as_json=as_json)


def _train(request: PretrainRequest, *, as_json: bool) -> None:
    from genomeformer_cli.core.workflows.launch import launch_processes
    from genomeformer_cli.core.workflows.pretrain import pretrain_model
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.plots import plot_loss
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.runs import render_run

    with terminal_reporter() as reporter:
        if launch_processes(sys.argv[1:], request, reporter):
            return
        result = pretrain_model(request, reporter=reporter)
        if is_main_process():
            reporter.note(f"picture: {plot_loss(result)}")
    if is_main_process():
        show(result, render_run(result), as_json=as_json)


def parse_mix(texts: list[str]) -> dict[str, Any]:
    """Return the settings of a mixture from texts such as `human=0.5`.

    Raises:
        UsageError: A text is not a name and a positive number, or a name occurs twice.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, _, number = (part.strip() for part in text.rpartition("="))
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not name or not 0 < share < float("inf"):
            raise UsageError(
                f"`--mix {text}` is not a name and a positive number",
                hint="such as `--mix human=2 --mix bacteria=1`",
            )
        if name in shares:
            raise UsageError(f"`--mix` names `{name}` twice", hint="give each group one share")
        shares[name] = share
    return {"sampling": {"mix": shares}} if shares else {}


def parse_size(text: str | None) -> int | None:
    """Parse a number of bytes such as `20GiB`, `8G`, `500 MB`.

    Raises:
        UsageError: The text is not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"invalid memory size `{text}`", hint="such as `20GiB` or `8G`")
    number, unit, binary = match.groups()
    power = "kmgt".find(unit.lower()) + 1 if unit else 0
    return int(float(number) * (1024**power if binary else _UNITS[unit.lower()]))
