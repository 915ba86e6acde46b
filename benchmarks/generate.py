"""Does the time of a written base depend on its place, and does a trained model recover real DNA?

`python benchmarks/generate.py cost` prints, per mechanism and length N, CPU microseconds per base
of the last 1,000 of N bases and the resident memory that was added, with a tiny random model (one
block, width 16: a million bases of a larger one take hours of a CPU). The bases before the last
1,000 are a random prompt, which leaves the same state as written bases do; `--whole` writes all of
them in one process, prints all lengths on the way, and compares the log-likelihood with that of
`score`. Exact softmax has a context longer than the sequence, so that its cache grows; it stops at
`--longest-softmax`. Each line is a process of its own.

`python benchmarks/generate.py recovery TRAIN.fa TEST.fa` trains a small causal model and prints
`evaluate --recovery` of the held-out file. One thread.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.evaluation.base_likelihood import score_record
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.generation.continue_sequences import (
    GenerationOptions,
    continue_sequence,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.tokenizers.char import CharTokenizer

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
# Bases over which the time of a base is measured, before each length.
SPAN = 1_000
MEBIBYTE = 1 << 20


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MEBIBYTE


def tiny_model(attention: str) -> LoadedModel:
    """Return a tiny random causal model in double precision, as `generate` computes it."""
    tokenizer = CharTokenizer()
    config = ModelConfig(
        vocabulary_size=len(tokenizer.tokens),
        context=LENGTHS[-1],
        width=16,
        depth=1,
        num_heads=2,
        mlp_width=16,
        direction="causal",
        attention=AttentionConfig(name=attention),
    )
    model = build_model(config, seed=1).eval().double()
    return LoadedModel(model=model, tokenizer=tokenizer, folder=Path())


def measure(attention: str, length: int, *, whole: bool) -> None:
    """Write one sequence, and print the cost of its last bases.

    With `whole`, every base is written, and each shorter length of `LENGTHS` is printed on the way.
    """
    loaded = tiny_model(attention)
    prompt_size = 0 if whole else length - SPAN
    prompt = np.random.default_rng(0).integers(0, 4, prompt_size, dtype=np.uint8)
    start_memory = resident()
    ends = [end for end in LENGTHS if end <= length] if whole else [length]
    clocks: dict[int, float] = {}
    num_bases = prompt_size

    def advance(number: int) -> None:
        nonlocal num_bases
        num_bases += number
        if num_bases - 1 + SPAN in ends:
            clocks[num_bases - 1 + SPAN] = time.process_time()
        if num_bases in ends:
            micros = (time.process_time() - clocks[num_bases]) / (SPAN - 1) * 1e6
            memory = resident() - start_memory
            print(f"{attention:<14}{num_bases:>10,}{micros:>10.0f}{memory:>10.1f}", flush=True)

    options = GenerationOptions(length=length - prompt_size)
    (row,) = continue_sequence(loaded, prompt, options, progress=advance)
    assert row.codes.size == length
    if whole:
        print(f"{attention}: {time.process_time():.0f} s CPU for all bases", flush=True)
        score, _ = score_record(loaded, "written", row.codes, ScoringOptions())
        difference = abs(row.log_likelihood - score.log_likelihood)
        print(
            f"{attention}: log-likelihood of {row.num_scored:,} bases {row.log_likelihood:.6f}, "
            f"`score` of {score.num_scored:,} bases {score.log_likelihood:.6f}, difference "
            f"{difference:.1e}",
            flush=True,
        )


def measure_costs(attentions: list[str], longest_softmax: int, *, whole: bool) -> None:
    """Measure each mechanism and length in a process of its own."""
    print(f"{'mechanism':<14}{'bases':>10}{'us/base':>10}{'MiB':>10}", flush=True)
    for attention in attentions:
        for length in LENGTHS[-1:] if whole else LENGTHS:
            if attention == "softmax" and length > longest_softmax:
                continue
            command = [sys.executable, __file__, "one", attention, str(length)]
            subprocess.run([*command, "--whole"] if whole else command, check=True)


def measure_recovery(
    train: Path, test: Path, steps: int, attention: str, settings: list[str]
) -> None:
    """Train a small causal model, and print its recovery of held-out sequences."""
    program = [sys.executable, "-m", "genomeformer_cli"]
    tokenize = ["tokenize", str(train), "--name", "recovery"]
    pretrain = [
        *("pretrain", "--corpus", "recovery", "--name", "recovery", "--objective", "causal"),
        *("--attention", attention, "--preset", "tiny", "--steps", str(steps), "--device", "cpu"),
        *(part for setting in settings for part in ("--set", setting)),
    ]
    evaluate = [
        *("evaluate", "recovery", "--recovery", "--held-out", str(test), "--device", "cpu"),
        *("--workers", "1", "-o", "recovery-evaluation"),
    ]
    for arguments in (tokenize, pretrain, evaluate):
        subprocess.run([*program, *arguments], check=True)


def main() -> None:
    """Read the arguments and run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    cost = parts.add_parser("cost")
    cost.add_argument("--attention", default="linear,gated-linear,gated-delta,local,softmax")
    cost.add_argument("--longest-softmax", type=int, default=LENGTHS[1])
    cost.add_argument("--whole", action="store_true")
    one = parts.add_parser("one")
    one.add_argument("attention")
    one.add_argument("length", type=int)
    one.add_argument("--whole", action="store_true")
    recovery = parts.add_parser("recovery")
    recovery.add_argument("train", type=Path)
    recovery.add_argument("test", type=Path)
    recovery.add_argument("--steps", type=int, default=1_000)
    recovery.add_argument("--attention", default="gated-linear")
    recovery.add_argument("--set", action="append", default=[], help="setting of `pretrain`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "cost":
        measure_costs(options.attention.split(","), options.longest_softmax, whole=options.whole)
    elif options.part == "one":
        measure(options.attention, options.length, whole=options.whole)
    else:
        measure_recovery(options.train, options.test, options.steps, options.attention, options.set)


if __name__ == "__main__":
    main()
