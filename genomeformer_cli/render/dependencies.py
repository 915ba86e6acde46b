"""Dependency maps as tables, JSON and pictures."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.plots import pyplot, save_figure
from genomeformer_cli.render.rows import first_records, format_score, id_cells, tsv_line

if TYPE_CHECKING:
    from genomeformer_cli.core.explanation.pairs import Pair, Run
    from genomeformer_cli.core.workflows.explain import ExplainedRecord

COLUMNS = (
    *("id", "first", "second", "bases", "strength", "corrected", "stem_score", "kind", "run"),
    *("genome_first", "genome_second"),
)
_MAX_MAPS = 6
_MAX_ZOOMS = 3
_ZOOM_MARGIN = 3
_WIDTH, _ZOOM_HEIGHT = 10.5, 3.4
_MAX_LETTERS = 80
_LONGEST_DISTANCE = 60
_TOP_SHARE = 99.5
_RUN_COLUMNS = ("run", "kind", "first", "second", "pairs", "bases")
_STYLES = {"stem": "-", "inverted repeat": "--", "direct repeat": ":"}


def pair_rows(record: ExplainedRecord) -> Iterator[bytes]:
    """Return one row per strong pair of a record, the strongest first."""
    names = id_cells(record.id, record.region)
    places = record.genome_positions()
    for pair in record.pairs.pairs:
        kind = "." if pair.run is None else record.pairs.runs[pair.run].kind
        genome = ("NA", "NA") if places is None else (places[pair.first], places[pair.second])
        yield tsv_line(
            (
                *names,
                pair.first + 1,
                pair.second + 1,
                BASES[record.codes[pair.first]] + BASES[record.codes[pair.second]],
                format_score(pair.strength),
                format_score(pair.corrected),
                format_score(pair.stem_score),
                kind,
                "NA" if pair.run is None else pair.run + 1,
                *genome,
            )
        )


def record_json(record: ExplainedRecord) -> dict[str, Any]:
    """Return a record as JSON: positions are 1-based, as in the table."""
    region = record.region
    periodicity = record.codon_periodicity
    return {
        "id": record.id,
        "length": record.codes.size,
        "region": None if region is None else region.place,
        "strand": None if region is None else region.strand,
        "codon_periodicity": periodicity if np.isfinite(periodicity) else None,
        "pairs": [_pair_json(pair) for pair in record.pairs.pairs],
        "runs": [_run_json(record, run) for run in record.pairs.runs],
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "first": pair.first + 1,
        "second": pair.second + 1,
        "strength": round(pair.strength, 5),
        "corrected": round(pair.corrected, 5),
        "stem_score": round(pair.stem_score, 5),
        "run": None if pair.run is None else pair.run + 1,
    }


def _run_json(record: ExplainedRecord, run: Run) -> dict[str, Any]:
    return {
        "kind": run.kind,
        "first": run.first + 1,
        "second": run.second + 1,
        "pairs": run.num_pairs,
        "bases": " ".join(BASES[record.codes[i]] + BASES[record.codes[j]] for i, j in run.pairs()),
    }


def draw_maps(
    records: Iterable[ExplainedRecord], path: Path, *, title: str
) -> Generator[ExplainedRecord, None, bool]:
    """Draw the maps of the first records in the format of the suffix, while passing all on.

    Returns False if no record has a map: nothing is drawn.

    Raises:
        StoreError: The file cannot be written.
    """
    visible, note = yield from first_records(
        records, _MAX_MAPS, lambda record: bool(np.isfinite(record.strengths_LL).any())
    )
    if not visible:
        return False
    title += note
    if path.suffix.lower() == ".html":
        write_text(path, _page(visible, title))
        return True
    heights = [_height(record) for record in visible]
    figure = pyplot().figure(figsize=(_WIDTH, sum(heights) + 0.4), layout="constrained")
    parts = figure.subfigures(len(visible), 1, height_ratios=heights)
    for part, record in zip(np.ravel(parts), visible, strict=True):
        _draw_record(part, record)
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)
    return True


def _page(records: Sequence[ExplainedRecord], title: str) -> str:
    rows = []
    for record in records:
        figure = pyplot().figure(figsize=(_WIDTH, _height(record)), layout="constrained")
        _draw_record(figure, record)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
        pyplot().close(figure)
        cells = [_run_json(record, run) for run in record.pairs.runs]
        rows.append(
            {
                "name": record.id,
                "alt": f"dependency map of {record.id}",
                "png": base64.b64encode(buffer.getvalue()).decode(),
                "rows": [(number, *row.values()) for number, row in enumerate(cells, 1)],
            }
        )
    return render_template("explanation.html", title=title, records=rows, columns=_RUN_COLUMNS)


def _height(record: ExplainedRecord) -> float:
    """Return the height of the picture of a record, in inches."""
    return 5.6 + (_ZOOM_HEIGHT if zoomed_runs(record) else 0)


def zoomed_runs(record: ExplainedRecord) -> list[Run]:
    """Return the stems and repeats that are drawn base by base, those of most pairs first."""
    counts = Counter(pair.run for pair in record.pairs.pairs if pair.run is not None)
    order = [run for run, _ in counts.most_common(_MAX_ZOOMS)]
    return [record.pairs.runs[run] for run in order]


def _draw_record(figure: Any, record: ExplainedRecord) -> None:
    """Draw a map, the mean strength by distance, and the strongest runs base by base."""
    runs = zoomed_runs(record)
    top = figure
    if runs:
        top, bottom = figure.subfigures(2, 1, height_ratios=(5.6, _ZOOM_HEIGHT))
        for axes, run in zip(bottom.subplots(1, _MAX_ZOOMS), [*runs, None, None], strict=False):
            if run is None:
                axes.set_axis_off()
            else:
                _draw_zoom(axes, record, run)
    map_axes, line_axes = top.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_map(top, map_axes, record)
    _draw_distances(line_axes, record)
    for axes in (map_axes, line_axes):
        axes.tick_params(labelsize=7)


def _draw_zoom(axes: Any, record: ExplainedRecord, run: Run) -> None:
    """Draw the block of a run: its two arms with their letters, and its pairs."""
    from genomeformer_cli.core.explanation.pairs import stem_scores, symmetric

    is_repeat = run.kind == "direct repeat"
    values_LL = symmetric(record.strengths_LL) if is_repeat else stem_scores(record.pairing_LL)
    top = _top(record) if is_repeat else values_LL.max()
    first_N, second_N = (np.array(places) for places in zip(*run.pairs(), strict=True))
    length = record.codes.size
    rows, columns = (
        np.arange(max(part.min() - _ZOOM_MARGIN, 0), min(part.max() + _ZOOM_MARGIN + 1, length))
        for part in (first_N, second_N)
    )
    axes.imshow(values_LL[np.ix_(rows, columns)], cmap="Greys", vmin=0, vmax=top)
    axes.plot(
        second_N - columns[0], first_N - rows[0], "s", markersize=_ZOOM_HEIGHT * 42 / len(columns),
        markerfacecolor="none", markeredgecolor="#ee6677", markeredgewidth=1.4,
    )  # fmt: skip
    names = _position_names(record)
    for axis, places in ((axes.xaxis, columns), (axes.yaxis, rows)):
        labels = [BASES[record.codes[place]] for place in places]
        axis.set_ticks(range(len(places)), labels, fontsize=min(7, 160 / len(places)))
    measure = "strength" if is_repeat else "stem score"
    axes.set_title(
        f"{run.kind} ({measure}): {names[first_N.min()]} to {names[first_N.max()]} with "
        f"{names[second_N.min()]} to {names[second_N.max()]}",
        fontsize=6,
        loc="left",
    )


def _draw_map(figure: Any, axes: Any, record: ExplainedRecord) -> None:
    values_LL = np.ma.masked_invalid(record.strengths_LL)
    image = axes.imshow(values_LL, cmap="Greys", vmin=0, vmax=_top(record), rasterized=True)
    figure.colorbar(
        image, ax=axes, shrink=0.7, extend="max", label="change of log2-odds"
    ).ax.tick_params(labelsize=7)
    for kind, style in _STYLES.items():
        runs = [run for run in record.pairs.runs if run.kind == kind]
        for number, run in enumerate(runs):
            first_N, second_N = zip(*run.pairs(), strict=True)
            axes.plot(
                second_N, first_N, style, color="#ee6677", linewidth=4, alpha=0.4,
                label=kind if number == 0 else None,
            )  # fmt: skip
    if record.pairs.runs:
        axes.legend(frameon=False, fontsize=7, loc="lower left")
    axes.set_title(record.id, fontsize=9, loc="left")
    _name_positions(axes, record)


def _top(record: ExplainedRecord) -> float:
    """Return the strength that is drawn black."""
    values = record.strengths_LL[np.isfinite(record.strengths_LL)]
    return float(np.percentile(values, _TOP_SHARE)) or 1.0


def _position_names(record: ExplainedRecord) -> list[str]:
    """Return the genome coordinates of all bases, or their positions in the record."""
    positions = record.genome_positions() or range(1, record.codes.size + 1)
    return [f"{place:,}" for place in positions]


def _name_positions(axes: Any, record: ExplainedRecord) -> None:
    """Label the axes of a map by genome coordinates, or by positions of the record."""
    from matplotlib import ticker

    positions, region = record.genome_positions(), record.region
    label = "position (bases)"
    if positions is not None and region is not None:
        label = f"position on {region.chrom} (bases, strand {region.strand})"
    names = _position_names(record)

    def name_of(value: float, _: int) -> str:
        return names[round(value)] if 0 <= round(value) < len(names) else ""

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(name_of)
        axis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    if len(names) <= _MAX_LETTERS:
        letters = [BASES[code] for code in record.codes]
        top = axes.secondary_xaxis("top")
        top.set_xticks(range(len(names)), letters, fontsize=4)
    axes.set_xlabel(f"predicted {label}", fontsize=8)
    axes.set_ylabel(f"substituted {label}", fontsize=8)


def _draw_distances(axes: Any, record: ExplainedRecord) -> None:
    """Draw the mean strength by distance; codons show as peaks at multiples of three."""
    from genomeformer_cli.core.explanation.pairs import mean_by_distance

    longest = min(_LONGEST_DISTANCE, record.codes.size - 1)
    mean_D = mean_by_distance(record.strengths_LL, longest)
    distance_D = np.arange(1, longest + 1)
    is_codon = distance_D % 3 == 0
    axes.plot(distance_D, mean_D, color="0.4", linewidth=0.9)
    axes.plot(
        distance_D[is_codon], mean_D[is_codon], "o", color="#4477aa", markersize=3,
        label="multiples of 3",
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=7)
    axes.set_xlabel("distance (bases)", fontsize=8)
    axes.set_ylabel("mean change of log2-odds", fontsize=8)
    if np.isfinite(record.codon_periodicity):
        text = f"in frame / out of frame: {record.codon_periodicity:.2f}"
        axes.set_title(text, fontsize=9, loc="left")
