"""Rank stop-gained, missense and synonymous substitutions of whole genomes.

Genomes without annotation get one: open reading frames from ATG, GTG or TTG to the next stop codon,
the longest first, as long as they do not overlap. Prints a Markdown table.

    python benchmarks/codon_effects.py GENOME.fa.gz[@PREFIX][=GENETIC_CODE] ... [--gff FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from genomeformer_cli.core.annotation.genetic_code import STOP, amino_acids
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.evaluation.codon_effects import CodonConfig, evaluate_codon_effects
from genomeformer_cli.core.formats.sequences import read_sequences
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    decode_bases,
    reverse_complement_codes,
)
from genomeformer_cli.core.store.layout import Store

STARTS = (14, 46, 62)  # ATG, GTG, TTG
MIN_CODONS = 200

Frame = tuple[int, int, str]


def open_frames(codes: Codes, genetic_code: int) -> list[Frame]:
    """Return the open reading frames of one strand: first base, end, and strand."""
    is_stop_64 = np.array([letter == STOP for letter in amino_acids(genetic_code).tolist()])
    frames = []
    for shift in range(3):
        size = (codes.size - shift) // 3
        codons_C3 = codes[shift : shift + 3 * size].reshape(-1, 3)
        numbers_C = codons_C3.astype(np.int64) @ np.array([16, 4, 1])
        is_unknown_C = np.array((codons_C3 >= NUM_REAL_BASES).any(axis=1), ndmin=1)
        numbers_C[is_unknown_C] = 0
        ends = np.flatnonzero(is_stop_64[numbers_C] | is_unknown_C)
        starts = np.flatnonzero(np.isin(numbers_C, STARTS) & ~is_unknown_C)
        for before, end in zip(np.concatenate(([-1], ends))[:-1], ends, strict=True):
            first = starts[np.searchsorted(starts, before + 1) :][:1]
            if is_unknown_C[end] or not first.size or end - first[0] < MIN_CODONS:
                continue
            frames.append((shift + 3 * int(first[0]), shift + 3 * int(end) + 3, "+"))
    return frames


def gene_rows(name: str, codes: Codes, genetic_code: int) -> list[str]:
    """Return GFF3 rows of the open reading frames of a record that do not overlap."""
    frames = open_frames(codes, genetic_code)
    for start, end, _ in open_frames(reverse_complement_codes(codes), genetic_code):
        frames.append((codes.size - end, codes.size - start, "-"))
    is_taken = np.zeros(codes.size, dtype=np.bool_)
    rows: list[str] = []
    for start, end, strand in sorted(frames, key=lambda frame: frame[0] - frame[1]):
        if is_taken[start:end].any():
            continue
        is_taken[start:end] = True
        gene = f"orf{len(rows) + 1}"
        attributes = f"ID={name}.{gene};locus_tag={name}.{gene};transl_table={genetic_code}"
        rows.append(f"{name}\torf\tCDS\t{start + 1}\t{end}\t.\t{strand}\t0\t{attributes}")
    return rows


def measure(loaded: LoadedModel, text: str, annotation: Path | None, config: CodonConfig) -> None:
    """Print the rows of one genome."""
    place, _, code = text.partition("=")
    path, _, prefix = place.partition("@")
    genetic_code = int(code or 11)
    with tempfile.TemporaryDirectory() as folder:
        fasta, genes = Path(folder) / "genome.fa", Path(folder) / "genes.gff3"
        rows = ["##gff-version 3"]
        with fasta.open("w") as out:
            for record in read_sequences(Path(path)):
                if record.id.startswith(prefix):
                    out.write(f">{record.id}\n{decode_bases(record.codes)}\n")
                    rows += gene_rows(record.id, record.codes, genetic_code)
        genes.write_text("\n".join(rows) + "\n")
        reporter = SilentReporter()
        start = time.process_time()
        records = annotated_records(fasta, annotation or genes, reporter=reporter)
        effects = evaluate_codon_effects(loaded, records, prefix or path, config, reporter)
    seconds = time.process_time() - start
    print(
        f"\n{effects.name}: {effects.count.sentence('coding sequence')}, {effects.num_genes} "
        f"drawn from; median log-odds {effects.median_log_odds}; {seconds:.0f} CPU s\n"
    )
    for row in effects.rows:
        area = f"{row.auroc.value:.3f} [{row.auroc.low:.3f}, {row.auroc.high:.3f}]"
        lead = (
            ""
            if row.lead is None
            else (f"{row.lead.value:+.3f} [{row.lead.low:+.3f}, {row.lead.high:+.3f}]")
        )
        print(f"| {row.severe} > {row.mild} | {row.predictor} | {area} | {lead} |", flush=True)


def main() -> None:
    """Measure every genome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("genomes", nargs="+")
    parser.add_argument("--gff", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--per-effect", type=int, default=200)
    arguments = parser.parse_args()
    folder = model_folder(arguments.model, store=Store(), reporter=SilentReporter())
    loaded = read_model(folder)
    for text in arguments.genomes:
        config = CodonConfig(per_effect=arguments.per_effect)
        measure(loaded, text, arguments.gff, config)


if __name__ == "__main__":
    main()
