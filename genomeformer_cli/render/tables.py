"""Tables of genomes, corpora, windows and the cache; the number formats that all tables share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from genomeformer_cli.core import tables as core_tables
    from genomeformer_cli.core.genomes.ncbi.plan import Plan
    from genomeformer_cli.core.genomes.ncbi.update import Update
    from genomeformer_cli.core.workflows.cache import CachedEntry, VerifiedEntry
    from genomeformer_cli.core.workflows.fetch import FetchResult
    from genomeformer_cli.core.workflows.windows import WindowsResult

_MAX_ROWS = 40
_MAX_NAMES = 10
_MILLION, _BILLION = 10**6, 10**9
_DAY = 86_400
_YEAR = 365 * _DAY
_THOUSANDS_FROM = 10_000


def plain_table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    """Return a table without lines.

    Args:
        headings: Column headings.
        right: Headings of the right-aligned columns.
    """
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def render_table(table: core_tables.Table) -> RenderableType:
    """Return a table with its title and notes; the first column is left-aligned."""
    rich = Table(box=None, pad_edge=False, title=Text(table.title), title_justify="left")
    for number, heading in enumerate(table.headings):
        rich.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*map(Text, row))
    return Group(rich, *map(Text, table.notes))


def format_size(num_bytes: int) -> str:
    """Return a number of bytes in decimal units, such as `1.2 MB`."""
    amount = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def format_duration(seconds: float) -> str:
    """Return seconds as `1:02:03` or `2:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def format_long_duration(seconds: float) -> str:
    """Return seconds as `3 years`, as `12 days`, or as hours, minutes and seconds."""
    if seconds > 2 * _YEAR:
        return f"{seconds / _YEAR:,.0f} years"
    return f"{seconds / _DAY:,.0f} days" if seconds > 2 * _DAY else format_duration(seconds)


def format_thousands(number: int) -> str:
    """Return a whole number, as `100k` where no digit is lost."""
    if number >= _THOUSANDS_FROM and number % 1000 == 0:
        return f"{number // 1000}k"
    return f"{number:,}"


def format_parameters(number: int) -> str:
    """Return a number of parameters, such as `3.2M`."""
    if number >= _BILLION:
        return f"{number / _BILLION:.1f}G"
    if number >= _MILLION // 10:
        return f"{number / _MILLION:.1f}M"
    return f"{number:,}"


def render_fetch(result: FetchResult) -> RenderableType:
    """Return the fetched genomes, or the plan of a dry run, then changes and failures."""
    if result.plan is not None and result.dry_run:
        parts: list[RenderableType] = [_plan_table(result.plan)]
    elif len(result.genomes) <= _MAX_ROWS:
        parts = [_fetched_table(result)] if result.genomes else []
    else:
        num_new = sum(fetched.new for fetched in result.genomes)
        parts = [Text(f"{len(result.genomes)} genomes, {num_new} of them new")]
    lines = _fetch_lines(result)
    return Group(*parts, *(Text(line, no_wrap=True, overflow="ignore") for line in lines))


def _fetched_table(result: FetchResult) -> Table:
    table = plain_table("genome", "organism", "records", "bases", "", right=("records", "bases"))
    for item in result.genomes:
        genome = item.genome
        state = "new" if item.new else "already in the cache"
        table.add_row(
            genome.name,
            genome.organism or "",
            str(genome.num_records),
            f"{genome.num_bases:,}",
            state,
        )
    return table


def _plan_table(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("assemblies", f"{plan.num_assemblies:,}")
    table.add_row("already in the cache", f"{plan.num_present:,}")
    table.add_row("bases", f"{plan.num_bases:,}")
    table.add_row("to download, about", format_size(plan.num_bytes))
    table.add_row("disk needed, about", format_size(plan.disk_needed))
    table.add_row("disk free", format_size(plan.disk_free))
    for accession in plan.accessions[:_MAX_ROWS]:
        table.add_row("", accession)
    if len(plan.accessions) > _MAX_ROWS:
        table.add_row("", f"and {len(plan.accessions) - _MAX_ROWS:,} more")
    return table


def _fetch_lines(result: FetchResult) -> Iterator[str]:
    if result.left_out:
        reasons = ", ".join(f"{number} by {name}" for name, number in result.left_out.items())
        yield f"left out: {reasons}"
    if result.num_bytes:
        yield f"downloaded: {format_size(result.num_bytes)}"
    if result.update is not None:
        is_first = len(result.genomes) <= len(result.update.new)
        yield from _update_lines(result.update, is_first=is_first)
    for failure in result.failures[:_MAX_ROWS]:
        yield f"failed: {failure.accession}: {failure.reason}"
    if len(result.failures) > _MAX_ROWS:
        num_more = len(result.failures) - _MAX_ROWS
        yield f"failed: {num_more:,} more; the folder of the lock lists them"
    if result.lock is not None:
        yield f"lock file: {result.lock}"


def _update_lines(update: Update, *, is_first: bool) -> Iterator[str]:
    if update.new and not is_first:
        yield f"new since the last fetch: {_first_names(update.new)}"
    if update.superseded:
        yield f"superseded: {_first_names([f'{old} by {new}' for old, new in update.superseded])}"
    if update.suppressed:
        yield f"suppressed by NCBI: {_first_names(update.suppressed)}"
    if update.dropped:
        yield f"no longer chosen: {_first_names(update.dropped)}"
    if update.pruned:
        yield f"removed from the cache: {_first_names(update.pruned)}"


def _first_names(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def render_windows(result: WindowsResult) -> RenderableType:
    """Return the labelled windows: one row per genome, one column per class."""
    labels = list(result.counts)
    table = plain_table("genome", "records", *labels, right=("records", *labels))
    for row in result.genomes:
        numbers = [f"{row.counts[label]:,}" for label in labels]
        table.add_row(row.genome, f"{row.num_records:,}", *numbers)
    if len(result.genomes) > 1:
        records = sum(row.num_records for row in result.genomes)
        table.add_row("all", f"{records:,}", *(f"{number:,}" for number in result.counts.values()))
    lines = []
    for row in result.genomes:
        prefix = f"{row.genome}: " if len(result.genomes) > 1 else ""
        lines += [prefix + row.records.text("records"), prefix + row.features.text("features")]
        if row.num_pseudo:
            lines.append(f"{prefix}no windows from {row.num_pseudo:,} features of pseudogenes")
    return Group(table, *map(Text, lines), Text(f"{result.fasta}, {result.table}"))


def render_cache_entries(entries: tuple[CachedEntry, ...]) -> RenderableType:
    """Return the entries of the cache, one row each."""
    if not entries:
        return Text("the cache is empty; try `genomeformer fetch --sample`")
    table = plain_table("kind", "name", "size", "changed", right=("size",))
    for entry in entries:
        changed = f"{entry.changed:%Y-%m-%d %H:%M}"
        table.add_row(entry.kind.value, entry.name, format_size(entry.num_bytes), changed)
    return table


def render_removed_entries(removed: tuple[CachedEntry, ...]) -> RenderableType:
    """Return the removed entries of the cache, one line each."""
    lines = (
        f"removed {entry.kind.value}/{entry.name} ({format_size(entry.num_bytes)})"
        for entry in removed
    )
    return Text("\n".join(lines))


def render_verified_entries(verified: tuple[VerifiedEntry, ...]) -> RenderableType:
    """Return the verified entries of the cache with their problems."""
    table = plain_table("kind", "name", "files", "", right=("files",))
    for entry in verified:
        table.add_row(
            entry.kind.value, entry.name, str(entry.num_files), Text(entry.problem or "ok")
        )
    return table
