"""`embed` beside what people write themselves: one run, the same weights, the same device.

Sequences of 100 to 2,000 bases, each seen whole, mean-pooled, through: our whole command (reading,
tokenizing, sorting, writing `.npy`); the model's own forward passes over the same tokens without
padding, which is the floor; batches padded to their longest in input order, which is what other
tools do; and a Hugging Face BERT of the same size, batched so too. Then sequences of one length
beside a bare loop, a chromosome by base without windows, and the time to the first vector.

python benchmarks/embed.py                     # about 5 minutes on two cores
python benchmarks/embed.py --sequences 20000   # the whole claim
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.embedding.batch_runner import CPU_TOKENS, BatchRunner
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.windows import batch_windows
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, write_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.workflows.embed import embed_sequences
from genomeformer_cli.core.workflows.embed_request import EmbedRequest

SHORTEST, LONGEST, PEER_BATCH, ONE_LENGTH = 100, 2_000, 32, 256
Rows = list[np.ndarray]
# The peak of a child that `getrusage` tells begins with its parent's.
PEAK = """
import re, sys, time
from genomeformer_cli.app import main
try:
    main()
finally:
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    sys.stderr.write(f"{peak} {time.process_time()}\\n")
"""


def save_model(folder: Path, attention: str, width: int, depth: int) -> Path:
    """Random weights: what is measured does not depend on them."""
    config = ModelConfig(
        context=LONGEST,
        width=width,
        depth=depth,
        num_heads=4,
        mlp_width=(8 * width // 3) // 2 * 2,
        attention=AttentionConfig(name=attention),
    )
    folder.mkdir()
    write_model(build_model(config), CharTokenizer(), folder)
    seal(folder)
    return folder


def draw(lengths: np.ndarray, path: Path) -> Rows:
    """Sequences as a FASTA file and as token ids."""
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), lengths.sum())
    texts = [part.tobytes() for part in np.split(letters, np.cumsum(lengths)[:-1])]
    path.write_bytes(b"".join(b">r%d\n%s\n" % pair for pair in enumerate(texts)))
    return [CharTokenizer().encode(encode_bases(text)) for text in texts]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def command(model: Path, fasta: Path, output: Path, window: int | None) -> float:
    """Our whole command; returns the CPU seconds spent in the model itself."""
    spent, forward = [0.0], BatchRunner._forward

    def watched(self: BatchRunner, tokens_BL: np.ndarray) -> torch.Tensor:
        start = time.thread_time()
        try:
            return forward(self, tokens_BL)
        finally:
            spent[0] += time.thread_time() - start

    request = EmbedRequest(
        sources=SequenceSources(files=(str(fasta),)),
        model=str(model),
        choices=EmbedOptions(window=window),
        output=output,
    )
    BatchRunner._forward = watched  # type: ignore[method-assign]
    try:
        embed_sequences(request, reporter=SilentReporter())
    finally:
        BatchRunner._forward = forward  # type: ignore[method-assign]
    return spent[0]


@torch.inference_mode()
def packed(loaded: LoadedModel, rows: Rows) -> None:
    """The model over as many tokens, in batches as large, none of them padded."""
    lengths = np.array([row.size for row in rows])
    for batch in batch_windows(lengths, CPU_TOKENS):
        length = max(1, round(float(lengths[batch].mean())))
        tokens = torch.full((len(batch), length), 6)
        loaded.model.hidden(tokens, None)


@torch.inference_mode()
def padded(run: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor], rows: Rows) -> None:
    """Batches in input order, padded to their longest, mean-pooled under the mask."""
    for start in range(0, len(rows), PEER_BATCH):
        some = rows[start : start + PEER_BATCH]
        tokens = np.zeros((len(some), max(row.size for row in some)), dtype=np.int64)
        for place, row in enumerate(some):
            tokens[place, : row.size] = row
        inputs = torch.from_numpy(tokens)
        kept = (inputs != 0).float()[..., None]
        (run(inputs, padding_mask(inputs, 0)) * kept).sum(dim=1).div(kept.sum(dim=1)).numpy()


@torch.inference_mode()
def bare(loaded: LoadedModel, rows: Rows) -> None:
    """The loop of someone whose sequences have one length."""
    size = CPU_TOKENS // rows[0].size
    for start in range(0, len(rows), size):
        tokens = torch.from_numpy(np.stack(rows[start : start + size]).astype(np.int64))
        loaded.model.hidden(tokens, None).mean(dim=1).numpy()


def bert(loaded: LoadedModel) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None:
    """A Hugging Face BERT with as many weights in its blocks."""
    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        return None
    config = loaded.model.config
    model: torch.nn.Module = BertModel(
        BertConfig(
            vocab_size=config.vocabulary_size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=getattr(config, "num_heads", 1),
            intermediate_size=4 * config.width,
            max_position_embeddings=LONGEST,
        ),
        add_pooling_layer=False,
    )
    model.eval()
    named = model.named_parameters()
    blocks = sum(one.numel() for name, one in named if name.startswith("encoder."))
    named = loaded.model.named_parameters()
    ours = sum(one.numel() for name, one in named if name.startswith("blocks."))
    print(f"weights in the blocks: BERT {blocks:,}, ours {ours:,}")
    return lambda tokens, mask: (
        model(
            input_ids=tokens, attention_mask=None if mask is None else mask.long()
        ).last_hidden_state
    )


def different_lengths(model: Path, folder: Path, number: int) -> None:
    """The table of sequences of many lengths."""
    lengths = np.random.default_rng(1).integers(SHORTEST, LONGEST + 1, number)
    rows = draw(lengths, folder / "many.fa")
    loaded = read_model(model)
    hugging = bert(loaded)
    inside: list[float] = []
    cases: dict[str, Callable[[], object]] = {
        "embed": lambda: inside.append(
            command(model, folder / "many.fa", folder / "many.npy", LONGEST)
        ),
        "model alone, no padding": lambda: packed(loaded, rows),
        "padded, input order": lambda: padded(loaded.model.hidden, rows),
    }
    if hugging:
        cases["Hugging Face BERT, padded"] = lambda: padded(hugging, rows)
    print(f"\n{number} sequences of {SHORTEST} to {LONGEST} bases, {lengths.sum():,} in all")
    first: tuple[float, float] | None = None
    for name, work in cases.items():
        wall, cpu = timed(work)
        first = first or (wall, cpu)
        rate = f"{number / wall:8.1f} sequences/s {wall:8.1f} s wall {cpu:8.1f} s CPU"
        times = f"{wall / first[0]:.2f} times wall, {cpu / first[1]:.2f} times CPU"
        print(f"{name:28}{rate}   of embed: {times}", flush=True)
        if name == "embed":
            print(f"{'':28}outside the model {1 - inside[0] / cpu:.1%} of the CPU time")


def least(runs: list[tuple[float, float]]) -> tuple[float, float]:
    """Least wall and least CPU seconds."""
    return min(wall for wall, _ in runs), min(cpu for _, cpu in runs)


def one_length(model: Path, folder: Path, number: int) -> None:
    """Sequences of one length beside a bare loop, both load the model; in turns, the least."""
    rows = draw(np.full(number, ONE_LENGTH), folder / "one.fa")
    ours, theirs = [], []
    for _ in range(3):
        run = functools.partial(command, model, folder / "one.fa", folder / "one.npy", ONE_LENGTH)
        ours.append(timed(run))
        theirs.append(timed(lambda: bare(read_model(model), rows)))
    print(f"\n{number} sequences of {ONE_LENGTH} bases, least of 3")
    for unit, of_embed, of_loop in zip(("wall", "CPU"), *map(least, (ours, theirs)), strict=True):
        ratio = f"{of_embed / of_loop:.3f}"
        print(f"embed {of_embed:.2f} s {unit}, bare loop {of_loop:.2f} s: {ratio}")


def chromosome(model: Path, folder: Path, bases: int) -> None:
    """One record by base without windows, in a process of its own: seconds and peak memory."""
    draw(np.array([bases]), folder / "chromosome.fa")
    output = folder / "chromosome.npy"
    line = ["embed", str(folder / "chromosome.fa"), "--model", str(model), "--pool", "none"]
    line += ["--window", "whole", "-o", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *line], capture_output=True, text=True, check=True
    )
    peak, cpu = (float(word) for word in done.stderr.split()[-2:])
    size = output.stat().st_size / 2**20
    print(
        f"{bases:>10,} bases {cpu:7.1f} s CPU, {cpu / bases * 1e6:.1f} us a base; peak {peak:.0f} "
        f"MiB; the output has {size:,.0f} MiB, and so has the residual stream of every block",
        flush=True,
    )


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attention", default="softmax")
    parser.add_argument("--sequences", type=int, default=800)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--chromosome", type=int, nargs="*", default=[250_000, 500_000])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = save_model(folder / "model", arguments.attention, arguments.width, arguments.depth)
        one_length(model, folder, 1000)
        different_lengths(model, folder, arguments.sequences)
        linear = save_model(folder / "linear", "linear", arguments.width, arguments.depth)
        print("\nby base, linear attention, no windows")
        for bases in arguments.chromosome:
            chromosome(linear, folder, bases)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
