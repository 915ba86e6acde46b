"""Promoter scan of genomes: a fine-tuned model, its random twin, a -10/-35 matrix, 4-mers, AT.

All learn from one table of labelled windows of 81 bases that end 20 bases after the transcription
start, and score the same tiles of both strands. Without `--training` the windows are those before
the CDS starts in the first 60 % of the genome, and the rest is scanned. A call is a tile that has
the largest score within its width on its strand; as many calls are made as there are starts.

Starts are those of the CDS that no other CDS of the strand precedes within 50 bases: genes inside
an operon need no promoter. A call is right if its transcription start lies at most 150 bases before
a start, or 20 after it; with CDS windows as training, at most 60 before or after. Genomes without
annotation have the open reading frames of codon_effects.py. Intervals resample stretches of 10 kbp.

    python benchmarks/promoter_scan.py
    python benchmarks/promoter_scan.py --training TABLE --first 300000 --bases 150000 \
        M_GENITALIUM.fa.gz,ANNOTATION.gff GENOMES.fa.gz@PREFIX
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from codon_effects import gene_rows
from sklearn.linear_model import LogisticRegression

from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.formats.feature import MINUS, Kind
from genomeformer_cli.core.formats.gff import read_gff
from genomeformer_cli.core.formats.sequences import read_sequences
from genomeformer_cli.core.formats.text import Line, read_lines
from genomeformer_cli.core.model_io.model_folder import read_model, write_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import decode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import seal

ROOT = Path(__file__).parents[1]
GENOME = ROOT / "genomeformer_cli" / "assets" / "genomes" / "NC_000908.2.fa.gz"
ANNOTATION = ROOT / "tests" / "data" / "annotation" / "NC_000908.2.gff.gz"
WIDTH, AFTER, STEP, TRAIN_SHARE = 81, 20, 20, 0.6
OPERON, BLOCK, NUM_RESAMPLED = 50, 10_000, 1_000
NEAR_STARTS, NEAR_GENES = (-60, 60), (-20, 150)  # Bases before a CDS start.
GENETIC_CODE = 11
# Frequencies of the consensus bases of TTGACA and TATAAT in E. coli promoters.
BOXES = (
    ("TTGACA", (0.69, 0.79, 0.61, 0.56, 0.54, 0.54)),
    ("TATAAT", (0.77, 0.76, 0.60, 0.61, 0.56, 0.82)),
)
SPACERS = range(15, 20)
Place = tuple[int, str]  # First base and strand of a window.
Row = tuple[str, int]  # Bases and label.
Score = Callable[[str], float]
Calls = list[tuple[float, Place]]


@dataclass(frozen=True)
class Scanned:
    """Stretch of a genome, with the windows that end `AFTER` bases after a CDS start."""

    name: str
    bases: str
    starts: list[Place]

    def part(self, first: int, end: int) -> Scanned:
        """Return a stretch of it."""
        starts = [(p - first, s) for p, s in self.starts if first <= p <= end - WIDTH]
        return Scanned(self.name, self.bases[first:end], starts)


def read_genome(text: str) -> Scanned:
    """Read the first record of a genome, and the starts of its transcripts."""
    place, _, annotation = text.partition(",")
    path, _, prefix = place.partition("@")
    record = next(item for item in read_sequences(Path(path)) if item.id.startswith(prefix))
    bases = decode_bases(record.codes)
    if annotation:
        lines, name = read_lines(Path(annotation)), annotation
    else:
        rows = ["##gff-version 3", *gene_rows(record.id, record.codes, GENETIC_CODE)]
        numbered = enumerate(rows, start=1)
        lines = (Line(number=number, text=row) for number, row in numbered)
        name = "open reading frames"
    genes = [
        (feature.start, feature.end, "-" if feature.strand == MINUS else "+")
        for annotated in read_gff(lines, name).records.values()
        for feature in annotated.features
        if feature.kind is Kind.CDS and feature.is_certain and feature.strand
    ]
    windows = []
    for start, end, strand in sorted(set(genes)):
        if strand == "+":
            before = [start - b for a, b, s in genes if s == strand and a < start]
            windows.append((start - WIDTH + AFTER, strand))
        else:
            before = [a - end for a, b, s in genes if s == strand and b > end]
            windows.append((end - AFTER, strand))
        if before and min(before) < OPERON:
            windows.pop()
    inside = [place for place in windows if 0 <= place[0] <= len(bases) - WIDTH]
    return Scanned(prefix or Path(path).name.partition(".fa")[0], bases, sorted(set(inside)))


def cut(bases: str, place: Place) -> str:
    """Return the bases of a window on its strand."""
    window = bases[place[0] : place[0] + WIDTH]
    return window if place[1] == "+" else window.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def rows_of_genome(part: Scanned, seed: int) -> list[Row]:
    """Return windows before CDS starts, and three times as many from elsewhere."""
    rows = [(cut(part.bases, place), 1) for place in part.starts]
    random = np.random.default_rng(seed)
    taken = {strand: np.array([p for p, s in part.starts if s == strand]) for strand in "+-"}
    size = 4 * len(rows)
    while len(rows) < size:
        place = (int(random.integers(len(part.bases) - WIDTH)), "+-"[int(random.integers(2))])
        if np.abs(taken[place[1]] - place[0]).min() > NEAR_STARTS[1]:
            rows.append((cut(part.bases, place), 0))
    return rows


def rows_of_table(path: Path, positive: str) -> list[Row]:
    """Return all rows of a table with the columns `sequence` and `label`."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(row["sequence"].upper(), int(row["label"] == positive)) for row in rows]


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


def kmer_score(rows: Sequence[Row], k: int = 4) -> Score:
    """Fit logistic regression on k-mer counts of the four quarters of a window."""
    index = {"".join(word): number for number, word in enumerate(product("ACGT", repeat=k))}

    def features(bases: str) -> npt.NDArray[np.float32]:
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


class FineTuned:
    """Model fine-tuned by the command line, in a cache of its own."""

    def __init__(self, root: Path, rows: Sequence[Row], model: str, epochs: float, seed: int):
        self.root = root
        root.mkdir()
        lines = [f"r{n}\t{bases}\t{label}" for n, (bases, label) in enumerate(rows)]
        (root / "rows.tsv").write_text("id\tsequence\tlabel\n" + "\n".join(lines) + "\n")
        options = ("--epochs", str(epochs), "--set", f"training.seed={seed}")
        self.run(
            "finetune",
            str(root / "rows.tsv"),
            "--model",
            model,
            "--name",
            "scan",
            "--set",
            "network=off",
            *options,
        )

    def run(self, *line: str) -> None:
        """Run a command and report its CPU time."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(
            [sys.executable, "-m", "genomeformer_cli", *line, "--device", "cpu"],
            env={**os.environ, "GENOMEFORMER_HOME": str(self.root / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        print(f"{line[0]}: {seconds:.0f} CPU s", file=sys.stderr, flush=True)

    def scores(self, bases: str, context: int | None = None) -> dict[Place, float]:
        """Scan a genome and return the log-odds of every tile."""
        genome, table = self.root / "genome.fa", self.root / "tiles.tsv"
        genome.write_text(f">genome\n{bases}\n")
        table.unlink(missing_ok=True)
        tiles = ["--tile", str(WIDTH), "--step", str(STEP), "--set", "regions.both_strands=true"]
        if context is not None:
            tiles += ["--set", f"regions.context={context}"]
        self.run("predict", str(genome), "--model", "scan", *tiles, "-o", str(table))
        return read_tiles(table)


def read_tiles(table: Path) -> dict[Place, float]:
    """Return the log-odds of the tiles; a probability near 1 has too few digits to be ranked."""
    header, *body = (line.split("\t") for line in table.read_text().splitlines())
    start, strand, low, high = (header.index(n) for n in ("start", "strand", "p_0", "p_1"))
    return {
        (int(row[start]), row[strand]): math.log(float(row[high])) - math.log(float(row[low]))
        for row in body
    }


def write_twin(model: str, seed: int, folder: Path) -> Path:
    """Write a model of the same configuration with random weights."""
    folder.mkdir()
    found = model_folder(model, store=Store(), reporter=SilentReporter())
    loaded = read_model(found)
    (twin,) = random_twins(loaded, seed, 1).values()
    write_model(twin, loaded.tokenizer, folder)
    seal(folder)
    return folder


def best_tiles(scores: dict[Place, float]) -> Calls:
    """Return the tiles with the largest score of their surroundings, the best first."""
    calls: Calls = []
    taken: dict[str, set[int]] = {"+": set(), "-": set()}
    for place, score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        around = range(place[0] // WIDTH - 1, place[0] // WIDTH + 2)
        near = (p for cell in around for p in taken_in(taken[place[1]], cell))
        if all(abs(place[0] - other) >= WIDTH for other in near):
            taken[place[1]].add(place[0])
            calls.append((score, place))
    return calls


def taken_in(taken: set[int], cell: int) -> list[int]:
    """Return the taken positions of a cell of one width."""
    return [p for p in range(cell * WIDTH, (cell + 1) * WIDTH) if p in taken]


def measure(calls: Calls, starts: list[Place], near: tuple[int, int]) -> str:
    """Return precision and recall of as many calls as there are starts, and average precision."""
    found: set[Place] = set()
    right = 0
    average = 0.0
    size = max(place[0] for place in (*starts, *(place for _, place in calls))) // BLOCK + 1
    count_B4 = np.zeros((size, 4))  # Right calls, calls, found starts, starts.
    for place in starts:
        count_B4[place[0] // BLOCK, 3] += 1
    for number, (_, place) in enumerate(calls, start=1):
        sign = 1 if place[1] == "+" else -1
        hits = [
            start
            for start in starts
            if start[1] == place[1] and near[0] <= sign * (start[0] - place[0]) <= near[1]
        ]
        right += bool(hits)
        new = [start for start in hits if start not in found]
        if new:
            found.add(new[0])
            average += right / number / len(starts)
        if number <= len(starts):
            count_B4[place[0] // BLOCK, :2] += (bool(hits), 1)
            if new:
                count_B4[new[0][0] // BLOCK, 2] += 1
    random = np.random.default_rng(0)
    drawn = count_B4[random.integers(size, size=(NUM_RESAMPLED, size))].sum(axis=1)
    cells = []
    for part, whole in ((0, 1), (2, 3)):
        value = count_B4[:, part].sum() / count_B4[:, whole].sum()
        low, high = np.quantile(drawn[:, part] / np.maximum(drawn[:, whole], 1), (0.025, 0.975))
        cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
    return "\t".join((*cells, f"{average:.3f}"))


def main() -> None:
    """Print a table of precision, recall and average precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("genomes", nargs="*", default=[f"{GENOME},{ANNOTATION}"])
    parser.add_argument("--training", type=Path)
    parser.add_argument("--positive", default="1")
    parser.add_argument("--first", type=int, default=0, help="first base to scan")
    parser.add_argument("--bases", type=int, default=10**9, help="scan no more of a genome")
    parser.add_argument("--model", default="default")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contexts", type=int, nargs="*", default=[], help="shared stretches too")
    arguments = parser.parse_args()
    genomes = [read_genome(text) for text in arguments.genomes]
    if arguments.training:
        rows, near = rows_of_table(arguments.training, arguments.positive), NEAR_GENES
        first, end = arguments.first, arguments.first + arguments.bases
        parts = [genome.part(first, end) for genome in genomes]
    else:
        if len(genomes) > 1:
            parser.error("several genomes need `--training`")
        limit = int(TRAIN_SHARE * len(genomes[0].bases))
        rows, near = rows_of_genome(genomes[0].part(0, limit), arguments.seed), NEAR_STARTS
        parts = [genomes[0].part(limit, limit + arguments.bases)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        twin = write_twin(arguments.model, arguments.seed, root / "weights")
        tuned = {
            name: FineTuned(root / name, rows, model, arguments.epochs, arguments.seed)
            for name, model in (("fine-tuned", arguments.model), ("random-twin", str(twin)))
        }
        fixed: dict[str, Score] = {
            "-10/-35 matrix": matrix_score(),
            "4-mers": kmer_score(rows),
            "AT content": lambda bases: float(bases.count("A") + bases.count("T")),
        }
        for part in parts:
            scores = {name: model.scores(part.bases) for name, model in tuned.items()}
            for context in arguments.contexts:
                name = f"fine-tuned, context {context}"
                scores[name] = tuned["fine-tuned"].scores(part.bases, context)
            places = list(scores["fine-tuned"])
            for name, score in fixed.items():
                scores[name] = {place: score(cut(part.bases, place)) for place in places}
            random = np.random.default_rng(arguments.seed)
            scores["random scores"] = {place: float(random.random()) for place in places}
            share = np.mean([value > 0 for value in scores["fine-tuned"].values()])
            print(
                f"\n{part.name}: {len(rows)} training rows, {len(part.bases)} bases, "
                f"{len(places)} tiles, {len(part.starts)} starts; "
                f"probability above 0.5 on {share:.1%} of the tiles\n"
                "model\tprecision\trecall\taverage_precision"
            )
            for name, values in scores.items():
                print(name, measure(best_tiles(values), part.starts, near), sep="\t", flush=True)


if __name__ == "__main__":
    main()
