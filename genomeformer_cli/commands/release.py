"""`genomeformer release`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from genomeformer_cli.ui.options import JsonOption

EXAMPLE = "Example:  genomeformer release demo-performer --name gf-performer-char-1m -o bundle/"


def command(
    run: Annotated[str, Argument(help="Name of a finished run.")],
    *,
    name: Annotated[
        str | None,
        Option(help="Name of the released model; default: the run's.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, Option("-o", "--output", help="Also write the bundle to this folder.")
    ] = None,
    replace: Annotated[
        bool, Option("--replace", help="Replace a released model of the same name in the cache.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Release a run: weights, tokenizer, model card and checksums, read back and compared."""
    from genomeformer_cli.core.workflows.release import ReleaseRequest, release_run
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.progress import terminal_reporter
    from genomeformer_cli.ui.results import release_table

    request = ReleaseRequest(run=run, name=name, output=output, replace=replace)
    with terminal_reporter() as reporter:
        result = release_run(request, reporter=reporter)
    show(result, release_table(result), as_json=as_json)
