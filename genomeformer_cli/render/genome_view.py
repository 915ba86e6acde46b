"""Pictures of a genome: genes, hits and scores as PNG, SVG or PDF, or as a page with zoom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genomeformer_cli.core.formats.tracks.palette import class_color
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.plots import pyplot, save_figure

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.genome_view import GenomeView, ScoreLane

_MAX_ROWS = 6
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
    heights = (2.0, 0.3 + 0.25 * max(len(labels), 1), 0.6)
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
        for axes in (scores, hits, genes):
            axes.set_xlim(0, record.length)
        _draw_scores(scores, view, record.name)
        scores.set_title(record.name, fontsize=9, loc="left")
        _draw_hits(hits, view, labels, record.name)
        _draw_genes(genes, view, record.name)
        for axes in (scores, hits):
            axes.tick_params(labelbottom=False)
        genes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        genes.set_xlabel("position (bases)")
    hidden = len(view.chromosomes) - len(records)
    note = f" (first {len(records)} of {len(view.chromosomes)} records)" if hidden else ""
    figure.suptitle(f"{view.title}{note}", fontsize=10)
    save_figure(figure, path)


def _draw_scores(axes: Any, view: GenomeView, name: str) -> None:
    for number, lane in enumerate(view.lanes):
        value_N = lane.values[name]
        place_N = (np.arange(value_N.size) + 0.5) * view.bin_width
        style = _STYLES[number % len(_STYLES)]
        axes.plot(place_N, value_N, style, color=lane.color, linewidth=0.7, label=lane.label)
    axes.set_ylabel("score", fontsize=8)
    if view.lanes:
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
