"""Results as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from genomeformer_cli.core.training.summary import RunSummary
    from genomeformer_cli.core.workflows.cache import CachedEntry, VerifiedEntry
    from genomeformer_cli.core.workflows.dry_run import DryRun
    from genomeformer_cli.core.workflows.fetch import FetchResult
    from genomeformer_cli.core.workflows.pretrain import PretrainResult
    from genomeformer_cli.core.workflows.tokenize import TokenizeResult
    from genomeformer_cli.core.workflows.windows import WindowsResult


def plain_table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def size(num_bytes: int) -> str:
    """Bytes for people."""
    amount = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def fetched_table(result: FetchResult) -> RenderableType:
    """Genomes of a fetch."""
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


def corpus_table(result: TokenizeResult) -> RenderableType:
    """A corpus in a few lines."""
    manifest = result.manifest
    num_bases = sum(manifest.base_counts.values())
    table = plain_table("corpus", manifest.name)
    table.add_row("state", "new" if result.new else "already in the cache")
    table.add_row("genomes", str(len(manifest.genomes)))
    table.add_row("tokenizer", manifest.tokenizer)
    table.add_row(
        "tokens", f"{manifest.num_train:,} to train on, {manifest.num_validation:,} held out"
    )
    table.add_row("held out", manifest.split_rule)
    table.add_row(
        "composition",
        ", ".join(f"{t} {n / num_bases:.1%}" for t, n in manifest.base_counts.items()),
    )
    table.add_row("soft-masked", f"{manifest.num_soft_masked / num_bases:.1%}")
    return table


def windows_table(result: WindowsResult) -> RenderableType:
    """Labelled windows: a row a genome, a column a class."""
    labels = list(result.counts)
    table = plain_table("genome", "records", *labels, right=("records", *labels))
    for one in result.genomes:
        numbers = [f"{one.counts[label]:,}" for label in labels]
        table.add_row(one.genome, f"{one.num_records:,}", *numbers)
    if len(result.genomes) > 1:
        records = sum(one.num_records for one in result.genomes)
        table.add_row("all", f"{records:,}", *(f"{number:,}" for number in result.counts.values()))
    lines = []
    for one in result.genomes:
        prefix = f"{one.genome}: " if len(result.genomes) > 1 else ""
        lines += [prefix + one.records.text("records"), prefix + one.features.text("features")]
        if one.num_pseudo:
            lines.append(f"{prefix}no windows from {one.num_pseudo:,} features of pseudogenes")
    return Group(table, *map(Text, lines), Text(f"{result.fasta}, {result.table}"))


def forecast_table(result: DryRun) -> RenderableType:
    """What a run would be, and what each memory plan would take."""
    what = (
        f"{result.num_parameters:,} parameters, `{result.attention}` attention, "
        f"{result.direction}\n"
        f"{result.steps:,} steps of {result.batch_size:,} x {result.context:,} = "
        f"{result.batch_size * result.context:,} tokens; {result.epochs:.2f} epochs\n"
    )
    table = plain_table(
        "memory plan", "peak memory", "time a step", "", right=("peak memory", "time a step")
    )
    for one in result.forecasts:
        name = one.memory.plan
        if one.num_bytes is None or one.seconds is None:
            table.add_row(name, "-", "-", one.objection or "", style="dim")
            continue
        chosen = "this run's plan" if name == result.chosen else ""
        if chosen and result.rows < result.batch_size:
            chosen += f", {result.rows} of the windows at a time"
        if chosen and result.kept > 1:
            chosen += f", the last {result.kept} slices computed once"
        table.add_row(name, size(one.num_bytes + result.base_bytes), f"{one.seconds:.2f} s", chosen)
    return Group(Text(what), table)


def scores_table(summary: RunSummary) -> Table:
    """The model beside the two it is held against."""
    per_token = summary.model.num_tokens is not None
    numbers = ("bits per base", *(["bits per token"] if per_token else []), "accuracy")
    table = plain_table(
        "held-out tokens" if per_token else "held-out bases", *numbers, right=numbers
    )
    rows = [("this model", summary.model)]
    if summary.average is not None:
        rows.append(("the average of its weights", summary.average))
    rows.append((summary.counts_name, summary.counts))
    rows.append(("same model, random weights", summary.random_twin))
    for what, score in rows:
        tokens = [f"{score.bits_per_token:.4f}"] if per_token else []
        table.add_row(what, f"{score.bits_per_base:.4f}", *tokens, f"{score.accuracy:.1%}")
    return table


def verdict(summary: RunSummary) -> str:
    """Who wins, in one sentence."""
    gain = summary.counts.bits_per_base - summary.model.bits_per_base
    if gain > 0:
        return f"the model beats the table of counts by {gain:.4f} bits per base"
    return f"the table of counts beats the model by {-gain:.4f} bits per base"


def run_table(result: PretrainResult) -> RenderableType:
    """A finished run."""
    return Group(
        scores_table(result.summary), Text(verdict(result.summary)), Text(f"run: {result.folder}")
    )


def entries_table(entries: tuple[CachedEntry, ...]) -> RenderableType:
    """What the cache holds."""
    if not entries:
        return Text("the cache is empty; try `genomeformer fetch --sample`")
    table = plain_table("kind", "name", "size", "changed", right=("size",))
    for entry in entries:
        table.add_row(
            entry.kind.value, entry.name, size(entry.num_bytes), f"{entry.changed:%Y-%m-%d %H:%M}"
        )
    return table


def verified_table(verified: tuple[VerifiedEntry, ...]) -> RenderableType:
    """What verifying found."""
    table = plain_table("kind", "name", "files", "", right=("files",))
    for entry in verified:
        table.add_row(
            entry.kind.value, entry.name, str(entry.num_files), Text(entry.problem or "ok")
        )
    return table
