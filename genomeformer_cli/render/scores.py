"""What `score` found, as tab-separated values, and the map of substitutions as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.render.plots import can_plot

if TYPE_CHECKING:
    from genomeformer_cli.core.evaluation.variants import VariantScore
    from genomeformer_cli.core.workflows.score import MutatedRecord, ScoredRecord

RECORD_COLUMNS = (*("id", "length", "scored", "log_likelihood", "bits_per_base", "perplexity"),)
BASE_COLUMNS = ("id", "position", "base", "bits", "p_a", "p_c", "p_g", "p_t")
VARIANT_COLUMNS = (
    *("chromosome", "position", "id", "ref", "alt", "log_odds", "embedding_distance", "note"),
)
MAP_COLUMNS = ("id", "position", "ref", "alt", "log_odds")
_MOST_DRAWN = 6


def number(value: float | None, digits: int = 5) -> str:
    """A number, or `NA` where there is none."""
    return "NA" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def row(cells: Iterable[object]) -> bytes:
    """A line of a table."""
    return ("\t".join(str(cell) for cell in cells) + "\n").encode()


def record_row(one: ScoredRecord) -> bytes:
    """A record's sums."""
    score = one.score
    values = (score.log_likelihood, score.bits_per_base, score.perplexity)
    return row((score.id, score.length, score.num_scored, *map(number, values)))


def base_rows(one: ScoredRecord) -> Iterator[bytes]:
    """A row a base."""
    chances = 2.0**one.log2_LR
    for place, code in enumerate(one.codes):
        values = (one.score.bits_L[place], *chances[place])
        yield row((one.score.id, place + 1, BASES[code], *(number(float(v)) for v in values)))


def with_bases(scored: Iterable[ScoredRecord], out: IO[bytes]) -> Iterator[ScoredRecord]:
    """The records, each one's bases written on the way."""
    for one in scored:
        out.writelines(base_rows(one))
        yield one


def variant_row(one: VariantScore) -> bytes:
    """An allele."""
    variant = one.variant
    names = (variant.chromosome, variant.position, variant.id, variant.ref, variant.alt)
    return row((*names, number(one.log_odds), number(one.embedding_distance), one.note))


def map_rows(one: MutatedRecord) -> Iterator[bytes]:
    """A row a substitution."""
    for place, code in enumerate(one.codes):
        for base in range(NUM_REAL_BASES):
            if code < NUM_REAL_BASES and base != code:
                odds = number(float(one.odds_LR[place, base]))
                yield row((one.id, place + 1, BASES[code], BASES[base], odds))


def write_rows(out: IO[bytes], columns: tuple[str, ...], rows: Iterable[bytes]) -> int:
    """Write a table; return how many rows it has."""
    lines = iter(rows)
    first = next(lines, None)  # an input that cannot be read leaves nothing behind
    out.write(row(columns))
    count = 0
    for line in () if first is None else chain((first,), lines):
        out.write(line)
        count += 1
    out.flush()
    return count


def check_picture(place: Path | None) -> None:
    """Make sure that a picture can be drawn before anything is computed.

    Raises:
        UsageError: It cannot be.
    """
    if place is None:
        return
    if place.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"`{place}` cannot be a picture by its name", hint="`.png`, `.svg` or `.pdf`"
        )
    if not can_plot():
        raise UsageError(
            "`--plot` needs matplotlib, which is not installed",
            hint='`pip install "genomeformer[plots]"`, or leave `--plot` out',
        )


def plot_maps(maps: list[MutatedRecord], place: Path) -> None:
    """Draw the maps of the first records: a column a base, a row a letter."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = maps[:_MOST_DRAWN]
    width = min(max(4.0, 0.08 * max(one.codes.size for one in shown) + 1.5), 60.0)
    figure, grid = plt.subplots(
        len(shown), 1, figsize=(width, 1.6 * len(shown) + 0.6), layout="constrained", squeeze=False
    )
    most = max(float(abs(one.odds_LR[one.codes < NUM_REAL_BASES]).max()) for one in shown)
    for axes, one in zip(grid[:, 0], shown, strict=True):
        image = axes.imshow(
            one.odds_LR.T, aspect="auto", cmap="RdBu_r", vmin=-most, vmax=most, rasterized=True
        )
        axes.set_yticks(range(NUM_REAL_BASES), list(BASES[:NUM_REAL_BASES]))
        axes.set(title=one.id, xlabel="position")
        axes.xaxis.set_major_formatter(lambda value, _: f"{int(value) + 1}")
    figure.colorbar(image, ax=grid[:, 0].tolist(), label="log2 p(alt) / p(ref)")
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    suffix = place.suffix.lower()
    with mpl.rc_context({"svg.hashsalt": "genomeformer"}), atomic_file(place) as file:
        figure.savefig(file, format=suffix[1:], dpi=120, metadata=metadata[suffix])
    plt.close(figure)
