"""Tiny suites in the layouts of their authors, with a known answer: GC content gives the class.

`python -m tests.suite_samples` writes `tests/data/suites`. All sequences are random.
"""

from __future__ import annotations

import gzip
import importlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "suites"
SPLITS = {"train": 16, "dev": 6, "test": 8}
LENGTH = 48


class Sampler:
    """Random sequences of two classes: 0 is poor in GC, 1 is rich."""

    def __init__(self) -> None:
        self._random = random.Random(27)

    def bases(self, label: int, length: int = LENGTH) -> str:
        weights = [1, 6, 6, 1] if label else [6, 1, 1, 6]
        return "".join(self._random.choices("ACGT", weights, k=length))

    def rows(self, number: int) -> list[tuple[str, int]]:
        return [(self.bases(row % 2), row % 2) for row in range(number)]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text, encoding="utf-8")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    lines = [",".join(map(str, row)) for row in (columns, *rows)]
    write(path, "\n".join(lines) + "\n")


def write_parquet(path: Path, columns: dict[str, Any]) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.table(columns), path, store_schema=False)


def write_hdf5(path: Path, labels: list[list[int]]) -> None:
    h5py = importlib.import_module("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", data=labels, dtype="i1", track_times=False)


def write_gue(folder: Path, sampler: Sampler) -> None:
    for split, number in SPLITS.items():
        write_csv(folder / "tf" / "0" / f"{split}.csv", ("sequence", "label"), sampler.rows(number))


def write_nt(folder: Path, sampler: Sampler) -> None:
    """Write a task as FASTA and parquet, and one as parquet alone."""
    for split in ("train", "test"):
        for task in ("promoter_tata", "H3"):
            rows = sampler.rows(SPLITS[split])
            columns = {
                "sequence": [bases for bases, _ in rows],
                "name": [f"seq_{row}" for row in range(len(rows))],
                "label": [label for _, label in rows],
                "task": [task] * len(rows),
            }
            write_parquet(folder / task / f"{split}.parquet", columns)
            if task == "promoter_tata":
                text = "".join(f">seq_{row}|{label}\n{b}\n" for row, (b, label) in enumerate(rows))
                write(folder / task / f"{split}.fna", text)


def write_genomic_benchmarks(folder: Path, sampler: Sampler) -> None:
    """Write one task per layout: text files, intervals of a genome, and the Hub's parquet."""
    classes = ("negative", "positive")
    genome = ""
    for split in ("train", "test"):
        rows = sampler.rows(SPLITS[split])
        for row, (bases, label) in enumerate(rows):
            write(folder / "texts" / split / classes[label] / f"{row}.txt", bases)
        write_parquet(
            folder / "hub" / "data" / f"{split}-00000-of-00001-0a1b2c3d.parquet",
            {"seq": [bases for bases, _ in rows], "label": [label for _, label in rows]},
        )
        for label, name in enumerate(classes):
            table = []
            for row in range(SPLITS[split] // 2):
                strand = "+-"[row % 2]
                start = len(genome)
                genome += sampler.bases(label)
                table.append((f"{split}_{row}", "chr8", start, len(genome), strand))
            table.append((f"{split}_last", "chr8", 10**6, 10**6 + LENGTH, "+"))
            write_csv(
                folder / "intervals" / split / f"{name}.csv.gz",
                ("id", "region", "start", "end", "strand"),
                table,
            )
    write(folder / "genomes" / "genome.fa", f">chr8\n{genome}\n")


def write_lambda(folder: Path, sampler: Sampler) -> None:
    columns: tuple[str, ...] = ("segment_id", "sequence", "label", "source")
    for split, number in (("train", 16), ("val", 6), ("test", 8)):
        rows = [
            (f"{split}_seg_{row}", bases, label, ("gtdb", "inphared")[label])
            for row, (bases, label) in enumerate(sampler.rows(number))
        ]
        write_csv(folder / "train_val_test" / "2k" / f"{split}.csv", columns, rows)
    for genome in ("GCF_000000001.1", "GCF_000000002.1"):
        scan = [
            ("NC_1", row * LENGTH, (row + 1) * LENGTH, bases, label, bool(label))
            for row, (bases, label) in enumerate(sampler.rows(6))
        ]
        columns = ("seq_id", "start", "end", "sequence", "label", "in_prophage")
        write_csv(folder / "genome_wide" / "2k" / f"{genome}_genomic_segments.csv", columns, scan)
    shuffled = [(f"s{row}", *cells, "x") for row, cells in enumerate(sampler.rows(6))]
    columns = ("segment_id", "sequence", "label", "source")
    write_csv(folder / "shuffled_controls" / "2k" / "test_shuffled.csv", columns, shuffled)
    one_class = [("c1", sampler.bases(0), 0, "gtdb")]
    write_csv(folder / "fpr_test" / "2k" / "bacteria_segments_2k.csv", columns, one_class)


def _contig(sampler: Sampler, labels: Sequence[int]) -> tuple[str, list[int], list[int]]:
    """Return a contig of genes without gaps, and their starts and ends, 1-based and inclusive."""
    dna, start, end = "", [], []
    for label in labels:
        start.append(len(dna) + 1)
        dna += sampler.bases(label, 200)
        end.append(len(dna))
    return dna, start, end


def write_bacbench(folder: Path, sampler: Sampler) -> None:
    for split, genomes in (("train", 2), ("validation", 1), ("test", 2)):
        # A gene outside of its contig, and one without a strand, in every genome.
        contigs = [_contig(sampler, (1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0)) for _ in range(genomes)]
        essential = ["Yes", "Yes", "Yes", "No", "No", "No"] * 2
        write_parquet(
            folder / "essential" / "data" / f"{split}-00000-of-00001.parquet",
            {
                "genome_name": [f"{split}{number}" for number in range(genomes)],
                "dna_seq": [dna for dna, _, _ in contigs],
                "start": [[*start, 9_000] for _, start, _ in contigs],
                "end": [[*end, 9_060] for _, _, end in contigs],
                "strand": [[1.0, -1.0] * 6 + [None]] * genomes,
                "protein_id": [[f"P{gene}" for gene in range(13)]] * genomes,
                "product": [["hypothetical protein"] * 13] * genomes,
                "essential": [[*essential, "No"]] * genomes,
            },
        )
    columns: dict[str, list[Any]] = {name: [] for name in _OPERON_COLUMNS}
    for strain in range(3):
        contigs = [_contig(sampler, (1, 1, 1, 0, 0, 0)) for _ in range(2)]
        cells = (
            f"strain{strain}",
            ["chromosome", "plasmid"],
            [dna for dna, _, _ in contigs],
            [start for _, start, _ in contigs],
            [end for _, _, end in contigs],
            [[1.0, 1.0, 1.0, 1.0, 1.0, -1.0], [-1.0] * 6],
            [[f"c{contig}g{gene}" for gene in range(6)] for contig in range(2)],
            [[[0, 1, 2]], [[0, 2]]],
        )
        for name, cell in zip(_OPERON_COLUMNS, cells, strict=True):
            columns[name].append(cell)
    write_parquet(folder / "operon" / "data" / "train-00000-of-00001.parquet", columns)


_OPERON_COLUMNS = (
    *("strain_name", "contig_name", "dna_sequence", "start", "end", "strand", "locus_tag"),
    "operon_prot_indices",
)


def write_bend(folder: Path, sampler: Sampler) -> None:
    data = folder / "data"
    genome = ""
    lines = ["chromosome\tstart\tend\tsplit\tlabel\tstrand"]
    for split, number in (("train", 16), ("valid", 6), ("test", 8)):
        for row in range(number):
            start = len(genome)
            genome += sampler.bases(row % 2)
            # Label 0 is GC, label 3 its opposite, and label 11 is on every second row of both.
            labels = [("3", "0")[row % 2], *(["11"] if row % 4 < 2 else [])]
            cells = ("chr1", start, len(genome), split, ",".join(labels), "+-"[row % 3 == 0])
            lines.append("\t".join(map(str, cells)))
    write(data / "cpg_methylation" / "cpg_methylation.bed", "\n".join(lines) + "\n")
    single = [line.split("\t") for line in lines[1:]]
    rows = ["\t".join([*cells[:4], str(int(cells[4][0] == "0"))]) for cells in single]
    header = "chromosome\tstart\tend\tsplit\tlabel\n"
    write(data / "promoters" / "promoters.bed", header + "\n".join(rows) + "\n")
    no_label = "chromosome\tstart\tend\tsplit\tstrand\nchr1\t0\t48\ttrain\t+\n"
    write(data / "absent" / "absent.bed", no_label)
    # The GC content of a sequence is its label: of two bins of an interval, or of all its bases.
    for task, width, steps in (
        ("enhancer_annotation", 96, [0, 1]),
        ("gene_finding", 48, [0] * 48),
    ):
        lines = ["chromosome\tstart\tend\tsplit\tstrand"]
        annotated: list[list[int]] = []
        for start in range(0, len(genome), width):
            split = ("train", "valid", "test")[(start >= 16 * LENGTH) + (start >= 22 * LENGTH)]
            lines.append(f"chr1\t{start}\t{start + width}\t{split}\t+")
            annotated.append([label + start // LENGTH % 2 for label in steps])
        write(data / task / f"{task}.bed", "\n".join(lines) + "\n")
        write_hdf5(data / task / f"{task}.hdf5", annotated)
    lines = ["chromosome\tstart\tend\tref\talt\tlabel"]
    for number, start in enumerate(range(30, len(genome), 30)):
        ref = genome[start]
        alleles = f"{ref}\t{'C' if ref == 'A' else 'A'}"
        lines.append(f"chr1\t{start}\t{start + 1}\t{alleles}\t{int(number % 3 == 0)}")
    write(data / "variant_effects" / "variant_effects_disease.bed", "\n".join(lines) + "\n")
    write(data / "genomes" / "GRCh38.fa", f">chr1\n{genome}\n")
    write(data / "genomes" / "GRCh37.fa", f">1\n{genome}\n")


def write_traitgym(folder: Path, sampler: Sampler) -> None:
    genome = sampler.bases(0, 600) + sampler.bases(1, 600)
    positions = list(range(30, 1180, 30))
    refs = [genome[position - 1] for position in positions]
    write_parquet(
        folder / "mendelian_traits_matched_9" / "test.parquet",
        {
            "chrom": ["1"] * len(positions),
            "pos": positions,
            "ref": refs,
            "alt": ["C" if ref == "A" else "A" for ref in refs],
            "label": [row % 3 == 0 for row in range(len(positions))],
            "consequence": ["missense_variant"] * len(positions),
            "tss_dist": positions,
        },
    )
    write(folder / "genome.fa", f">1\n{genome}\n")


def write_suites(folder: Path) -> None:
    """Write all suites."""
    write_gue(folder / "gue", Sampler())
    write_nt(folder / "nt", Sampler())
    write_genomic_benchmarks(folder / "genomic-benchmarks", Sampler())
    write_lambda(folder / "lambda", Sampler())
    write_bacbench(folder / "bacbench", Sampler())
    write_bend(folder / "bend", Sampler())
    write_traitgym(folder / "traitgym", Sampler())


if __name__ == "__main__":
    write_suites(FOLDER)
