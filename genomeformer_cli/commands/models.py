"""`genomeformer models`."""

from __future__ import annotations

import sys
from typing import Annotated

from typer import Argument, Exit, Option

from genomeformer_cli.commands._completion import complete_known_models, complete_models
from genomeformer_cli.commands._options import JsonOption
from genomeformer_cli.core.errors import UsageError

EXAMPLE = "Example:  genomeformer models DNABERT-2-117M"


def command(
    name: Annotated[
        str | None,
        Argument(
            help="Only this model, with or without its owner, or the models of this family.",
            autocompletion=complete_known_models,
            show_default=False,
        ),
    ] = None,
    *,
    verify: Annotated[
        str | None,
        Option(
            help="Model to verify. Its numbers are compared with the recorded checksum.",
            metavar="MODEL",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    markdown: Annotated[
        bool, Option("--markdown", help="Print the table as a Markdown page.")
    ] = False,
    suites: Annotated[
        bool,
        Option(
            "--suites",
            help="List the published suites of tasks that `evaluate` reads, and their rules.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models of other authors or the suites that are read, or check one model."""
    from genomeformer_cli.core.known_models import (
        family_models,
        find_known_model,
        known_models,
    )
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.known_models import models_page, render_model, render_models

    if sum((name is not None, verify is not None, markdown, suites)) > 1:
        raise UsageError(
            "a name, `--verify`, `--markdown` and `--suites` exclude each other",
            hint="give one of them",
        )
    if suites:
        _list_suites(as_json=as_json)
    elif verify is not None:
        _verify(verify, as_json=as_json)
    elif name is not None and (models := family_models(name)):
        show(models, render_models(models), as_json=as_json)
    elif name is not None:
        model = find_known_model(name)
        show(model, render_model(model), as_json=as_json)
    elif markdown and not as_json:
        sys.stdout.write(models_page(known_models()) + "\n")
    else:
        show(known_models(), render_models(known_models()), as_json=as_json)


def _verify(model: str, *, as_json: bool) -> None:
    from genomeformer_cli.core.workflows.models import VerifyRequest, verify_model
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.known_models import render_verification
    from genomeformer_cli.render.progress import terminal_reporter

    with terminal_reporter() as reporter:
        verification = verify_model(VerifyRequest(model=model), reporter=reporter)
    show(verification, render_verification(verification), as_json=as_json)
    if verification.agrees is False:
        raise Exit(1)


def _list_suites(*, as_json: bool) -> None:
    from genomeformer_cli.core.known_suites import known_suites
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.known_suites import render_suites

    show(known_suites(), render_suites(known_suites()), as_json=as_json)
