"""BED with nine columns: score from 0 to 1000, and a colour per class.

Columns: record, start, end, class, score, strand, start, end, colour. The first line is the `track`
line that genome browsers need for the colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import IO

from genomeformer_cli.core.formats.tracks.elements import Hit
from genomeformer_cli.core.formats.tracks.palette import class_color, rgb_text

_LARGEST = 1000


def write_bed(hits: Iterable[Hit], file: IO[bytes], *, title: str, labels: Sequence[str]) -> int:
    """Write sorted hits and return their number.

    Args:
        hits: Sorted hits.
        file: Binary file.
        title: Name of the track.
        labels: Classes, in the order of their colours.
    """
    colors = {label: rgb_text(class_color(number)) for number, label in enumerate(labels)}
    file.write(f'track name="{quoted(title)}" itemRgb="On" useScore=0\n'.encode())
    count = 0
    for hit in hits:
        place = (hit.start, hit.end)
        name, score = word(hit.label), bed_score(hit.score)
        cells = (hit.chrom, *place, name, score, hit.strand, *place, colors[hit.label])
        file.write(("\t".join(map(str, cells)) + "\n").encode())
        count += 1
    return count


def bed_score(score: float) -> int:
    """Return a probability as a whole number from 0 to 1000; other numbers are limited to it."""
    if math.isnan(score):
        return 0
    return round(min(max(score, 0.0), 1.0) * _LARGEST)


def word(text: str) -> str:
    """Return a name without blanks or control characters, which separate columns."""
    letters = ("_" if letter.isspace() or not letter.isprintable() else letter for letter in text)
    return "".join(letters) or "."


def quoted(text: str) -> str:
    """Return a title that can stand between double quotes on one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace('"', "'")
