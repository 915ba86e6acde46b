"""What a fetch brought, for people: genomes, or the plan of a dry run; changes; failures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from genomeformer_cli.render.results import fetched_table, size

if TYPE_CHECKING:
    from genomeformer_cli.core.genomes.ncbi.plan import Plan
    from genomeformer_cli.core.genomes.ncbi.update import Update
    from genomeformer_cli.core.workflows.fetch import FetchResult

_SHOWN = 40


def fetched_view(result: FetchResult) -> RenderableType:
    """Everything worth a line."""
    if result.plan is not None and result.dry_run:
        parts: list[RenderableType] = [_plan_table(result.plan)]
    elif len(result.genomes) <= _SHOWN:
        parts = [fetched_table(result)] if result.genomes else []
    else:
        new = sum(fetched.new for fetched in result.genomes)
        parts = [Text(f"{len(result.genomes)} genomes, {new} of them new")]
    return Group(*parts, *(Text(line, no_wrap=True, overflow="ignore") for line in _lines(result)))


def _plan_table(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("assemblies", f"{plan.num_assemblies:,}")
    table.add_row("already in the cache", f"{plan.num_present:,}")
    table.add_row("bases", f"{plan.num_bases:,}")
    table.add_row("to download, about", size(plan.num_bytes))
    table.add_row("disk needed, about", size(plan.disk_needed))
    table.add_row("disk free", size(plan.disk_free))
    for accession in plan.accessions[:_SHOWN]:
        table.add_row("", accession)
    if len(plan.accessions) > _SHOWN:
        table.add_row("", f"and {len(plan.accessions) - _SHOWN:,} more")
    return table


def _lines(result: FetchResult) -> Iterator[str]:
    if result.left_out:
        counted = ", ".join(f"{number} by {name}" for name, number in result.left_out.items())
        yield f"left out: {counted}"
    if result.num_bytes:
        yield f"downloaded: {size(result.num_bytes)}"
    if result.update is not None:
        yield from _changes(result.update, first=len(result.genomes) <= len(result.update.new))
    for failure in result.failures[:_SHOWN]:
        yield f"failed: {failure.accession}: {failure.reason}"
    if len(result.failures) > _SHOWN:
        yield f"failed: {len(result.failures) - _SHOWN:,} more; the folder of the lock lists them"
    if result.lock is not None:
        yield f"lock file: {result.lock}"


def _changes(update: Update, *, first: bool) -> Iterator[str]:
    if update.new and not first:
        yield f"new since the last fetch: {_some(update.new)}"
    if update.superseded:
        yield f"superseded: {_some([f'{old} by {new}' for old, new in update.superseded])}"
    if update.suppressed:
        yield f"suppressed by NCBI: {_some(update.suppressed)}"
    if update.dropped:
        yield f"no longer chosen: {_some(update.dropped)}"
    if update.pruned:
        yield f"removed from the cache: {_some(update.pruned)}"


def _some(words: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(words[:10])
    return shown + (f" and {len(words) - 10} more" if len(words) > 10 else "")
