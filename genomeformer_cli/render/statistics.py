"""A corpus in numbers, for people: tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.render.tokens import tokenizer_name

if TYPE_CHECKING:
    from genomeformer_cli.core.corpus.kmer_spectrum import KmerCount, Spectrum
    from genomeformer_cli.core.corpus.statistics import CorpusStatistics, GenomeStatistics
    from genomeformer_cli.core.workflows.describe import DescribeResult

MOST_GENOMES = 24
_SPLITS = {"train": "training", "unused": "unused, between them", "validation": "held out"}


def statistics_view(result: DescribeResult) -> RenderableType:
    """Everything that was counted."""
    numbers = result.statistics
    gap = Text()
    parts: list[RenderableType] = [_overview(result), gap, _splits(numbers), gap]
    parts += [_genomes(numbers.genomes), *_genomes_left(numbers), gap, _words(numbers.spectra)]
    return Group(*parts)


def largest(genomes: Sequence[GenomeStatistics]) -> list[GenomeStatistics]:
    """The genomes that are shown, in their order: all, or the largest of many."""
    by_size = sorted(genomes, key=lambda genome: -genome.composition.num_bases)
    kept = {genome.name for genome in by_size[:MOST_GENOMES]}
    return [genome for genome in genomes if genome.name in kept]


def _table(*headings: str, left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        if number < left:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    return table


def _overview(result: DescribeResult) -> Table:
    manifest, numbers = result.manifest, result.statistics
    use, lengths, whole = numbers.token_use, numbers.lengths, numbers.composition
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("corpus", manifest.name)
    table.add_row("tokenizer", tokenizer_name(manifest.tokenizer, manifest.tokenizer_settings))
    table.add_row("bases", f"{whole.num_bases:,}")
    table.add_row("GC", _percent(whole.gc))
    table.add_row("N", _percent(whole.unknown_fraction))
    table.add_row("soft-masked", _percent(numbers.soft_mask_fraction))
    table.add_row("tokens", f"{use.num_tokens:,}, {use.bases_per_token:.2f} bases each")
    table.add_row("vocabulary", f"{use.num_used:,} of {use.vocabulary_size:,} tokens occur")
    table.add_row(
        "entropy of tokens", f"{use.bits_per_token:.3f} bits each, {use.bits_per_base:.3f} a base"
    )
    table.add_row("most used", ", ".join(_share(one, use.num_tokens) for one in use.most))
    table.add_row("records", f"{lengths.num_records:,}")
    table.add_row(
        "their lengths",
        f"{lengths.shortest:,} to {lengths.longest:,}, median {lengths.median:,.0f}",
    )
    table.add_row("N50", f"{lengths.n50:,} (L50 {lengths.l50:,})")
    table.add_row("held out", manifest.split_rule)
    return table


def _share(one: KmerCount, num_all: int) -> str:
    return f"{one.word} {one.count / num_all:.2%}"


def _percent(fraction: float | None) -> str:
    """A part of a whole; what is there is never shown as nothing."""
    if fraction is None:
        return "-"
    return "< 0.01%" if 0 < fraction < 0.0001 else f"{fraction:.2%}"


def _splits(numbers: CorpusStatistics) -> Table:
    table = _table("part", "segments", "tokens", "bases")
    for split in numbers.splits:
        table.add_row(
            _SPLITS.get(split.split, split.split),
            f"{split.num_segments:,}",
            f"{split.num_tokens:,}",
            f"{split.num_bases:,}",
        )
    return table


def _genomes(genomes: Sequence[GenomeStatistics]) -> Table:
    masked = any(genome.soft_mask_fraction is not None for genome in genomes)
    percents = [f"{what} %" for what in (*BASES, "GC", *(["soft"] if masked else []))]
    table = _table("genome", "records", "bases", *percents)
    for genome in largest(genomes):
        composition = genome.composition
        parts = [count / composition.num_bases for count in composition.base_counts.values()]
        rest = [composition.gc, *([genome.soft_mask_fraction] if masked else [])]
        table.add_row(
            Text(genome.name),
            f"{genome.num_records:,}",
            f"{composition.num_bases:,}",
            *(_tenths(part) for part in (*parts, *rest)),
        )
    return table


def _tenths(fraction: float | None) -> str:
    if fraction is None:
        return "-"
    return "< 0.1" if 0 < fraction < 0.001 else f"{100 * fraction:.1f}"


def _genomes_left(numbers: CorpusStatistics) -> Iterator[Text]:
    left = len(numbers.genomes) - MOST_GENOMES
    if left > 0:
        yield Text(f"of the genomes the {MOST_GENOMES} largest are shown; `--json` has all")


def _words(spectra: Sequence[Spectrum]) -> Table:
    table = _table(
        "k", "different k-mers", "bits a base", "most frequent", "least frequent", left=0
    )
    for one in spectra:
        least = f"{one.least.word} {one.least.count:,}"
        if not one.least.count:
            least = f"{one.num_possible - one.num_distinct:,} never"
        table.add_row(
            str(one.k),
            f"{one.num_distinct:,} of {one.num_possible:,}",
            f"{one.bits_per_base:.4f}",
            f"{one.most.word} {one.most.count:,}",
            least,
        )
    return table
