"""The best interpolated table of context counts for each held-out record, of both sides and left.

Counts both strands of the training FASTA files, answers every position of each held-out record
(the first million), and prints for each the order that does best on it.

    python benchmarks/context_counts.py --train train.fa.gz --test held_out.fa.gz

Without files, a bundled bacterium is counted and two bundled phages are asked for.
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
from genomeformer_cli.core.evaluation.counts import (
    ContextCounter,
    ContextTables,
    Sides,
    best_order,
    score_positions,
)
from genomeformer_cli.core.evaluation.token_scores import TokenScores, concatenate_scores
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases

SAMPLES = Path(genomeformer_cli.__file__).parent / "assets" / "genomes"
ORDERS = {Sides.BOTH: 6, Sides.LEFT: 12}


def main() -> None:
    """Count, answer, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, nargs="+", default=sorted(SAMPLES.glob("NC_000*.gz")))
    parser.add_argument("--test", type=Path, nargs="+", default=sorted(SAMPLES.glob("NC_001*.gz")))
    parser.add_argument("--max-positions", type=int, default=1_000_000, help="of a record")
    parser.add_argument("--whole", action="store_true")
    chosen = parser.parse_args()
    print("| genome | sides | order | positions | bits per base | accuracy |")
    print("|---|---|---|---|---|---|")
    for sides, order in ORDERS.items():
        start = time.process_time()
        counter = ContextCounter(sides, order)
        for path in chosen.train:
            for record in read_records(path):
                counter.add(encode_bases(record.sequence))
        tables = counter.tables()
        counted = time.process_time() - start
        rows: dict[str, list[list[TokenScores]]] = {}
        for path in chosen.test:
            for record in read_records(path):
                name = record.id.partition("|")[0] if chosen.whole else record.id
                codes = encode_bases(record.sequence)
                rows.setdefault(name, []).append(answers_of(tables, codes, chosen.max_positions))
        for name, parts in rows.items():
            answers = [concatenate_scores(of_order) for of_order in zip(*parts, strict=True)]
            if not answers[0].bits_N.size:
                continue
            best = best_order(answers)
            score = answers[best].score()
            print(
                f"| {name} | {sides} | {best} | {score.num_bases:,} | "
                f"{score.bits_per_base:.4f} | {score.accuracy:.4f} |"
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{sides}: counted in {counted:.1f} s of CPU; peak {peak:.0f} MB")


def answers_of(tables: ContextTables, codes: Codes, max_positions: int) -> list[TokenScores]:
    """Answers of all orders at every position whose widest window has no N in it."""
    order = tables.order
    codes = codes[: max_positions + 2 * order]
    span = tables.sides.span(order)
    if codes.size < span:
        codes = np.empty(0, dtype=np.uint8)
        return score_positions(tables, codes, np.empty(0, dtype=np.int64))
    windows = np.lib.stride_tricks.sliding_window_view(codes < NUM_REAL_BASES, span)
    return score_positions(tables, codes, np.flatnonzero(windows.all(axis=1)) + order)


if __name__ == "__main__":
    main()
