"""Motifs of a promoter classifier of E. coli beside those of its random twin.

Reads a table `sequence label split`, fine-tunes the default model on it (or takes a model), and
explains its promoters: `explain --motifs --match` with the -10 and -35 boxes and three decoys of
their composition. `Recovered`: a motif whose best match is a box on the given strand, p < 0.01.
`--genome` first pretrains a small masked model of single bases (0.15 million parameters) on a
genome, since the default model reads patches of eight bases. `--splits` selects the rows.

python benchmarks/motifs.py TABLE.tsv.gz --genome ecoli.fa.gz --epochs 6 --method ism --splits test
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.meme import MemeMotif, meme_text
from genomeformer_cli.core.sequence import encode_bases

MODEL, BASE = "benchmark-motifs", "benchmark-motifs-base"
SMALL = ("width=64", "depth=3", "num_heads=2", "mlp_width=176")
# Frequencies of the consensus bases in E. coli promoters (Lisser and Margalit 1993, "Compilation of
# E. coli mRNA promoter sequences"); the decoys are the same columns moved.
FREQUENCIES = {
    "minus-35": ("TTGACA", (0.69, 0.79, 0.61, 0.56, 0.54, 0.54)),
    "minus-10": ("TATAAT", (0.77, 0.76, 0.60, 0.61, 0.56, 0.82)),
}
DECOYS = ("ATGTCA", "ACTTGA", "AATTTA")


def known_motifs() -> str:
    """Return the boxes and the decoys as a MEME file."""
    rows = dict(FREQUENCIES)
    mean = tuple(np.full(6, 0.64).tolist())
    rows |= {f"decoy-{bases}": (bases, mean) for bases in DECOYS}
    motifs = []
    for name, (bases, shares) in rows.items():
        matrix = np.repeat((1 - np.array(shares))[:, None] / 3, 4, axis=1)
        matrix[np.arange(6), encode_bases(bases)] = shares
        motifs.append(MemeMotif(name=name, frequencies_WR=matrix, num_sites=100))
    return meme_text(motifs)


def run(*arguments: str) -> str:
    """Run the command line and return standard output."""
    command = [sys.executable, "-m", "genomeformer_cli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def pretrain(genome: Path, steps: str) -> None:
    """Pretrain a small masked model of single bases."""
    run("tokenize", str(genome), "--name", BASE, "--replace")
    settings = [part for value in SMALL for part in ("--set", f"model.{value}")]
    run(
        *("pretrain", "--corpus", BASE, "--name", BASE, "--preset", "tiny", "--context", "128"),
        *("--batch-size", "16", "--steps", steps, *settings),
    )


def read_promoters(table: Path, splits: list[str], number: int) -> list[str]:
    """Return the promoters of some splits."""
    with gzip.open(table, "rt") as file:
        header = next(file).rstrip("\n").split("\t")
        rows = [dict(zip(header, line.rstrip("\n").split("\t"), strict=True)) for line in file]
    chosen = [row["sequence"] for row in rows if row["label"] == "1" and row["split"] in splits]
    return chosen[:number]


def main() -> None:
    """Print the motifs of the classifier and of its twin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--genome", type=Path)
    parser.add_argument("--steps", default="400")
    parser.add_argument("--epochs", default="3")
    parser.add_argument("--pool", default="mean-max")
    parser.add_argument("--splits", default="train,val,test")
    parser.add_argument("--promoters", type=int, default=1_000)
    parser.add_argument("--method", default="ism")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.genome:
        pretrain(options.genome, options.steps)
    if not options.model:
        run(
            *("finetune", str(options.table), "--model", BASE if options.genome else "default"),
            *("--name", MODEL, "--replace", "--epochs", options.epochs),
            *("--set", f"tuning.pool={options.pool}"),
        )
    with tempfile.TemporaryDirectory() as folder:
        fasta, meme = Path(folder, "promoters.fa"), Path(folder, "known.meme")
        promoters = read_promoters(options.table, options.splits.split(","), options.promoters)
        fasta.write_text("".join(f">p{n}\n{bases}\n" for n, bases in enumerate(promoters)))
        meme.write_text(known_motifs())
        plot = ("-o", str(options.plot)) if options.plot else ()
        table = Path(folder, "motifs.tsv")
        run(
            *("explain", str(fasta), "--model", options.model or MODEL, "--motifs"),
            *("--attribution", options.method, "--match", str(meme), "-o", str(table), *plot),
        )
        text = table.read_text()
    print(f"{len(promoters)} promoters of {options.splits}, {options.method}")
    print(text)
    columns, *lines = (line.split("\t") for line in text.splitlines())
    for source in ("model", "random twin"):
        cells = [dict(zip(columns, line, strict=True)) for line in lines if line[0] == source]
        boxes = {
            row["match"]
            for row in cells
            if row["match"] in FREQUENCIES
            and row["match_strand"] == "+"
            and float(row["p_value"]) < 0.01
        }
        print(f"{source}: {len(cells)} motifs, recovered {', '.join(sorted(boxes)) or 'none'}")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{usage.ru_utime:.0f} s CPU")


if __name__ == "__main__":
    main()
