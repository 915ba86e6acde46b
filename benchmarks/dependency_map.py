"""Known base pairs of tRNAs and of an rRNA hairpin among the strongest pairs of dependency maps.

The tRNAs of held-out genomes are found by their shape: the cloverleaf of Sprinzl's numbering
(Sprinzl et al. 1998: stems of 7, 4, 5 and 5 pairs, T8, A14, T33, TTCRANY), without long variable
arms. `--check` compares the search with the tRNAs of an annotation. The hairpin is helix 45 at the
3' end of 16S rRNA, found by the anti-Shine-Dalgarno sequence that follows it: nine pairs.
Precision: share of known pairs among the L/5 strongest pairs of the tRNA, 4 or more bases apart;
of the hairpin, among its nine strongest. Beside the model: its random twin, pointwise mutual
information of two bases at a distance in training genomes, and the longest run of complementary
bases through a pair, which needs no training at all.

python benchmarks/dependency_map.py --genome HELD_OUT.fa.gz --counts TRAINING.fa.gz
"""

from __future__ import annotations

import argparse
import gzip
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.explanation.dependencies import DependencyMap, dependency_map
from genomeformer_cli.core.explanation.pairs import MIN_DISTANCE, corrected, stem_scores, symmetric
from genomeformer_cli.core.formats.gff import read_gff
from genomeformer_cli.core.formats.text import read_lines
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.store.layout import Store

ROOT = Path(__file__).parents[1]
ANNOTATED = ROOT / "genomeformer_cli" / "assets" / "genomes" / "NC_000908.2.fa.gz"
ANNOTATION = ROOT / "tests" / "data" / "annotation" / "NC_000908.2.gff.gz"
PAIRS = {"AT", "TA", "CG", "GC", "GT", "TG"}
FLANK, LONGEST, COUNTED_BASES = 20, 140, 200_000
HELIX_ARM, HELIX_LOOP, AFTER_HELIX = 9, 4, "GGATCACCTCC"

Floats = npt.NDArray[np.float64]
Score = Callable[[str], Floats]


@dataclass(frozen=True)
class Structure:
    """Sequence with flanks, and its known pairs."""

    genome: str
    bases: str
    pairs: frozenset[tuple[int, int]]
    start: int
    end: int


def read_fasta(path: Path) -> dict[str, str]:
    """Return the bases of each genome: records whose ids share the part before `|`."""
    genomes: dict[str, list[str]] = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            if line[0] == ">":
                genomes.setdefault(name := line[1:].split()[0].split("|")[0], []).append("N" * 200)
            else:
                genomes[name].append(line.strip().upper())
    return {name: "".join(parts) for name, parts in genomes.items()}


def stem(first: int, second: int, length: int) -> list[tuple[int, int]]:
    """Return the pairs of a stem from its outermost bases."""
    return [(first + k, second - k) for k in range(length)]


def num_paired(text: str, pairs: list[tuple[int, int]]) -> int:
    """Return how many pairs can form."""
    return sum(text[i] + text[j] in PAIRS for i, j in pairs)


def cloverleaf(text: str, loop: int) -> tuple[int, list[tuple[int, int]]] | None:
    """Return the first base and pairs of the tRNA whose T loop starts at a place, or None."""
    best: tuple[int, int, list[tuple[int, int]]] | None = None
    for variable in (4, 5):
        for d_loop in range(7, 12):
            anticodon_end = loop - 5 - variable  # exclusive
            anticodon = anticodon_end - 17
            d_stem = anticodon - 1 - 4 - d_loop - 4
            first = d_stem - 2 - 7
            if first < 0 or text[first + 7] != "T" or text[d_stem + 4] != "A":
                continue
            if text[anticodon + 6] != "T":
                continue
            stems = [
                stem(first, loop + 18, 7),
                stem(d_stem, anticodon - 2, 4),
                stem(anticodon, anticodon_end - 1, 5),
                stem(loop - 5, loop + 11, 5),
            ]
            counts = [num_paired(text, pairs) for pairs in stems]
            if counts[0] >= 6 and counts[1] >= 2 and min(counts[2:]) >= 4 and sum(counts) >= 19:
                found = (sum(counts), first, [pair for pairs in stems for pair in pairs])
                best = max(best, found) if best else found
    return None if best is None else best[1:]


def find_trnas(genome: str, name: str, flank: int = FLANK) -> Iterator[Structure]:
    """Yield the tRNAs of both strands, each sequence once."""
    seen = set()
    for text in (genome, reverse_complement(genome)):
        for loop in range(100, len(text) - 60):
            if text[loop : loop + 3] != "TTC" or text[loop + 4] != "A":
                continue
            if text[loop + 3] not in "AG" or text[loop + 6] not in "CT":
                continue
            found = cloverleaf(text[loop - 90 : loop + 60], 90)
            if found is None:
                continue
            first, pairs = loop - 90 + found[0], found[1]
            end = loop + 19
            if "N" in text[first - flank : end + flank] or text[first:end] in seen:
                continue
            seen.add(text[first:end])
            shift = found[0] - flank
            yield Structure(
                genome=name,
                bases=text[first - flank : end + flank],
                pairs=frozenset((i - shift, j - shift) for i, j in pairs),
                start=flank,
                end=flank + end - first,
            )


def find_helix(genome: str, name: str) -> Structure | None:
    """Return helix 45 of 16S rRNA with flanks, or None."""
    length = 2 * HELIX_ARM + HELIX_LOOP
    for text in (genome, reverse_complement(genome)):
        place = text.find(AFTER_HELIX)
        while place >= 0:
            first = place - length
            pairs = stem(first, place - 1, HELIX_ARM)
            if first >= FLANK and num_paired(text, pairs) == HELIX_ARM:
                begin = first - 2 * FLANK
                return Structure(
                    genome=name,
                    bases=text[begin : place + 2 * FLANK],
                    pairs=frozenset((i - begin, j - begin) for i, j in pairs),
                    start=2 * FLANK,
                    end=place - begin,
                )
            place = text.find(AFTER_HELIX, place + 1)
    return None


def check_search() -> str:
    """Compare the search with the annotated tRNAs of M. genitalium."""
    with gzip.open(ANNOTATED, "rt") as file:
        genome = "".join(line.strip() for line in file if line[0] != ">").upper()
    records = read_gff(read_lines(ANNOTATION), str(ANNOTATION)).records
    known = [
        genome[feature.start : feature.end]
        for record in records.values()
        for feature in record.features
        if feature.type == "tRNA"
    ]
    known += [reverse_complement(bases) for bases in known]
    found = [row.bases[row.start : row.end] for row in find_trnas("N" * 200 + genome, "check")]
    right = sum(any(bases in tRNA for tRNA in known) for bases in found)
    return f"{len(found)} found, {right} of them annotated, of {len(known) // 2} annotated tRNAs"


def information_table(genome: str) -> Floats:
    """Return log2 p(a, b at a distance) / p(a) p(b) of all distances, (D, 4, 4)."""
    codes = encode_bases(genome + "N" * LONGEST + reverse_complement(genome))
    table = np.zeros((LONGEST, 4, 4))
    for distance in range(1, LONGEST):
        first, second = codes[:-distance], codes[distance:]
        real = (first < 4) & (second < 4)
        counts = np.bincount(4 * first[real].astype(np.int64) + second[real], minlength=16)
        joint = (counts + 1).reshape(4, 4) / (counts.sum() + 16)
        table[distance] = np.log2(joint / np.outer(joint.sum(1), joint.sum(0)))
    return table


def information_score(table: Floats) -> Score:
    """Return the score of pairs by their pointwise mutual information."""

    def score(bases: str) -> Floats:
        codes = encode_bases(bases).astype(np.int64)
        i, j = np.indices((codes.size, codes.size))
        values: Floats = np.abs(
            table[np.abs(i - j), codes[np.minimum(i, j)], codes[np.maximum(i, j)]]
        )
        return values

    return score


def run_score(bases: str) -> Floats:
    """Return the length of the longest run of complementary bases through each pair."""
    length = len(bases)
    values = np.zeros((length, length))
    for total in range(2 * length - 1):
        pairs = [(i, total - i) for i in range(length) if i < total - i < length]
        run: list[tuple[int, int]] = []
        for pair in [*pairs, None]:
            if (
                pair
                and bases[pair[0]] + bases[pair[1]] in PAIRS
                and pair[1] - pair[0] >= MIN_DISTANCE
            ):
                run.append(pair)
                continue
            for place in run:
                values[place] = len(run)
            run = []
    return values + values.T


def map_scores(loaded: LoadedModel) -> dict[str, Score]:
    """Return the scores of a model: stem scores, and its map with and without the correction."""
    cache: dict[str, DependencyMap] = {}

    def found(bases: str) -> DependencyMap:
        if bases not in cache:
            cache[bases] = dependency_map(loaded, encode_bases(bases))
        return cache[bases]

    return {
        "stem score": lambda bases: stem_scores(found(bases).pairing_LL),
        "corrected": lambda bases: corrected(found(bases).strengths_LL),
        "plain": lambda bases: symmetric(found(bases).strengths_LL),
    }


def precision(row: Structure, values: Floats, number: int) -> float:
    """Return the share of known pairs among the strongest ones within the structure."""
    first, second = np.triu_indices(row.end - row.start, k=MIN_DISTANCE)
    first, second = first + row.start, second + row.start
    order = np.argsort(-values[first, second], kind="stable")[:number]
    hits = [(int(first[rank]), int(second[rank])) in row.pairs for rank in order]
    return float(np.mean(hits))


def chance(row: Structure) -> float:
    """Return the precision of a random order."""
    return len(row.pairs) / len(np.triu_indices(row.end - row.start, k=MIN_DISTANCE)[0])


def main() -> None:
    """Print a line per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genome", type=Path, action="append", default=[])
    parser.add_argument("--counts", type=Path, default=ANNOTATED)
    parser.add_argument("--model", default="default")
    parser.add_argument("--per-genome", type=int, default=8)
    parser.add_argument("--flank", type=int, default=FLANK, help="bases on both sides of a tRNA")
    parser.add_argument("--only", default="", help="part of the names of the genomes")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        print(check_search())
    torch.set_num_threads(1)
    trnas, helices = [], []
    for path in options.genome:
        for name, genome in read_fasta(path).items():
            if options.only not in name:
                continue
            found = list(find_trnas(genome, name, options.flank))
            helix = find_helix(genome, name)
            print(f"{name}: {len(found)} tRNAs, helix 45: {helix is not None}", flush=True)
            trnas += found[: options.per_genome]
            helices += [helix] if helix else []
    if not trnas:
        return
    folder = model_folder(options.model, store=Store(), reporter=SilentReporter())
    loaded = read_model(folder)
    (twin,) = random_twins(loaded, 0, 1).values()
    twin_loaded = LoadedModel(model=twin.eval(), tokenizer=loaded.tokenizer, folder=folder)
    training = "N".join(genome[:COUNTED_BASES] for genome in read_fasta(options.counts).values())
    scores: dict[str, Score] = {
        **{f"model, {name}": score for name, score in map_scores(loaded).items()},
        **{f"twin, {name}": score for name, score in map_scores(twin_loaded).items()},
        "information by distance": information_score(information_table(training)),
        "complementary run": run_score,
    }
    print(f"{len(trnas)} tRNAs, {len(helices)} helices")
    floors = [np.mean([chance(row) for row in rows]) for rows in (trnas, helices)]
    print(f"chance: tRNA {floors[0]:.3f}, helix {floors[1]:.3f}")
    for name, score in scores.items():
        values = [precision(row, score(row.bases), (row.end - row.start) // 5) for row in trnas]
        error = np.std(values) / np.sqrt(len(values))
        helix_values = [precision(row, score(row.bases), HELIX_ARM) for row in helices]
        by_genome = {
            genome: np.mean(
                [v for v, row in zip(values, trnas, strict=True) if row.genome == genome]
            )
            for genome in dict.fromkeys(row.genome for row in trnas)
        }
        print(
            f"{name}: tRNA {np.mean(values):.3f} +- {error:.3f} "
            f"({' '.join(f'{v:.2f}' for v in by_genome.values())}), "
            f"helix {np.mean(helix_values):.3f}",
            flush=True,
        )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{usage.ru_utime:.0f} s CPU")


if __name__ == "__main__":
    main()
