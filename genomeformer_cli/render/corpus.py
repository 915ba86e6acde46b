"""A corpus in numbers: its summary, its statistics, and their picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.render.plots import check_picture_path, pyplot, save_figure
from genomeformer_cli.render.tables import plain_table
from genomeformer_cli.render.tokens import tokenizer_name

if TYPE_CHECKING:
    from genomeformer_cli.core.corpus.kmer_spectrum import Spectrum
    from genomeformer_cli.core.corpus.statistics import CorpusStatistics, GenomeStatistics, Lengths
    from genomeformer_cli.core.workflows.tokenize import DescribeResult, TokenizeResult

MAX_GENOMES = 24
_SPLITS = {"train": "training", "unused": "unused, between them", "validation": "held out"}
_BASE_COLORS = ("#2a9d8f", "#457b9d", "#e9c46a", "#e76f51", "#b0b0b0")
_K_COLORS = {2: "#cbd5e1", 4: "#8ecae6", 6: "#457b9d", 8: "#1d3557"}
_MAX_NAME_LENGTH = 24


def render_corpus(result: TokenizeResult) -> RenderableType:
    """Return the summary of a corpus."""
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


def render_statistics(result: DescribeResult) -> RenderableType:
    """Return all statistics of a corpus."""
    numbers = result.statistics
    gap = Text()
    parts: list[RenderableType] = [_overview(result), gap, _splits(numbers), gap]
    parts += [_genomes(numbers.genomes), *_genomes_left(numbers), gap, _spectra(numbers.spectra)]
    return Group(*parts)


def largest_genomes(genomes: Sequence[GenomeStatistics]) -> list[GenomeStatistics]:
    """Return the `MAX_GENOMES` largest genomes in their order."""
    by_size = sorted(genomes, key=lambda genome: -genome.composition.num_bases)
    names = {genome.name for genome in by_size[:MAX_GENOMES]}
    return [genome for genome in genomes if genome.name in names]


def _table(*headings: str, num_left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        if number < num_left:
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
        "entropy of tokens", f"{use.bits_per_token:.3f} bits each, {use.bits_per_base:.3f} per base"
    )
    table.add_row(
        "most used",
        ", ".join(f"{kmer.word} {kmer.count / use.num_tokens:.2%}" for kmer in use.most),
    )
    table.add_row("records", f"{lengths.num_records:,}")
    table.add_row(
        "their lengths",
        f"{lengths.shortest:,} to {lengths.longest:,}, median {lengths.median:,.0f}",
    )
    table.add_row("N50", f"{lengths.n50:,} (L50 {lengths.l50:,})")
    table.add_row("held out", manifest.split_rule)
    return table


def _percent(fraction: float | None) -> str:
    """Return a fraction in percent; a positive fraction never reads as zero."""
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
    percents = [f"{name} %" for name in (*BASES, "GC", *(["soft"] if masked else []))]
    table = _table("genome", "records", "bases", *percents)
    for genome in largest_genomes(genomes):
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
    num_hidden = len(numbers.genomes) - MAX_GENOMES
    if num_hidden > 0:
        yield Text(f"the {MAX_GENOMES} largest genomes are shown; `--json` lists all")


def _spectra(spectra: Sequence[Spectrum]) -> Table:
    table = _table(
        "k", "different k-mers", "bits per base", "most frequent", "least frequent", num_left=0
    )
    for spectrum in spectra:
        least = f"{spectrum.least.word} {spectrum.least.count:,}"
        if not spectrum.least.count:
            least = f"{spectrum.num_possible - spectrum.num_distinct:,} never"
        table.add_row(
            str(spectrum.k),
            f"{spectrum.num_distinct:,} of {spectrum.num_possible:,}",
            f"{spectrum.bits_per_base:.4f}",
            f"{spectrum.most.word} {spectrum.most.count:,}",
            least,
        )
    return table


def picture_path(name: str, path: Path | None) -> Path:
    """Return the path of the picture of a corpus.

    Args:
        name: Name of the corpus, for the default path.
        path: Path from the user.

    Raises:
        UsageError: The path names an unknown picture format.
    """
    check_picture_path(path)
    return path or Path(f"{name}-stats.png")


def plot_statistics(result: DescribeResult, path: Path) -> Path:
    """Draw composition, k-mer spectra and record lengths into a file.

    Raises:
        StoreError: The file cannot be written.
    """
    numbers = result.statistics
    genomes = largest_genomes(numbers.genomes)
    height = max(4.2, 1.4 + 0.22 * len(genomes))
    figure, axes = pyplot().subplots(1, 3, figsize=(15, height), layout="constrained")
    _draw_composition(axes[0], genomes, len(numbers.genomes))
    _draw_spectra(axes[1], numbers.spectra)
    _draw_lengths(axes[2], numbers.lengths)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    # Outside the panels, where it covers no bar.
    bars, bases = axes[0].get_legend_handles_labels()
    figure.legend(bars, bases, ncols=len(bases), frameon=False, loc="outside lower left")
    num_bases, num_tokens = numbers.composition.num_bases, numbers.token_use.num_tokens
    figure.suptitle(f"{result.manifest.name}: {num_bases:,} bases, {num_tokens:,} tokens")
    save_figure(figure, path)
    return path


def _draw_composition(axes: Any, genomes: Sequence[GenomeStatistics], num_genomes: int) -> None:
    rows = range(len(genomes))
    left_edges = [0.0] * len(genomes)
    for base, color in zip(BASES, _BASE_COLORS, strict=True):
        shares = [
            100 * genome.composition.base_counts[base] / genome.composition.num_bases
            for genome in genomes
        ]
        if base == BASES[-1] and not any(shares):
            continue
        axes.barh(rows, shares, left=left_edges, color=color, label=base, height=0.8)
        left_edges = [left + share for left, share in zip(left_edges, shares, strict=True)]
    for row, genome in enumerate(genomes):
        gc = "" if genome.composition.gc is None else f" GC {genome.composition.gc:.0%}"
        axes.text(101, row, gc, va="center", fontsize=8)
    axes.set_yticks(rows, [_short_name(genome.name) for genome in genomes], fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(len(genomes) - 0.4 + max(0, 3 - len(genomes)), -0.6)
    title = "base composition"
    if len(genomes) < num_genomes:
        title += f", the {len(genomes)} largest of {num_genomes} genomes"
    axes.set(xlabel="percent of the bases", xlim=(0, 115), title=title)
    axes.set_xticks(range(0, 101, 20))


def _short_name(name: str) -> str:
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1]}…"


def _draw_spectra(axes: Any, spectra: Sequence[Spectrum]) -> None:
    for spectrum in spectra:
        if spectrum.k not in _K_COLORS:
            continue
        mean_count = spectrum.num_words / spectrum.num_canonical
        points = [
            (100 * rank / spectrum.num_canonical, count / mean_count)
            for rank, count in zip(spectrum.ranks, spectrum.counts, strict=True)
            if count
        ]
        label = f"{spectrum.k}: {spectrum.num_distinct:,} of {spectrum.num_possible:,}"
        axes.plot(
            *zip(*points, strict=True), ".-", color=_K_COLORS[spectrum.k], markersize=3, label=label
        )
    axes.axhline(1, color="0.6", linestyle=":", linewidth=1)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="rank of the k-mer, percent of all (both strands as one)",
        ylabel="times as frequent as if all were equal",
        title="k-mer spectrum",
    )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="k: k-mers that occur", frameon=False, fontsize=8, loc="lower left")


def _draw_lengths(axes: Any, lengths: Lengths) -> None:
    edges, counts = lengths.bin_edges, lengths.bin_counts
    if lengths.shortest == lengths.longest:
        edges, counts = (lengths.shortest * 0.9, lengths.shortest * 1.1), (lengths.num_records,)
    axes.stairs(counts, edges, fill=True, color="#8ecae6")
    axes.axvline(lengths.n50, color="#c1121f", linestyle="--", linewidth=1)
    axes.text(
        lengths.n50,
        1.0,
        f"N50 {lengths.n50:,} ",
        color="#c1121f",
        fontsize=8,
        transform=axes.get_xaxis_transform(),
        ha="right",
        va="top",
    )
    axes.set(xlabel="bases", ylabel="records", title=f"lengths of {lengths.num_records:,} records")
    if lengths.longest > 10 * lengths.shortest:
        axes.set_xscale("log")
    axes.set_ylim(0, 1.15 * max(counts))
    axes.yaxis.get_major_locator().set_params(integer=True)
