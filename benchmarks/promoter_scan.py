"""Promoter scan of M. genitalium: a fine-tuned model, a -10/-35 matrix, and a k-mer model.

The first 60 % of the genome gives the training windows: the bases before the CDS starts, and
windows elsewhere on either strand. All score the same tiles of the rest, both strands. A call is a
tile that has the largest score of its surroundings; it is right if its centre lies within 60 bases
of that of the window before a CDS start of its strand. CDS starts stand in for promoters: genes of
an operon have none, so precision and recall serve the comparison alone.

python benchmarks/promoter_scan.py                 # fine-tunes the default model; two minutes
python benchmarks/promoter_scan.py --model NAME --epochs 6
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from genomeformer_cli.core.formats.feature import MINUS, Kind
from genomeformer_cli.core.formats.gff import read_gff
from genomeformer_cli.core.formats.text import read_lines

ROOT = Path(__file__).parents[1]
GENOME = ROOT / "genomeformer_cli" / "assets" / "genomes" / "NC_000908.2.fa.gz"
ANNOTATION = ROOT / "tests" / "data" / "annotation" / "NC_000908.2.gff.gz"
WIDTH, AFTER, STEP, NEAR, TRAIN_SHARE = 80, 20, 20, 60, 0.6
MODEL = "fine-tuned"
# Frequencies of the consensus bases of TTGACA and TATAAT in E. coli promoters.
BOXES = (
    ("TTGACA", (0.69, 0.79, 0.61, 0.56, 0.54, 0.54)),
    ("TATAAT", (0.77, 0.76, 0.60, 0.61, 0.56, 0.82)),
)
SPACERS = range(15, 20)
Place = tuple[int, str]
Score = Callable[[str], float]


def read_genome() -> tuple[str, list[Place]]:
    """Return the bases, and the first base and strand of the window before each CDS start."""
    with gzip.open(GENOME, "rt") as file:
        genome = "".join(line.strip() for line in file if line[0] != ">").upper()
    windows = []
    records = read_gff(read_lines(ANNOTATION), str(ANNOTATION)).records
    for record in records.values():
        for feature in record.features:
            if feature.kind is not Kind.CDS or not feature.is_certain or not feature.strand:
                continue
            if feature.strand == MINUS:
                windows.append((feature.end - AFTER, "-"))
            else:
                windows.append((feature.start - WIDTH + AFTER, "+"))
    inside = [place for place in windows if 0 <= place[0] <= len(genome) - WIDTH]
    return genome, sorted(set(inside))


def cut(genome: str, place: Place) -> str:
    """Return the bases of a window on its strand."""
    bases = genome[place[0] : place[0] + WIDTH]
    return bases if place[1] == "+" else bases.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def training_rows(genome: str, starts: list[Place], seed: int) -> list[tuple[str, int]]:
    """Return windows before CDS starts, and three times as many from elsewhere."""
    limit = int(TRAIN_SHARE * len(genome))
    rows = [(cut(genome, place), 1) for place in starts if place[0] + WIDTH <= limit]
    random = np.random.default_rng(seed)
    taken = {strand: np.array([p for p, s in starts if s == strand]) for strand in "+-"}
    wanted = 4 * len(rows)
    while len(rows) < wanted:
        place = (int(random.integers(limit - WIDTH)), "+-"[int(random.integers(2))])
        if np.abs(taken[place[1]] - place[0]).min() > NEAR:
            rows.append((cut(genome, place), 0))
    return rows


def matrix_score() -> Score:
    """Return the best log-odds of both boxes with a spacer of 15 to 19 bases."""
    tables = []
    for word, shares in BOXES:
        table = {}
        for number, (base, share) in enumerate(zip(word, shares, strict=True)):
            for other in "ACGT":
                value = share if other == base else (1 - share) / 3
                table[number, other] = float(np.log2(value / 0.25))
        tables.append(table)

    def score(bases: str) -> float:
        first, second = (
            [sum(table.get((n, bases[p + n]), 0.0) for n in range(6)) for p in range(WIDTH - 5)]
            for table in tables
        )
        return max(
            first[place] + second[place + 6 + spacer]
            for place in range(len(first))
            for spacer in SPACERS
            if place + 6 + spacer < len(second)
        )

    return score


def kmer_score(rows: list[tuple[str, int]], k: int = 4) -> Score:
    """Fit logistic regression on k-mer counts of the four quarters of a window."""
    index = {"".join(word): number for number, word in enumerate(product("ACGT", repeat=k))}

    def features(bases: str) -> np.ndarray:
        counts = np.zeros((4, len(index)), dtype=np.float32)
        for place in range(WIDTH - k + 1):
            number = index.get(bases[place : place + k])
            if number is not None:
                counts[4 * place // WIDTH, number] += 1
        return counts.ravel()

    fitted = LogisticRegression(C=0.01, max_iter=300)
    fitted.fit(np.array([features(bases) for bases, _ in rows]), [label for _, label in rows])
    weights, intercept = fitted.coef_[0], float(fitted.intercept_[0])
    return lambda bases: float(features(bases) @ weights) + intercept


def model_scores(
    genome: str, rows: list[tuple[str, int]], arguments: argparse.Namespace
) -> dict[Place, float]:
    """Fine-tune, scan by the command line, and return the probability of every tile."""
    offset = int(TRAIN_SHARE * len(genome))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environment = {**os.environ, "GENOMEFORMER_HOME": str(root / "cache")}
        lines = [f"r{n}\t{bases}\t{label}" for n, (bases, label) in enumerate(rows)]
        (root / "rows.tsv").write_text("id\tsequence\tlabel\n" + "\n".join(lines) + "\n")
        (root / "rest.fa").write_text(f">rest\n{genome[offset:]}\n")

        def run(*line: str) -> None:
            command = [sys.executable, "-m", "genomeformer_cli", *line, "--device", "cpu"]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(done.stderr)

        epochs = ("--epochs", str(arguments.epochs), "--set", f"training.seed={arguments.seed}")
        run(
            "finetune",
            str(root / "rows.tsv"),
            "--model",
            arguments.model,
            "--name",
            "scan",
            *epochs,
        )
        tiles = ("--tile", str(WIDTH), "--step", str(STEP), "--set", "regions.both_strands=true")
        table = root / "tiles.tsv"
        run("predict", str(root / "rest.fa"), "--model", "scan", *tiles, "-o", str(table))
        header, *body = (line.split("\t") for line in table.read_text().splitlines())
        start, strand, value = (header.index(name) for name in ("start", "strand", "p_1"))
        return {(int(row[start]) + offset, row[strand]): float(row[value]) for row in body}


def call(scores: dict[Place, float]) -> list[tuple[float, Place]]:
    """Return the tiles with the largest score of their surroundings, the best first."""
    calls: list[tuple[float, Place]] = []
    taken: dict[str, list[int]] = {"+": [], "-": []}
    for place, score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        if all(abs(place[0] - other) >= WIDTH for other in taken[place[1]]):
            taken[place[1]].append(place[0])
            calls.append((score, place))
    return calls


def measure(calls: list[tuple[float, Place]], starts: list[Place]) -> tuple[float, float, float]:
    """Return precision and recall of as many calls as there are starts, and average precision."""
    found: set[Place] = set()
    right = 0
    average = 0.0
    precision = recall = 0.0
    for number, (_, place) in enumerate(calls, start=1):
        near = [s for s in starts if s[1] == place[1] and abs(s[0] - place[0]) <= NEAR]
        new = [start for start in near if start not in found]
        right += bool(near)
        if new:
            found.add(new[0])
            average += right / number / len(starts)
        if number == len(starts):
            precision, recall = right / number, len(found) / len(starts)
    return precision, recall, average


def main() -> None:
    """Print a table of precision, recall and average precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    genome, all_starts = read_genome()
    rows = training_rows(genome, all_starts, arguments.seed)
    scores = {MODEL: model_scores(genome, rows, arguments)}
    places = list(scores[MODEL])
    for name, score in (("-10/-35 matrix", matrix_score()), ("4-mers", kmer_score(rows))):
        scores[name] = {place: score(cut(genome, place)) for place in places}
    random = np.random.default_rng(arguments.seed)
    scores["random"] = dict(zip(places, random.random(len(places)).tolist(), strict=True))
    starts = [place for place in all_starts if place[0] >= int(TRAIN_SHARE * len(genome))]
    print(f"{len(rows)} training rows, {len(places)} tiles, {len(starts)} CDS starts")
    print("model\tprecision\trecall\taverage_precision")
    for name, values in scores.items():
        print(name, *(f"{value:.3f}" for value in measure(call(values), starts)), sep="\t")


if __name__ == "__main__":
    main()
