"""`genomeformer compare`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from genomeformer_cli.commands._completion import (
    complete_attentions,
    complete_comparisons,
    complete_corpora,
    complete_variants,
)
from genomeformer_cli.commands._options import (
    ATTENTION_HELP,
    NAME_HELP,
    SEEDS_HELP,
    TRAINING_PLACES,
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
    parse_context,
    parse_objective,
    show_settings,
    training_settings,
)
from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.training.budget import Budget
    from genomeformer_cli.core.workflows.compare_folder import Variant

EXAMPLE = "Example:  genomeformer compare demo --attention softmax,performer,linear --minutes 5"
_VARIANTS, _BUDGET = "Variants", "Budget of each training"
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18}


def command(
    ctx: Context,
    corpora: Annotated[
        list[str] | None,
        Argument(
            help="Corpora, made by `tokenize`; each is compared.",
            autocompletion=complete_corpora,
            show_default=False,
        ),
    ] = None,
    *,
    name: Annotated[
        str | None,
        Option(
            help=f"{NAME_HELP} The same name and settings again resume the comparison. Default: "
            "the names of the corpora.",
            autocompletion=complete_comparisons,
            show_default=False,
        ),
    ] = None,
    attentions: Annotated[
        str | None,
        Option(
            "--attention",
            help=ATTENTION_HELP,
            autocompletion=complete_attentions,
            rich_help_panel=_VARIANTS,
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        Option(
            help="Settings in which a variant differs, such as "
            "`attention=local,model.attention.window=64`, with a name before them if wanted: "
            '`"no-conv: model.conv_width=0"`; may be repeated.',
            rich_help_panel=_VARIANTS,
            metavar="[NAME:] KEY=VALUE,...",
            autocompletion=complete_variants,
        ),
    ] = None,
    seeds: Annotated[int, Option(min=1, help=SEEDS_HELP, rich_help_panel=_VARIANTS)] = 1,
    minutes: Annotated[
        float | None,
        Option(
            help="Minutes of training, by the speed measured at its start, without validations.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        Option(help="Training tokens, such as `2M`.", rich_help_panel=_BUDGET, metavar="NUMBER"),
    ] = None,
    flops: Annotated[
        str | None,
        Option(
            help="Floating-point operations of training, such as `5e13` or `50T`.",
            rich_help_panel=_BUDGET,
            metavar="NUMBER",
        ),
    ] = None,
    preset: PresetOption = "tiny",
    config: ConfigOption = None,
    settings: SetOption = None,
    show_config: ShowConfigOption = False,
    context: ContextOption = None,
    objective: ObjectiveOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate: LearningRateOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train several models on a genome under one budget and compare them; resumable."""
    from genomeformer_cli.core.config_text import combine_settings
    from genomeformer_cli.core.training.presets import PretrainConfig
    from genomeformer_cli.core.workflows.compare import CompareRequest, compare_models
    from genomeformer_cli.core.workflows.run_config import resolve_config
    from genomeformer_cli.render.comparison import (
        check_all_ended,
        draw_comparison,
        render_comparison,
    )
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter

    # Options that are settings are read from the context: only those that were given count.
    overrides = combine_settings(PretrainConfig, settings or [], training_settings(ctx))
    if show_config:
        resolved = resolve_config(preset, config, overrides, None)
        return show_settings(resolved, as_json=as_json)
    if not corpora:
        raise UsageError("no corpus is given", hint="genomeformer compare demo --tokens 500k")
    request = CompareRequest(
        corpora=tuple(corpora),
        name=name or "-".join(corpora),
        budget=parse_budget(minutes, tokens, flops),
        variants=(*parse_mechanisms(attentions), *map(parse_variant, variant or ())),
        seeds=seeds,
        preset=preset,
        config_file=config,
        overrides=overrides,
        device=device,
        threads=threads,
    )
    with terminal_reporter() as reporter:
        result = compare_models(request, reporter=reporter)
        draw_comparison(result, reporter)
    show(result, render_comparison(result), as_json=as_json)
    return check_all_ended(result)


def parse_number(text: str) -> float:
    """Parse a number such as `2M`, `5e13`, `1,000`.

    Raises:
        UsageError: The text is not a number.
    """
    plain = text.replace(",", "").replace("_", "").strip()
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([kKmMgGtTpPE]?)", plain)
    if match is None:
        raise UsageError(f"invalid number `{text}`", hint="such as `500k`, `2M` or `5e13`")
    return float(match.group(1)) * _UNITS[match.group(2).lower()]


def parse_budget(minutes: float | None, tokens: str | None, flops: str | None) -> Budget:
    """Return the budget of each training.

    Raises:
        UsageError: None or several are given, or one is not a number.
    """
    from genomeformer_cli.core.training.budget import Budget

    amounts = {
        "minutes": minutes,
        "tokens": None if tokens is None else parse_number(tokens),
        "flops": None if flops is None else parse_number(flops),
    }
    budgets = [
        Budget(kind=kind, amount=amount)  # type: ignore[arg-type]
        for kind, amount in amounts.items()
        if amount is not None
    ]
    if len(budgets) != 1:
        raise UsageError(
            "a comparison needs one budget",
            hint="give `--minutes 5`, `--tokens 2M` or `--flops 5e13`",
        )
    return budgets[0]


def parse_mechanisms(text: str | None) -> list[Variant]:
    """Return one variant per mechanism of a list such as `softmax,linear+local`.

    Raises:
        ConfigError: A mechanism is unknown.
    """
    from genomeformer_cli.core.attention.registry import attention_entry
    from genomeformer_cli.core.workflows.compare_folder import Variant

    variants = []
    for name in [part.strip() for part in text.split(",")] if text else []:
        for mechanism in name.split("+"):
            attention_entry(mechanism)
        variants.append(Variant(name=name, overrides={"model": {"attention": {"name": name}}}))
    return variants


def parse_variant(text: str) -> Variant:
    """Parse a variant such as `no-conv: model.conv_width=0`, or settings without a name.

    Keys are settings of a configuration, or options of `pretrain` such as `attention`.

    Raises:
        UsageError: The text has no settings, or one of them is unknown.
    """
    from genomeformer_cli.core.training.presets import PretrainConfig
    from genomeformer_cli.core.workflows.compare_folder import Variant

    match = re.fullmatch(r"\s*(?:([^=,:]+):)?(.*)", text, re.DOTALL)
    assert match is not None
    name, rest = (match[1] or "").strip(), match[2].strip()
    # A comma inside a value is not followed by another key.
    assignments = [part for part in re.split(r",(?=\s*[\w.]+\s*=)", rest) if part.strip()]
    if rest.startswith("--") or not (name or assignments):
        raise UsageError(
            f"invalid variant `{text}`",
            hint='write settings, such as `--variant "no-conv: model.conv_width=0"`',
        )
    from genomeformer_cli.core.config_text import parse_settings
    from genomeformer_cli.core.configuration import merge_values

    words = {
        word: place for word, place in TRAINING_PLACES.items() if not place.startswith("parallel.")
    }
    overrides: dict[str, Any] = {}
    plain = []
    for assignment in assignments:
        key, equals, value = (part.strip() for part in assignment.partition("="))
        if equals and key == "context":
            overrides = merge_values(overrides, parse_context(value))
        elif equals and key == "objective":
            overrides = merge_values(overrides, parse_objective(value))
        else:
            plain.append(assignment)
    settings = parse_settings(plain, PretrainConfig, words=words, source="--variant")
    return Variant(name=name or _name_of(assignments), overrides=merge_values(overrides, settings))


def _name_of(assignments: list[str]) -> str:
    """Return a name such as `attention-local-window-64` for settings without one."""
    pairs = (assignment.partition("=") for assignment in assignments)
    text = "-".join(f"{key.strip().rpartition('.')[2]}-{value.strip()}" for key, _, value in pairs)
    return re.sub(r"[^\w.+-]+", "-", text)
