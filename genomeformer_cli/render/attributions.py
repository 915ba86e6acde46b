"""Attributions as tables, JSON and sequence logos."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.render.plots import pyplot, save_figure
from genomeformer_cli.render.rows import first_records, format_score, id_cells, tsv_line

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.explain_attribution import AttributedRecord

COLUMNS = ("id", "position", "base", "attribution", "a", "c", "g", "t")
# Dark to light in the order A C G T: the letters remain distinct in grey.
LETTER_COLORS = ("#117733", "#4477aa", "#ddaa33", "#cc3311")
_MAX_RECORDS = 6
_BASES_PER_ROW = 100

Floats = npt.NDArray[np.float64]


def attribution_rows(record: AttributedRecord) -> Iterator[bytes]:
    """Return one row per base of a record."""
    names = id_cells(record.id, record.region)
    attribution = record.attribution
    for index, code in enumerate(record.codes):
        values = (
            (float("nan"),) * 5
            if attribution is None
            else (attribution.base_L[index], *attribution.effect_LR[index])
        )
        cells = (format_score(float(value)) for value in values)
        yield tsv_line((*names, index + 1, BASES[code], *cells))


def attribution_json(record: AttributedRecord) -> dict[str, Any]:
    """Return a record as JSON."""
    attribution, region = record.attribution, record.region
    return {
        "id": record.id,
        "length": record.codes.size,
        "region": None if region is None else region.place,
        "answer": None if attribution is None else attribution.answer,
        "value": None if attribution is None else round(attribution.value, 5),
        "attributions": None
        if attribution is None
        else [None if np.isnan(v) else round(float(v), 5) for v in attribution.base_L],
    }


@cache
def _letter(base: int) -> Any:
    """Return the outline of a letter in a unit square."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    path = TextPath((0, 0), BASES[base], size=1, prop=FontProperties(weight="bold"))
    box = path.get_extents()
    move = Affine2D().translate(-box.x0, -box.y0).scale(1 / box.width, 1 / box.height)
    return path.transformed(move)


def draw_logo(axes: Any, heights_LR: Floats, first: float = 0.0) -> None:
    """Draw letters of signed heights, the smallest next to the axis.

    Args:
        axes: Axes.
        heights_LR: Height of A C G T at each position.
        first: Horizontal place of the first position.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.transforms import Affine2D

    for index, height_R in enumerate(np.nan_to_num(heights_LR)):
        tops = {1: 0.0, -1: 0.0}
        for base in np.argsort(np.abs(height_R)).tolist():
            height = float(height_R[base])
            if not height:
                continue
            sign = 1 if height > 0 else -1
            place = Affine2D().scale(0.9, height).translate(first + index - 0.45, tops[sign])
            color = LETTER_COLORS[base]
            axes.add_patch(PathPatch(_letter(base).transformed(place), facecolor=color, lw=0))
            tops[sign] += height
    positive = np.nan_to_num(heights_LR).clip(min=0).sum(axis=1)
    negative = np.nan_to_num(heights_LR).clip(max=0).sum(axis=1)
    low, high = min(float(negative.min()), 0.0), max(float(positive.max()), 0.0)
    room = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(first - 0.6, first + len(heights_LR) - 0.4)
    axes.axhline(0, color="0.5", linewidth=0.5)


def draw_attributions(
    records: Iterable[AttributedRecord], path: Path, *, title: str
) -> Generator[AttributedRecord, None, bool]:
    """Draw the logos of the first records, 100 bases per row, while passing all records on.

    Returns False if no record has attributions: nothing is drawn.

    Raises:
        StoreError: The file cannot be written.
    """
    visible, note = yield from first_records(
        records, _MAX_RECORDS, lambda record: record.attribution is not None
    )
    if not visible:
        return False
    rows = [
        (record, first)
        for record in visible
        for first in range(0, record.codes.size, _BASES_PER_ROW)
    ]
    number = len(rows)
    figure, grid = pyplot().subplots(
        number, 1, figsize=(11, 1.5 * number + 0.6), layout="constrained", squeeze=False
    )
    for axes, (record, first) in zip(grid[:, 0], rows, strict=False):
        assert record.attribution is not None
        part = slice(first, first + _BASES_PER_ROW)
        codes = record.codes[part]
        heights_LR = np.zeros((_BASES_PER_ROW, 4))
        real = np.flatnonzero(codes < len(LETTER_COLORS))
        heights_LR[real, codes[real]] = record.attribution.base_L[part][real]
        region = record.region
        start = first + 1
        label = "position (bases)"
        if region is not None and region.end - region.start == record.codes.size:
            is_reverse = region.strand == "-"
            start = region.end - first if is_reverse else region.start + first + 1
            label = f"position on {region.chrom} (bases, strand {region.strand})"
            axes.xaxis.set_major_formatter(
                lambda value, _, s=start, r=is_reverse: f"{s - value if r else s + value:,.0f}"
            )
        else:
            axes.xaxis.set_major_formatter(lambda value, _, s=start: f"{s + value:,.0f}")
        draw_logo(axes, heights_LR)
        axes.set_xlabel(label, fontsize=7)
        axes.tick_params(labelsize=7)
        if first == 0:
            text = f"{record.id}: {record.attribution.answer} {record.attribution.value:.3f}"
            axes.set_title(text, fontsize=9, loc="left")
    figure.suptitle(title + note, fontsize=10)
    save_figure(figure, path)
    return True
