"""`genomeformer doctor`."""

from __future__ import annotations

from typing import Annotated

from typer import Exit, Option

from genomeformer_cli.commands._options import JsonOption

EXAMPLE = "Example:  genomeformer doctor --network"


def command(
    *,
    network: Annotated[
        bool, Option("--network", help="Also connect to the hosts of NCBI and of the Hub.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check device, threads, memory, cache, disk, network and versions; exit 1 if one fails."""
    from genomeformer_cli.core.workflows.doctor import diagnose
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.doctor import render_diagnosis

    diagnosis = diagnose(network=network)
    show(diagnosis, render_diagnosis(diagnosis), as_json=as_json)
    if not diagnosis.usable:
        raise Exit(1)
