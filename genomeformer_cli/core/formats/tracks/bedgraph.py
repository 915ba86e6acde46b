"""bedGraph: record, start, end and value, sorted and without overlaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from genomeformer_cli.core.formats.tracks.bed import quoted
from genomeformer_cli.core.formats.tracks.elements import Spans


def write_bedgraph(spans: Iterable[Spans], file: IO[bytes], *, title: str) -> int:
    """Write spans of finite values with six significant digits; return their number."""
    file.write(f'track type=bedGraph name="{quoted(title)}"\n'.encode())
    count = 0
    for piece in spans:
        present = piece.present()
        columns = (present.start_N.tolist(), present.end_N.tolist(), present.value_N.tolist())
        file.writelines(
            f"{present.chrom}\t{start}\t{end}\t{value:.6g}\n".encode()
            for start, end, value in zip(*columns, strict=True)
        )
        count += present.value_N.size
    return count
