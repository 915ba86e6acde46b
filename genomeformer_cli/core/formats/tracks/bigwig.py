"""bigWig: binary, indexed, with zoom levels; values in single precision. Needs `pyBigWig`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import MissingExtraError, StoreError
from genomeformer_cli.core.formats.tracks.elements import Chromosome, Spans

_SPANS_AT_ONCE = 1 << 16


def require_bigwig() -> Any:
    """Return the package that writes bigWig files.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("pyBigWig")
    except ImportError:
        raise MissingExtraError(
            "bigWig files need `pyBigWig`",
            hint="`pip install 'genomeformer[tracks]'`, or write `.bedgraph`",
        ) from None


def write_bigwig(spans: Iterable[Spans], path: Path, *, chromosomes: Sequence[Chromosome]) -> int:
    """Write spans of finite values and return their number.

    Args:
        spans: Spans in the order of the chromosomes, ascending.
        path: File to write; it may exist and be empty.
        chromosomes: Records of the genome, in its order.

    Raises:
        MissingExtraError: The package is not installed.
        StoreError: The file cannot be written.
    """
    package = require_bigwig()
    count = 0
    try:
        file = package.open(str(path), "w")
        try:
            file.addHeader(
                [(record.name, record.length) for record in chromosomes if record.length]
            )
            for piece in spans:
                count += _add(file, piece.present())
        finally:
            file.close()
    except RuntimeError as failure:
        raise StoreError(
            f"could not write `{path.name}` as bigWig: {failure}",
            hint="free some space, or write `.bedgraph`",
        ) from failure
    return count


def _add(file: Any, spans: Spans) -> int:
    for first in range(0, spans.value_N.size, _SPANS_AT_ONCE):
        part = slice(first, first + _SPANS_AT_ONCE)
        start, end = spans.start_N[part].tolist(), spans.end_N[part].tolist()
        values = spans.value_N[part].tolist()
        file.addEntries([spans.chrom] * len(start), start, ends=end, values=values)
    return int(spans.value_N.size)
