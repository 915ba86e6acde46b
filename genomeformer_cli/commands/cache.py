"""`genomeformer cache`."""

from __future__ import annotations

import sys
from typing import Annotated

from typer import Argument, Exit, Typer

from genomeformer_cli.commands._completion import complete_entries
from genomeformer_cli.commands._options import JsonOption, with_verbosity
from genomeformer_cli.core.store.kinds import Kind

app = Typer(
    help="List, verify and remove entries of the local cache.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Names = Annotated[
    list[str], Argument(help="Names of entries, or KIND/NAME.", autocompletion=complete_entries)
]


@app.command(epilog="Example:  du -sh $(genomeformer cache path)")
@with_verbosity
def path() -> None:
    """Print where the cache lies; `GENOMEFORMER_HOME` sets it."""
    from genomeformer_cli.core.settings import cache_root

    sys.stdout.write(f"{cache_root()}\n")


@app.command(epilog="Example:  genomeformer cache ls genomes")
@with_verbosity
def ls(
    kind: Annotated[Kind | None, Argument(help="Only this kind.", show_default=False)] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List what the cache holds."""
    from genomeformer_cli.core.workflows.cache import list_cache
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.tables import render_cache_entries

    entries = list_cache(kind)
    show(entries, render_cache_entries(entries), as_json=as_json)


@app.command(epilog="Example:  genomeformer cache verify genomes/NC_000908.2")
@with_verbosity
def verify(
    names: Annotated[
        list[str] | None,
        Argument(
            help="Names of entries, or KIND/NAME; default: all.",
            autocompletion=complete_entries,
            show_default=False,
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare every file with its recorded checksum; exit 1 if one differs."""
    from genomeformer_cli.core.workflows.cache import verify_cache
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.tables import render_verified_entries

    with terminal_reporter() as reporter:
        verified = verify_cache(tuple(names or ()), reporter=reporter)
    show(verified, render_verified_entries(verified), as_json=as_json)
    if any(entry.problem for entry in verified):
        raise Exit(1)


@app.command(epilog="Example:  genomeformer cache rm corpora/demo")
@with_verbosity
def rm(names: Names, *, as_json: JsonOption = False) -> None:
    """Remove entries."""
    from genomeformer_cli.core.workflows.cache import remove_from_cache
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.tables import render_removed_entries

    removed = remove_from_cache(tuple(names))
    show(removed, render_removed_entries(removed), as_json=as_json)
