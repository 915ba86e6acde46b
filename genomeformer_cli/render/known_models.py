"""Known models of other authors, as a table, a page, and lines of facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.core.known_models import KnownFamily, KnownModel, known_families
from genomeformer_cli.core.tables import Table, markdown_table

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.models import Verification

UNKNOWN = "unknown"
_MILLION, _BILLION = 10**6, 10**9
_NOTES = (
    "`context` counts tokens, `bases` the bases of the longest window. `unknown` facts are in no "
    "source that was read.",
    "`code`: the port has the numbers of the authors' code for tiny models with random weights; "
    "`genomeformer models NAME` names that code.",
)


def models_table(models: Sequence[KnownModel]) -> Table:
    """Return the table of models, one row per model."""
    return Table(
        headings=(
            *("model", "family", "parameters", "tokens", "context", "bases", "licence"),
            *("pooling", "layers", "verified"),
        ),
        rows=tuple(
            (
                model.address,
                model.family or "-",
                format_parameters(model.parameters),
                model.tokens or UNKNOWN,
                _number(model.context),
                _number(model.bases),
                model.licence or UNKNOWN,
                model.pool or "-",
                model.layers or "-",
                _status(model),
            )
            for model in models
        ),
    )


def _status(model: KnownModel) -> str:
    if model.refused is not None:
        return f"not read: {model.refused}"
    return "code and weights" if model.checksum else "code"


def render_models(models: Sequence[KnownModel]) -> RenderableType:
    """Return one line per model: the facts that a choice needs."""
    width = max(len(model.address) for model in models)
    longest = max(len(model.family or "-") for model in models)
    lines = [
        f"{model.address:<{width}}  {model.family or '-':<{longest}}  "
        f"{format_parameters(model.parameters):>7}  {_number(model.context):>9} tokens  "
        f"{_number(model.bases):>9} bases  {model.licence or UNKNOWN:<15}  {_status(model)}"
        for model in models
    ]
    return Group(*(Text(line, no_wrap=True, overflow="ignore") for line in lines))


def models_page(models: Sequence[KnownModel]) -> str:
    """Return the tables of families and models as a Markdown page."""
    return "\n\n".join(
        [
            "# Known models",
            "## Families",
            markdown_table(families_table(known_families())),
            "## Models",
            markdown_table(models_table(models)),
            *_NOTES,
        ]
    )


def families_table(families: Mapping[str, KnownFamily]) -> Table:
    """Return the table of families: tokens, letters, and the code that they were checked with."""
    return Table(
        headings=(
            *("family", "models of", "tokens", "letters that the authors read otherwise"),
            "numbers equal to those of",
        ),
        rows=tuple(
            (
                name,
                family.title,
                family.tokens,
                family.letters or "-",
                "; ".join(family.verified),
            )
            for name, family in families.items()
        ),
    )


def render_model(model: KnownModel) -> RenderableType:
    """Return one line per fact."""
    facts = {
        "model": model.address,
        "family": model.family or "-",
        "parameters": format_parameters(model.parameters),
        "tokens": model.tokens or UNKNOWN,
        "context": f"{_number(model.context)} tokens, {_number(model.bases)} bases",
        "licence": model.licence or UNKNOWN,
        "weights": model.weights or UNKNOWN,
        "embedding": f"--set rows.layers={model.layers} --pool {model.pool}"
        if model.family
        else "-",
        "verified": "; ".join(model.verified) or "-",
        "checksum": model.checksum or "not recorded; see `--verify`",
        "letters": model.letters,
        "note": model.note,
        "not read": model.refused,
        "sources": ", ".join(model.sources),
    }
    lines = [f"{name:<10}  {text}" for name, text in facts.items() if text is not None]
    return Group(*(Text(line, overflow="fold") for line in lines))


def render_verification(verification: Verification) -> RenderableType:
    """Return the checksum and its comparison with the recorded one."""
    states = {
        None: "not recorded: compare with another machine, or with the authors' code",
        True: "equal to the recorded one",
        False: f"differs from the recorded one, {verification.recorded}",
    }
    numbers = verification.result.features[0]
    lines = [
        f"model     {verification.model}",
        f"checksum  {verification.result.checksum}",
        f"recorded  {states[verification.agrees]}",
        f"numbers   {' '.join(map(str, numbers))} ... (all with `--json`)",
    ]
    return Group(*(Text(line, no_wrap=True, overflow="ignore") for line in lines))


def format_parameters(number: int | None) -> str:
    """Return a number of parameters, such as `117 M`."""
    if number is None:
        return UNKNOWN
    amount, unit = (number / _BILLION, "B") if number >= _BILLION else (number / _MILLION, "M")
    return f"{amount:.3g} {unit}"


def _number(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"
