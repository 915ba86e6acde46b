"""One vector per genome: the mean of the vectors of its sequences, weighted by their bases.

The sequences are whole records, or better tiles, each with its mean over the real bases; weighted
by the number of real bases (A C G T) they give the mean over all bases of the genome. A base in two
overlapping tiles counts twice. A sequence of N alone has weight 0; a group of such is a row of NaN.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.vector_writer import VectorWriter
from genomeformer_cli.core.formats.groups import GroupBy, group_name
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.workflows.sources import Look

_FOLDER = "genomes"


def pool_genomes(
    rows: VectorWriter, vectors: npt.NDArray[np.float32], look: Look, by: GroupBy, dtype: str
) -> tuple[VectorWriter, list[int]]:
    """Return one row per group, in the order of the first sequence of each, and its real bases.

    Args:
        rows: Rows of the sequences, all written.
        vectors: The array of the rows, (N, width).
        look: Sources of the sequences.
        by: Group of a sequence.
        dtype: Data type of the result.
    """
    groups: dict[tuple[int, str], int] = {}
    sums: list[npt.NDArray[np.float64]] = []
    weights: list[int] = []
    for vector, query in zip(vectors, look.read(), strict=True):
        name = group_name(look.genomes[query.genome], _record(query), by)
        group = groups.setdefault((query.genome, name), len(groups))
        if group == len(sums):
            sums.append(np.zeros(rows.width))
            weights.append(0)
        num_bases = int(np.count_nonzero(query.codes < NUM_REAL_BASES))
        # A sequence without a whole token has bases and no vector.
        if num_bases and np.isfinite(vector).all():
            sums[group] += num_bases * vector.astype(np.float64)
            weights[group] += num_bases
    folder: Path = rows.folder / _FOLDER
    pooled = VectorWriter(folder, width=rows.width, dtype=np.dtype(dtype), job="")
    out = pooled.add_records([name for _, name in groups], [1] * len(groups))
    for group, (total, weight) in enumerate(zip(sums, weights, strict=True)):
        out[group] = total / weight if weight else np.nan
    pooled.commit()
    return pooled, weights


def _record(query: Query) -> str:
    return query.id if query.region is None else query.region.chrom
