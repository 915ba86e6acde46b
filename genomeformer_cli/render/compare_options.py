"""The options of `genomeformer compare`, and what is compared by them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from genomeformer_cli.core.configuration import merge_values, setting_paths, unflatten
from genomeformer_cli.core.documents import DocumentError, parse_toml
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.render import pretrain_options

if TYPE_CHECKING:
    from genomeformer_cli.core.training.budget import Budget
    from genomeformer_cli.core.workflows.compare import CompareRequest
    from genomeformer_cli.core.workflows.comparison_folder import Variant

_WHAT, _BUDGET = "What is compared", "Budget of each training"
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18}

CorporaArgument = Annotated[
    list[str] | None,
    Argument(help="Corpora, made by `tokenize`; all is done on each.", show_default=False),
]
ComparisonNameOption = Annotated[
    str | None,
    Option(
        "--name",
        help="Of the comparison; the same name and settings again go on with it. Default: that of "
        "the corpora.",
        show_default=False,
    ),
]
AttentionsOption = Annotated[
    str | None,
    Option(
        "--attention",
        help="Mechanisms, such as `softmax,performer,linear+local`; default: all there are, or "
        "none but the variants.",
        rich_help_panel=_WHAT,
    ),
]
VariantOption = Annotated[
    list[str] | None,
    Option(
        help='A name and in what it differs, such as `"no-conv: --conv-width 0"`: options of '
        "`pretrain`, or any setting of a configuration; may be given several times.",
        rich_help_panel=_WHAT,
        metavar="NAME: OPTIONS",
    ),
]
SeedsOption = Annotated[
    int,
    Option(
        min=1,
        help="Trainings of each, with seeds from `--seed` on: mean and spread.",
        rich_help_panel=_WHAT,
    ),
]
MinutesOption = Annotated[
    float | None,
    Option(
        help="Of training, as measured when it begins; validations are not in it.",
        rich_help_panel=_BUDGET,
    ),
]
TokensOption = Annotated[
    str | None,
    Option(help="Seen in training, such as `2M`.", rich_help_panel=_BUDGET, metavar="NUMBER"),
]
FlopsOption = Annotated[
    str | None,
    Option(
        help="Floating-point operations of training, such as `5e13` or `50T`.",
        rich_help_panel=_BUDGET,
        metavar="NUMBER",
    ),
]


def number(text: str) -> float:
    """A number from `2M`, `5e13`, `1,000`.

    Raises:
        UsageError: It is none.
    """
    plain = text.replace(",", "").replace("_", "").strip()
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([kKmMgGtTpPE]?)", plain)
    if match is None:
        raise UsageError(f"`{text}` is no number", hint="such as `500k`, `2M` or `5e13`")
    return float(match.group(1)) * _UNITS[match.group(2).lower()]


def budget(minutes: float | None, tokens: str | None, flops: str | None) -> Budget:
    """The one budget that is given.

    Raises:
        UsageError: None is, or several are.
    """
    from genomeformer_cli.core.training.budget import Budget

    given = {
        "minutes": minutes,
        "tokens": number(tokens) if tokens is not None else None,
        "flops": number(flops) if flops is not None else None,
    }
    found = [(kind, amount) for kind, amount in given.items() if amount is not None]
    if len(found) != 1:
        raise UsageError(
            "a comparison needs one budget",
            hint="give `--minutes 5`, `--tokens 2M` or `--flops 5e13`",
        )
    ((kind, amount),) = found
    return Budget(kind=kind, amount=amount)  # type: ignore[arg-type]


def variants(attention: str | None, texts: list[str] | None) -> tuple[Variant, ...]:
    """What is compared: mechanisms by name, then variants; none: the whole collection."""
    from genomeformer_cli.core.workflows.comparison_folder import Variant

    names = [name.strip() for name in attention.split(",")] if attention else []
    found = [Variant(name=name, overrides=_of_attention(name)) for name in names]
    return (*found, *(variant(text) for text in texts or ()))


def _of_attention(name: str) -> dict[str, Any]:
    from genomeformer_cli.core.attention.registry import attention_entry

    for one in name.split("+"):
        attention_entry(one)
    return pretrain_options.overrides(_pretrain_defaults() | {"attention": name})


def variant(text: str) -> Variant:
    """A variant from `NAME: --option value ...`.

    Raises:
        UsageError: It has no name, or there is no such option.
    """
    from genomeformer_cli.core.workflows.comparison_folder import Variant

    name, colon, rest = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(
            f"`{text}` is no variant", hint='such as `--variant "no-conv: --conv-width 0"`'
        )
    options = _pretrain_defaults()
    settings: dict[str, Any] = {}
    for flag, value in _flags(rest, text):
        key = _option_names().get(flag)
        if key is not None:
            options[key] = str(value) if key == "seq_len" else value
        else:
            settings[_place(flag, text)] = value
    return Variant(
        name=name.strip(),
        overrides=merge_values(pretrain_options.overrides(options), unflatten(settings)),
    )


def _flags(rest: str, text: str) -> list[tuple[str, Any]]:
    """Flags and their values: `--flag value`, `--flag=value`, `--flag`, `--no-flag`."""
    found: list[tuple[str, Any]] = []
    words = shlex.split(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise UsageError(
                f"`{word}` of the variant `{text}` is no option", hint="options begin with `--`"
            )
        flag, equals, value = word.removeprefix("--").partition("=")
        if equals:
            found.append((flag, _value(value)))
        elif words and not words[0].startswith("--"):
            found.append((flag, _value(words.pop(0))))
        elif flag.startswith("no-"):
            found.append((flag.removeprefix("no-"), False))
        else:
            found.append((flag, True))
    return found


def _value(text: str) -> Any:
    """A value as TOML has it, or a word."""
    try:
        return parse_toml(f"value = {text}", source="--set")["value"]
    except DocumentError:
        return text


def _place(flag: str, text: str) -> str:
    """The setting that a flag means: its whole place, or its last name if that is one's alone."""
    from genomeformer_cli.core.training.presets import PretrainConfig

    key = flag.replace("-", "_")
    found = [one for one in setting_paths(PretrainConfig) if key in (one, one.rpartition(".")[2])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"`--{flag}` of the variant `{text}` could be any of several settings",
            hint="name one of " + ", ".join(f"`--{one}`" for one in found),
        )
    raise UsageError(
        f"there is no setting `--{flag}` for the variant `{text}`",
        hint="options of `pretrain`, or settings such as `--conv-width` or `--model.width`",
    )


def _pretrain_defaults() -> dict[str, Any]:
    """No option of `pretrain` given."""
    return dict.fromkeys(_option_names().values())


def _option_names() -> dict[str, str]:
    """Flags of `pretrain` that stand in a configuration, by their spelling, without `--`."""
    special = {"compile": "compiled"}
    names = (*pretrain_options.PLACES, "seq_len", "objective", "pack")
    spelled = {name.replace("_", "-"): name for name in names if name != "compiled"}
    return spelled | special


def compare_request(options: Mapping[str, Any]) -> CompareRequest:
    """The request that the options of the command make.

    Raises:
        UsageError: One of them cannot be, or is missing.
    """
    from genomeformer_cli.core.workflows.compare import CompareRequest

    corpora = tuple(options["corpora"] or ())
    if not corpora:
        raise UsageError("a corpus is needed", hint="genomeformer compare demo --tokens 500k")
    shared = _pretrain_defaults() | {
        name: value for name, value in options.items() if name in _option_names().values()
    }
    return CompareRequest(
        corpora=corpora,
        name=options["name"] or "-".join(corpora),
        budget=budget(options["minutes"], options["tokens"], options["flops"]),
        variants=variants(options["attentions"], options["variant"]),
        seeds=options["seeds"],
        preset=options["preset"],
        config_file=options["config"],
        overrides=pretrain_options.overrides(shared),
        device=options["device"],
        threads=options["threads"],
    )
