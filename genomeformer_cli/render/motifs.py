"""Motifs as tables, JSON and logos, those of the random twin beside them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genomeformer_cli.render.attributions import draw_logo
from genomeformer_cli.render.plots import pyplot, save_figure
from genomeformer_cli.render.rows import format_score, tsv_line

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.explain_motifs import FoundMotif

COLUMNS = (
    *("source", "motif", "consensus", "seqlets", "attribution", "median_start"),
    *("match", "similarity", "p_value", "match_strand"),
)
_MAX_MOTIFS = 8


def motif_cells(row: FoundMotif) -> tuple[str, ...]:
    """Return the cells of a motif; starts are 1-based."""
    motif, match = row.motif, row.match
    return (
        row.source,
        motif.name,
        motif.consensus,
        str(motif.num_seqlets),
        format_score(motif.attribution),
        f"{np.median(motif.starts) + 1:.0f}",
        "NA" if match is None else match.name,
        "NA" if match is None else format_score(match.similarity, 3),
        "NA" if match is None else format_score(match.p_value, 4),
        "NA" if match is None else "-" if match.is_reverse else "+",
    )


def motif_line(row: FoundMotif) -> bytes:
    """Return one motif as a row of the table."""
    return tsv_line(motif_cells(row))


def motif_json(row: FoundMotif) -> dict[str, Any]:
    """Return a motif as JSON: the cells of the table, and the matrix."""
    return {
        **dict(zip(COLUMNS, motif_cells(row), strict=True)),
        "seqlets": row.motif.num_seqlets,
        "frequencies": row.motif.frequencies_WR.round(5).tolist(),
    }


def draw_motifs(
    records: Iterable[FoundMotif], path: Path, *, title: str
) -> Generator[FoundMotif, None, bool]:
    """Draw the logos of the first motifs, one column per source, while passing all on.

    Returns False if there is no motif: nothing is drawn.

    Raises:
        StoreError: The file cannot be written.
    """
    motifs = []
    for record in records:
        motifs.append(record)
        yield record
    if not motifs:
        return False
    from genomeformer_cli.core.workflows.explain_motifs import MODEL, TWIN

    sources = (MODEL, TWIN)
    columns = [[row for row in motifs if row.source == source][:_MAX_MOTIFS] for source in sources]
    number = max(map(len, columns))
    figure, grid = pyplot().subplots(
        number, 2, figsize=(9, 1.5 * number + 0.7), layout="constrained", squeeze=False
    )
    for column, (source, rows) in enumerate(zip(sources, columns, strict=True)):
        for index in range(number):
            axes = grid[index, column]
            if index >= len(rows):
                axes.set_axis_off()
                if not rows and index == 0:
                    axes.set_title(f"{source}: no motif", fontsize=9, loc="left")
                continue
            motif, match = rows[index].motif, rows[index].match
            draw_logo(axes, motif.frequencies_WR * motif.bits[:, None], first=1)
            axes.set_ylim(0, 2)
            axes.set_xticks(range(1, len(motif.bits) + 1))
            text = f"{source}: {motif.name}, {motif.num_seqlets:,} seqlets"
            if match is not None:
                text += f", {match.name} ({match.similarity:.2f}, p {match.p_value:.3f})"
            axes.set_title(text, fontsize=8, loc="left")
            axes.set_ylabel("bits", fontsize=7)
            axes.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)
    return True
