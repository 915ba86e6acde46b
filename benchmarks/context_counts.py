"""The best interpolated context counts for each held-out record, on both sides and on the left.

Counts both strands of the training FASTA files, up to 12 neighbours a side (16 on the left), of
each file and of all; scores every position of each held-out record (the first million), and prints
the counts that do best on it.

    python benchmarks/context_counts.py --train train.fa.gz --test held_out.fa.gz

Without files, a bundled bacterium is counted and two bundled phages are scored.
Records of one genome are those whose ids begin alike up to the first `|`; `--whole` scores them
together.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

import genomeformer_cli
from genomeformer_cli.core.evaluation.counts import CorpusCounter, best_tables
from genomeformer_cli.core.evaluation.wide_counts import ContextQueries, Sides
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases

SAMPLES = Path(genomeformer_cli.__file__).parent / "assets" / "genomes"
MARGIN = {Sides.BOTH: 6, Sides.LEFT: 12}
CHUNK = 1 << 20


def main() -> None:
    """Count, score, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, nargs="+", default=sorted(SAMPLES.glob("NC_000*.gz")))
    parser.add_argument("--test", type=Path, nargs="+", default=sorted(SAMPLES.glob("NC_001*.gz")))
    parser.add_argument("--max-positions", type=int, default=1_000_000, help="per record")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--sides", choices=list(Sides), action="append")
    options = parser.parse_args()
    print("| genome | sides | counted on | order | positions | bits per base | accuracy |")
    print("|---|---|---|---|---|---|---|")
    for sides in options.sides or list(Sides):
        names, queries, owner_N = read_queries(options, Sides(sides))
        start = time.process_time()
        counter = count(options.train, queries, Sides(sides))
        counted = time.process_time() - start
        subsets = {("genome", name): owner_N == index for index, name in enumerate(names)}
        for (_, name), table in best_tables(counter.scores(), subsets).items():
            score = table.scores.score()
            print(
                f"| {name} | {sides} | {table.group or 'all'} | {table.order} | "
                f"{score.num_bases:,} | {score.bits_per_base:.4f} | {score.accuracy:.4f} |"
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{sides}: counted in {counted:.1f} s of CPU; peak {peak:.0f} MB")


def read_queries(
    options: argparse.Namespace, sides: Sides
) -> tuple[list[str], ContextQueries, np.ndarray]:
    """Return the names of the tested genomes, the queries, and the genome of each query."""
    parts: list[tuple[Codes, np.ndarray]] = []
    owners: list[str] = []
    for path in options.test:
        for record in read_records(path):
            margin = MARGIN[sides]
            codes = encode_bases(record.sequence)[: options.max_positions + 2 * margin]
            centres = positions(codes, margin, sides)
            if centres.size:
                parts.append((codes, centres))
                owners.append(record.id.partition("|")[0] if options.whole else record.id)
    names = list(dict.fromkeys(owners))
    sizes = [centres.size for _, centres in parts]
    owner_N = np.repeat([names.index(owner) for owner in owners], sizes)
    return names, ContextQueries.of_parts(parts), owner_N


def positions(codes: Codes, margin: int, sides: Sides) -> np.ndarray:
    """Return the positions of the bases with `margin` known neighbours."""
    span = sides.span(margin)
    if codes.size < span:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes < NUM_REAL_BASES, span)
    return np.flatnonzero(windows.all(axis=1)) + margin


def count(paths: list[Path], queries: ContextQueries, sides: Sides) -> CorpusCounter:
    """Count every file; several files are counted one by one as well."""
    groups = [path.name for path in paths] if len(paths) > 1 else []
    counter = CorpusCounter(queries, sum(path.stat().st_size * 3 for path in paths), sides, groups)
    for path in paths:
        for record in read_records(path):
            codes = encode_bases(record.sequence)
            for start in range(0, codes.size, CHUNK):
                chunk = codes[start : start + CHUNK + counter.overlap]
                is_last = start + CHUNK >= codes.size
                counter.add(chunk, path.name if groups else "", is_last=is_last)
    return counter


if __name__ == "__main__":
    main()
