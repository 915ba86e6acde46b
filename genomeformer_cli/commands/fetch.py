"""`genomeformer fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from genomeformer_cli.ui.options import JsonOption

EXAMPLE = "Example:  genomeformer fetch --file my_genome.fna.gz --file plasmids.fa"


def command(
    *,
    sample: Annotated[
        bool,
        Option(
            "--sample",
            help="The real genomes that ship with the package: phiX174, lambda, M. genitalium.",
        ),
    ] = False,
    file: Annotated[
        list[Path] | None,
        Option(
            "--file",
            help="A FASTA file of your own, plain or .gz, `-` for stdin; repeatable. "
            "Every record is kept.",
        ),
    ] = None,
    name: Annotated[str | None, Option(help="Name in the cache for the one file given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring genomes into the local cache."""
    from genomeformer_cli.core.workflows.fetch import FetchRequest, fetch_genomes
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.progress import terminal_reporter
    from genomeformer_cli.ui.results import fetched_table

    with terminal_reporter() as reporter:
        result = fetch_genomes(
            FetchRequest(sample=sample, files=tuple(file or ()), name=name), reporter=reporter
        )
    show(result, fetched_table(result), as_json=as_json)
