"""Pictures of a genome: genes, hits and scores as PNG, SVG or PDF, or as a page with zoom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.formats.tracks.palette import class_color
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.plots import pyplot, save_figure

if TYPE_CHECKING:
    from genomeformer_cli.core.formats.tracks.elements import Chromosome
    from genomeformer_cli.core.workflows.genome_view import GenomeView, ScoreLane

_MAX_ROWS = 6
_MAX_COLUMNS = 1_500
_STYLES = ("-", "--", ":", "-.")
_DIGITS = 4
_GENE_COLORS = {"+": "0.35", "-": "0.7", ".": "0.55"}


def draw_genome(view: GenomeView, path: Path) -> None:
    """Draw a view in the format of the suffix.

    Raises:
        StoreError: The file cannot be written.
    """
    if path.suffix.lower() == ".html":
        write_text(path, genome_page(view))
        return
    records = view.chromosomes[:_MAX_ROWS]
    labels = [label for label in view.labels if any(hit.label == label for hit in view.hits)]
    # Without classes there is no row of hits, without annotation none of genes.
    heights = (
        2.0,
        0.3 + 0.25 * max(len(labels), 1) if view.labels else 0.01,
        0.6 if view.genes else 0.01,
    )
    figure, grid = pyplot().subplots(
        3 * len(records),
        1,
        figsize=(11, sum(heights) * len(records) + 0.6),
        height_ratios=heights * len(records),
        layout="constrained",
        squeeze=False,
    )
    for index, record in enumerate(records):
        scores, hits, genes = grid[3 * index : 3 * index + 3, 0]
        low, high = _extent(view, record)
        for axes in (scores, hits, genes):
            axes.set_xlim(low, high)
        _draw_scores(scores, view, record.name)
        scores.set_title(record.name, fontsize=9, loc="left")
        if view.labels:
            _draw_hits(hits, view, labels, record.name)
        hits.set_visible(bool(view.labels))
        if view.genes:
            _draw_genes(genes, view, record.name)
        genes.set_visible(bool(view.genes))
        lowest = genes if view.genes else hits if view.labels else scores
        for axes in (scores, hits):
            axes.tick_params(labelbottom=axes is lowest)
        # Halves of a base would be rounded by the formatter.
        lowest.xaxis.get_major_locator().set_params(integer=True)
        lowest.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        lowest.set_xlabel("position (bases)")
    hidden = len(view.chromosomes) - len(records)
    note = f" (first {len(records)} of {len(view.chromosomes)} records)" if hidden else ""
    figure.suptitle(f"{view.title}{note}", fontsize=10)
    save_figure(figure, path)


def _extent(view: GenomeView, record: Chromosome) -> tuple[float, float]:
    """Return the part of a record to draw: all of it, or what has scores if they are of regions."""
    if not (view.shows_means and view.lanes):
        return 0, record.length
    finite_N = np.flatnonzero(np.isfinite(view.lanes[0].values[record.name])) * view.bin_width
    low, high = int(finite_N[0]), int(finite_N[-1]) + view.bin_width
    margin = (high - low) / 20
    return max(low - margin, 0), min(high + margin, record.length)


def _merge_bins(
    view: GenomeView, value_N: npt.NDArray[np.float32], width: float
) -> tuple[npt.NDArray[np.float32], int]:
    """Return means of several bins where a picture of some width has more bins than columns."""
    factor = max(int(width / view.bin_width / _MAX_COLUMNS), 1) if view.shows_means else 1
    if factor == 1:
        return value_N, view.bin_width
    padded_N = np.full(-(-value_N.size // factor) * factor, np.nan, dtype=np.float32)
    padded_N[: value_N.size] = value_N
    bins_NF = padded_N.reshape(-1, factor)
    count_N = np.isfinite(bins_NF).sum(axis=1)
    sum_N = np.nansum(bins_NF, axis=1)
    mean_N = np.divide(sum_N, count_N, out=np.full_like(sum_N, np.nan), where=count_N > 0)
    return mean_N, view.bin_width * factor


def _draw_scores(axes: Any, view: GenomeView, name: str) -> None:
    low, high = axes.get_xlim()
    for number, lane in enumerate(view.lanes):
        value_N, width = _merge_bins(view, lane.values[name], high - low)
        place_N = (np.arange(value_N.size) + 0.5) * width
        style = _STYLES[number % len(_STYLES)]
        axes.plot(place_N, value_N, style, color=lane.color, linewidth=0.7, label=lane.label)
        if width > 1 and view.shows_means:
            axes.set_title(f"means of {width:,} bases", fontsize=8, loc="right")
    axes.set_ylabel(view.quantity, fontsize=8)
    if len(view.lanes) > 1 or view.labels:
        axes.legend(frameon=False, fontsize=7, loc="upper right", ncols=4)


def _draw_hits(axes: Any, view: GenomeView, labels: Sequence[str], name: str) -> None:
    """Draw one row per class, named on the axis: colours are not needed to tell them apart."""
    for row, label in enumerate(labels):
        hits = [hit for hit in view.hits if hit.chrom == name and hit.label == label]
        for sign, low in (("+", 0.5), ("-", 0.0), (".", 0.0)):
            bars = [(hit.start, hit.end - hit.start) for hit in hits if hit.strand == sign]
            height = 1.0 if sign == "." else 0.5
            color = class_color(view.labels.index(label))
            axes.broken_barh(
                bars, (row + 0.8 * low + 0.1, 0.8 * height), color=color, linewidth=0.5
            )
    axes.set_yticks([row + 0.5 for row in range(len(labels))], labels, fontsize=7)
    axes.set_ylim(0, max(len(labels), 1))
    axes.set_ylabel("hits", fontsize=8)


def _draw_genes(axes: Any, view: GenomeView, name: str) -> None:
    for sign, low in (("+", 1.1), ("-", 0.1), (".", 0.6)):
        bars = [
            (gene.start, gene.end - gene.start)
            for gene in view.genes
            if gene.chrom == name and gene.strand == sign
        ]
        axes.broken_barh(bars, (low, 0.8), color=_GENE_COLORS[sign], edgecolor="w", linewidth=0.3)
    axes.set_yticks([0.5, 1.5], ["\N{MINUS SIGN}", "+"], fontsize=7)
    axes.set_ylim(0, 2)
    axes.set_ylabel("genes", fontsize=8)


def genome_page(view: GenomeView) -> str:
    """Return a page that needs no network: an SVG drawn by a script, with zoom and hover."""
    index = {record.name: number for number, record in enumerate(view.chromosomes)}
    labels = {label: number for number, label in enumerate(view.labels)}
    data = {
        "records": [{"name": row.name, "length": row.length} for row in view.chromosomes],
        "binWidth": view.bin_width,
        "showsMeans": view.shows_means,
        "lanes": [
            {
                "label": lane.label,
                "color": lane.color,
                "values": [_numbers(lane, row.name) for row in view.chromosomes],
            }
            for lane in view.lanes
        ],
        "labels": [
            {"name": label, "color": class_color(number)} for label, number in labels.items()
        ],
        "hits": [
            [
                index[hit.chrom],
                hit.start,
                hit.end,
                hit.strand,
                labels[hit.label],
                round(hit.score, 4),
            ]
            for hit in view.hits
        ],
        "genes": [
            [index[gene.chrom], gene.start, gene.end, gene.strand, gene.name] for gene in view.genes
        ],
    }
    return render_template("genome.html", title=view.title, data=data)


def _numbers(lane: ScoreLane, name: str) -> list[float | None]:
    return [
        None if value != value else round(value, _DIGITS) for value in lane.values[name].tolist()
    ]
