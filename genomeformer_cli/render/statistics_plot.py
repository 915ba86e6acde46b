"""A corpus in one picture: which bases, how evenly their words occur, how long the records are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.render.plots import can_plot
from genomeformer_cli.render.statistics import largest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genomeformer_cli.core.corpus.kmer_spectrum import Spectrum
    from genomeformer_cli.core.corpus.statistics import GenomeStatistics, Lengths
    from genomeformer_cli.core.workflows.describe import DescribeResult

_FORMATS = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_COLOURS = ("#2a9d8f", "#457b9d", "#e9c46a", "#e76f51", "#b0b0b0")
_WORDS = {2: "#cbd5e1", 4: "#8ecae6", 6: "#457b9d", 8: "#1d3557"}
_LONGEST_NAME = 24


def picture_place(name: str, wanted: Path | None) -> Path | None:
    """Where the picture of a corpus goes, or nowhere, without matplotlib.

    Raises:
        UsageError: A picture was asked for that cannot be drawn.
    """
    if wanted is None:
        return Path(f"{name}-stats.png") if can_plot() else None
    if wanted.suffix.lower() not in _FORMATS:
        known = ", ".join(f"`{suffix}`" for suffix in _FORMATS)
        raise UsageError(
            f"`{wanted}` cannot be a picture by its name", hint=f"a name that ends in {known}"
        )
    if not can_plot():
        raise UsageError(
            "`--plot` needs matplotlib, which is not installed",
            hint='`pip install "genomeformer[plots]"`, or leave `--plot` out',
        )
    return wanted


def plot_statistics(result: DescribeResult, place: Path) -> Path:
    """Draw three panels into a file.

    Raises:
        StoreError: It cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    numbers = result.statistics
    shown = largest(numbers.genomes)
    height = max(4.2, 1.4 + 0.22 * len(shown))
    figure, axes = plt.subplots(1, 3, figsize=(15, height), layout="constrained")
    _draw_composition(axes[0], shown, len(numbers.genomes))
    _draw_spectra(axes[1], numbers.spectra)
    _draw_lengths(axes[2], numbers.lengths)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    # Outside the panels, where it covers no bar.
    bars, bases = axes[0].get_legend_handles_labels()
    figure.legend(bars, bases, ncols=len(bases), frameon=False, loc="outside lower left")
    num_bases, num_tokens = numbers.composition.num_bases, numbers.token_use.num_tokens
    figure.suptitle(f"{result.manifest.name}: {num_bases:,} bases, {num_tokens:,} tokens")
    suffix = place.suffix.lower()
    # Without a salt, the names inside an SVG are drawn by chance.
    with mpl.rc_context({"svg.hashsalt": "genomeformer"}), atomic_file(place) as file:
        figure.savefig(file, format=suffix[1:], dpi=120, metadata=_FORMATS[suffix])
    plt.close(figure)
    return place


def _draw_composition(axes: Any, genomes: Sequence[GenomeStatistics], num_all: int) -> None:
    rows = range(len(genomes))
    before = [0.0] * len(genomes)
    for base, colour in zip(BASES, _COLOURS, strict=True):
        shares = [
            100 * one.composition.base_counts[base] / one.composition.num_bases for one in genomes
        ]
        if base == BASES[-1] and not any(shares):
            continue
        axes.barh(rows, shares, left=before, color=colour, label=base, height=0.8)
        before = [left + share for left, share in zip(before, shares, strict=True)]
    for row, one in enumerate(genomes):
        gc = "" if one.composition.gc is None else f" GC {one.composition.gc:.0%}"
        axes.text(101, row, gc, va="center", fontsize=8)
    axes.set_yticks(rows, [_short(one.name) for one in genomes], fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(len(genomes) - 0.4 + max(0, 3 - len(genomes)), -0.6)
    title = "base composition"
    if len(genomes) < num_all:
        title += f", the {len(genomes)} largest of {num_all} genomes"
    axes.set(xlabel="percent of the bases", xlim=(0, 115), title=title)
    axes.set_xticks(range(0, 101, 20))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _draw_spectra(axes: Any, spectra: Sequence[Spectrum]) -> None:
    for one in spectra:
        if one.k not in _WORDS:
            continue
        even = one.num_words / one.num_canonical
        points = [
            (100 * rank / one.num_canonical, count / even)
            for rank, count in zip(one.ranks, one.counts, strict=True)
            if count
        ]
        label = f"{one.k}: {one.num_distinct:,} of {one.num_possible:,}"
        axes.plot(*zip(*points, strict=True), ".-", color=_WORDS[one.k], markersize=3, label=label)
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
