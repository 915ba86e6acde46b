"""Neighbourhoods of the gene vectors of M. genitalium: a model, its random twin, and k-mers.

`class`: genes of ribosomal proteins, of transfer RNA (ligases and modification) and of the membrane
(transport, lipoproteins), by the product of the annotation, read 5' to 3'. `strand`: all genes read
on the forward strand. Balanced accuracy of the nearest neighbours, each gene left out once; cosine
of centred vectors; intervals by gene. Ribosomal genes are short: `length` shows what that gives.

python benchmarks/gene_vectors.py                # a minute
python benchmarks/gene_vectors.py --colors TABLE # also writes gene and class, for `plot_colors`
"""

from __future__ import annotations

import argparse
import gzip
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from genomeformer_cli.api import EmbeddingModel, regions
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import decode_bases, reverse_complement
from genomeformer_cli.core.store.layout import Store

ROOT = Path(__file__).parents[1]
GENOME = ROOT / "genomeformer_cli" / "assets" / "genomes" / "NC_000908.2.fa.gz"
ANNOTATION = ROOT / "tests" / "data" / "annotation" / "NC_000908.2.gff.gz"
CLASSES = (
    ("ribosomal", r"ribosomal protein"),
    ("tRNA", r"tRNA"),
    ("membrane", r"lipoprotein|membrane|permease|transporter|ABC "),
)
NUM_NEIGHBOURS, NUM_RESAMPLED = 5, 1_000
Matrix = npt.NDArray[np.float64]


def classes(annotation: Path) -> dict[str, str]:
    """Return the class of each locus tag that has one."""
    found = {}
    with gzip.open(annotation, "rt") as file:
        for line in file:
            cells = line.rstrip("\n").split("\t")
            if len(cells) < 9 or cells[2] != "CDS":
                continue
            values = dict(pair.split("=", 1) for pair in cells[8].split(";"))
            text = unquote(values.get("product", ""))
            names = [name for name, pattern in CLASSES if re.search(pattern, text)]
            if names:
                found[values["locus_tag"]] = names[0]
    return found


def kmer_frequencies(sequences: Sequence[str], k: int) -> Matrix:
    """Return the shares of the k-mers of each sequence."""
    index = {"".join(word): number for number, word in enumerate(product("ACGT", repeat=k))}
    counts = np.zeros((len(sequences), len(index)))
    for row, bases in enumerate(sequences):
        for place in range(len(bases) - k + 1):
            counts[row, index[bases[place : place + k]]] += 1
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def codon_frequencies(sequences: Sequence[str]) -> Matrix:
    """Return the shares of the codons in the first frame of each sequence."""
    index = {"".join(word): number for number, word in enumerate(product("ACGT", repeat=3))}
    counts = np.zeros((len(sequences), len(index)))
    for row, bases in enumerate(sequences):
        for place in range(0, len(bases) - 2, 3):
            counts[row, index[bases[place : place + 3]]] += 1
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def right_neighbours(vectors: Matrix, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Return for every row if most of its neighbours have its label."""
    centred = vectors - vectors.mean(axis=0)
    if centred.shape[1] > 1:
        centred /= np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
        likeness = centred @ centred.T
    else:
        likeness = -np.abs(centred - centred.T)
    np.fill_diagonal(likeness, -np.inf)
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
    names = np.unique(labels)
    votes = (labels[nearest][..., None] == names).sum(axis=1)
    return np.array(names[votes.argmax(axis=1)] == labels)


def resampled(right: npt.NDArray[np.bool_], labels: npt.NDArray[np.str_]) -> Matrix:
    """Return the mean over classes of the share of right rows, then that of resampled genes."""
    random = np.random.default_rng(0)
    parts = [right[labels == name] for name in np.unique(labels)]
    drawn = [
        part[random.integers(part.size, size=(NUM_RESAMPLED, part.size))].mean(axis=1)
        for part in parts
    ]
    value = np.mean([part.mean() for part in parts])
    return np.concatenate(([value], np.mean(drawn, axis=0)))


def interval(values: Matrix) -> str:
    """Return the first value, and the central 95 % of the others."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:.3f} [{low:.3f}, {high:.3f}]"


def show(task: str, vectors: Mapping[str, Matrix], labels: Sequence[str]) -> None:
    """Print a row per kind of vector; the lead of the model is of the same resampled genes."""
    label_N = np.array(labels)
    sizes = ", ".join(f"{name} {(label_N == name).sum()}" for name in np.unique(label_N))
    print(f"\n{task}: {sizes}\nvectors\tbalanced_accuracy\tlead_of_model")
    values = {
        name: resampled(right_neighbours(matrix, label_N), label_N)
        for name, matrix in vectors.items()
    }
    for name, value in values.items():
        print(name, interval(value), interval(values["model"] - value), sep="\t", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--colors", type=Path)
    arguments = parser.parse_args()
    class_of = classes(ANNOTATION)
    genes = list(regions(GENOME, feature="CDS", gff=ANNOTATION))
    if arguments.colors:
        lines = [f"{gene.id}\t{class_of.get(gene.id, 'other')}" for gene in genes]
        arguments.colors.write_text("id\tclass\n" + "\n".join(lines) + "\n")
    sequences = [decode_bases(gene.codes) for gene in genes]
    strands = [gene.region.strand if gene.region else "." for gene in genes]
    forward = [
        reverse_complement(bases) if strand == "-" else bases
        for bases, strand in zip(sequences, strands, strict=True)
    ]
    folder = model_folder(arguments.model, store=Store(), reporter=SilentReporter())
    loaded = read_model(folder)
    (twin,) = random_twins(loaded, arguments.seed, 1).values()
    models = {"model": loaded, "random twin": replace(loaded, model=twin)}
    both: dict[str, dict[str, Matrix]] = {"sense": {}, "forward": {}}
    for name, item in models.items():
        for direction, rows in (("sense", sequences), ("forward", forward)):
            start = time.process_time()
            both[direction][name] = np.array(EmbeddingModel(item).embed(rows), dtype=np.float64)
            print(f"{name}, {direction}: {time.process_time() - start:.1f} CPU s", flush=True)
    for direction, rows in (("sense", sequences), ("forward", forward)):
        for k in (3, 4):
            both[direction][f"{k}-mers"] = kmer_frequencies(rows, k)
    both["sense"]["codons in frame"] = codon_frequencies(sequences)
    both["sense"]["length"] = np.array([[float(len(bases))] for bases in sequences])
    print(f"{len(genes)} genes, {sum(map(len, sequences))} bases")
    rows_in = np.array([gene.id in class_of for gene in genes])
    labels = [class_of[gene.id] for gene in genes if gene.id in class_of]
    show("class", {name: matrix[rows_in] for name, matrix in both["sense"].items()}, labels)
    show("strand", both["forward"], strands)


if __name__ == "__main__":
    main()
