"""Error of a model whose matrix products are computed in int8: vectors, bits per base and probes.

Vectors of windows of 150 bases are compared by their cosine, held-out bases are scored in both
precisions, and probes are trained on the vectors of labelled sequences. `--write` stores the record
in `config.json` of the bundle as `inference.int8`, by which `embed --precision auto` decides, and
in its card.

python benchmarks/int8_record.py --genome held-out.fa.gz --task a.tsv.gz --task b.tsv.gz
python benchmarks/int8_record.py --genome held-out.fa.gz --task a.tsv.gz --write   # the default
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
import time
from pathlib import Path

import numpy as np

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.base_likelihood import score_record
from genomeformer_cli.core.evaluation.labels import Missing
from genomeformer_cli.core.evaluation.probing import ProbeRow, ProbingConfig, evaluate_task
from genomeformer_cli.core.evaluation.tasks import read_task
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.int8_record import Int8Record, ProbeScores
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE, LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import seal

# Paragraph of the card, at the end of this section.
PARAGRAPH, SECTION = "On processors with AVX-512 VNNI,", "## Use\n"
READ, NUM_READS, WINDOW = 150, 1_000, 4_096
SILENT = SilentReporter()


def draw_windows(genome: Path, length: int, number: int) -> list[Codes]:
    """Draw windows without unknown bases from a FASTA file."""
    rng = np.random.default_rng(0)
    texts = [record.sequence for record in read_records(genome) if len(record.sequence) >= length]
    records = [encode_bases(text) for text in texts]
    sizes = np.array([codes.size for codes in records], dtype=float)
    windows: list[Codes] = []
    while len(windows) < number:
        codes = records[int(rng.choice(len(records), p=sizes / sizes.sum()))]
        start = int(rng.integers(codes.size - length + 1))
        window = codes[start : start + length]
        if (window < 4).all():
            windows.append(window)
    return windows


def mean_bits(loaded: LoadedModel, windows: list[Codes]) -> float:
    """Return the bits per base of windows."""
    scores = [score_record(loaded, "window", codes, ScoringOptions())[0] for codes in windows]
    bits = sum(score.bits_per_base * score.num_scored for score in scores)
    return float(bits / sum(score.num_scored for score in scores))


def probe(loaded: LoadedModel, path: Path, most_rows: int) -> ProbeRow:
    """Return the scores of probes on the vectors of a task."""
    task = read_task(path, missing=Missing.REFUSE)
    if len(task.examples) > most_rows:
        rng = np.random.default_rng(0)
        drawn = rng.choice(len(task.examples), most_rows, replace=False)
        task = task.take(sorted(drawn.tolist()))
    result = evaluate_task(loaded, task, ProbingConfig(), SILENT)
    (row,) = [row for row in result.rows if row.who == "model"]
    return row


def measure(folder: Path, chosen: argparse.Namespace) -> Int8Record:
    """Measure the error of the model in a folder."""
    reads = draw_windows(chosen.genome, READ, NUM_READS)
    windows = draw_windows(chosen.genome, WINDOW, chosen.windows)
    vectors, bits, rows, seconds = [], [], [], []
    for is_int8 in (False, True):
        loaded = read_model(folder)
        if is_int8:
            convert_linear_layers(loaded.model, "int8")
        embedder = Embedder(loaded, EmbedOptions())
        embedder.embed(reads[:100])
        start = time.process_time()
        vectors.append(embedder.embed(reads).astype(float))
        seconds.append(time.process_time() - start)
        bits.append(mean_bits(loaded, windows))
        rows.append([probe(loaded, path, chosen.most_rows) for path in chosen.task])
    norms = [np.linalg.norm(rows_NE, axis=1) for rows_NE in vectors]
    cosines_N = (vectors[0] * vectors[1]).sum(axis=1) / norms[0] / norms[1]
    print(f"cosine of {len(reads)} reads: mean {cosines_N.mean():.6f}, least {cosines_N.min():.6f}")
    print(f"bits per base: fp32 {bits[0]:.5f}, int8 {bits[1]:.5f}, {bits[1] - bits[0]:+.5f}")
    print(f"CPU s of the reads: fp32 {seconds[0]:.2f}, int8 {seconds[1]:.2f}, ", end="")
    print(f"{seconds[0] / seconds[1]:.2f} times as fast")
    probes = {}
    for path, fp32, int8 in zip(chosen.task, *rows, strict=True):
        exact, rounded = fp32.logistic.mcc, int8.logistic.mcc
        noise = (exact.high - exact.low) / (2 * 1.96)
        name = path.name.partition(".")[0]
        scores = ProbeScores(
            fp32=round(exact.value, 4), int8=round(rounded.value, 4), noise=round(noise, 4)
        )
        probes[name] = scores
        print(f"{name}: MCC fp32 {scores.fp32}, int8 {scores.int8}, noise {scores.noise}")
    return Int8Record(
        cosine=round(float(cosines_N.mean()), 6),
        bits_per_base_fp32=round(bits[0], 5),
        bits_per_base_int8=round(bits[1], 5),
        probes=probes,
    )


def describe(record: Int8Record) -> str:
    """Return the paragraph of the model card."""
    probes = "; ".join(
        f"{name} {scores.fp32:.3f} and {scores.int8:.3f}" for name, scores in record.probes.items()
    )
    text = (
        f"{PARAGRAPH} `embed` computes matrix products in 8-bit integers (`--precision auto`). "
        f"The mean cosine with float32 vectors is {record.cosine:.5f}. Bits per held-out base are "
        f"{record.bits_per_base_fp32:.4f} in float32 and {record.bits_per_base_int8:.4f} in int8; "
        f"Matthews correlations of probes, likewise: {probes}."
    )
    return textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False)


def write_record(folder: Path, record: Int8Record) -> None:
    """Store the record in the bundle, describe it in the card, and renew the seal."""
    described = json.loads((folder / CONFIG_FILE).read_text())
    write_json(
        folder / CONFIG_FILE, {**described, "inference": {"int8": dataclasses.asdict(record)}}
    )
    card = (folder / CARD_FILE).read_text()
    start = card.find(PARAGRAPH)
    if start < 0:
        start = card.index("\n## ", card.index(SECTION) + 1) + 1
        before, after = card[:start], card[start:]
    else:
        before, after = card[:start], card[card.index("\n\n", start) + 2 :]
    write_text(folder / CARD_FILE, f"{before}{describe(record)}\n\n{after}")
    seal(folder)


def main() -> None:
    """Measure, print, and write the record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--genome", type=Path, required=True, help="held-out FASTA file")
    parser.add_argument("--task", type=Path, action="append", default=[], help="labelled sequences")
    parser.add_argument("--windows", type=int, default=25, help="windows of 4,096 bases to score")
    parser.add_argument("--most-rows", type=int, default=2_000, help="rows of a task")
    parser.add_argument("--write", action="store_true", help="store the record in the bundle")
    chosen = parser.parse_args()
    folder = model_folder(chosen.model, store=Store(), reporter=SILENT)
    record = measure(folder, chosen)
    print("harmless" if record.is_harmless else "not harmless")
    if chosen.write:
        write_record(folder, record)


if __name__ == "__main__":
    main()
