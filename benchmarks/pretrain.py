"""Training steps beside the speed of matrix products of the processor, and beside peers.

In one run, on one thread unless `--threads` says otherwise: the speed of matrix products in the
shapes of our layers; steps (forward, backward, AdamW) of our mechanisms and of peers of about the
same number of parameters, with the operations of their formulae as a share of that speed; how fast
batches are made, and how many a step takes. Every model has a process of its own, as in a training:
what other models leave in the heap changes a step by some per cent. Times are CPU seconds
of one thread, the median of some steps; with more threads wall seconds. With `--precisions fp32
bf16` all take each step in both, bf16 being autocast: `pretrain` chooses by such a trial, peers
leave it to whoever uses them. Of the last block ours compute only what the 15 % of tokens that are
predicted need; that is counted so.

    python benchmarks/pretrain.py                       # about six minutes on one core
    python benchmarks/pretrain.py --lengths 512 --seconds 4 --keep

Peers that are not installed are left out: `pip install x-transformers linear-attention-transformer
transformers`.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from processes import Limits, Row, run_case
from torch import Tensor, nn
from torch.nn import functional
from training_steps import Step, operations, training_step

sys.path.insert(0, str(Path(__file__).parents[1]))

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.precision import ComputeConfig
from tests.corpora import build_corpus

Precision = Literal["fp32", "bf16"]

WIDTH, DEPTH, HEADS, MLP, PEER_MLP, VOCABULARY = 256, 4, 4, 704, 1024, 10
TOKENS = 8192
MASKED = 0.15

# glibc's malloc.h: what is freed beyond this goes back to the system; what the heap grows by; how
# many blocks are mapped one by one.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _GROWTH = 2**31 - 1, 64 * 2**20


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 8192])
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="seconds of steps for each model"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attention", nargs="+", default=["softmax", "local", "linear"])
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--conv-width", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case is not None:
        print(json.dumps(measure(chosen.case)))
        return
    torch.set_num_threads(chosen.threads)
    clock = clock_of(chosen.threads)
    ceiling = matrix_products(clock)
    for length in chosen.lengths:
        fastest = steps(length, chosen, clock, ceiling)
        loading(length, fastest, clock)


def clock_of(threads: int) -> Callable[[], float]:
    """CPU seconds of one thread, wall seconds of more."""
    return time.process_time if threads == 1 else time.perf_counter


def keep_freed_memory() -> bool:
    """Let this process keep what a step frees for the next step (`--keep`).

    Otherwise every large tensor is mapped, zeroed page by page and unmapped again, each step. The
    process then never shrinks below its peak.

    Returns:
        True if the C library supports it (glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROWTH))
        return all(mallopt(option, value) for option, value in settings)
    return False


def matrix_products(clock: Callable[[], float]) -> float:
    """Print the speed of matrix products of a step's shapes; return their mean, by operations."""
    print("\n| matrix product | GFLOP/s |\n|---|---|")
    operations = seconds = 0.0
    for inner, outer in ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * MLP), (MLP, WIDTH)):
        one, two = torch.randn(TOKENS, inner), torch.randn(inner, outer)
        taken = median_seconds(lambda one=one, two=two: torch.mm(one, two), 1.0, clock)  # type: ignore[misc]
        count = 2 * TOKENS * inner * outer
        operations, seconds = operations + count, seconds + taken
        print(f"| {TOKENS} x {inner} x {outer} | {count / taken / 1e9:.0f} |", flush=True)
    print(f"| all, by operations | {operations / seconds / 1e9:.0f} |")
    return operations / seconds


def median_seconds(step: Callable[[], Any], budget: float, clock: Callable[[], float]) -> float:
    """Median of as many calls as fit, the first one apart."""
    step()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < budget:
        before = clock()
        step()
        times.append(clock() - before)
    return statistics.median(times)


def steps(
    length: int, chosen: argparse.Namespace, clock: Callable[[], float], ceiling: float
) -> float:
    """Print one row per model; return the most tokens per second of our models."""
    heading = f"{length} tokens, {TOKENS} a step"
    print(f"\n| {heading} | precision | parameters | tokens/s | of the products' in fp32 |")
    print("|---|---|---|---|---|")
    best = 0.0
    limits = Limits(seconds=60 + 20 * chosen.seconds, gigabytes=16, threads=chosen.threads)
    for case in cases(length, chosen):
        row = run_case(__file__, case, limits)
        name, precision = row["name"], row["precision"]
        if "skipped" in row:
            print(f"| {name} | {precision} | {row['skipped']} | | |", flush=True)
            continue
        speed = TOKENS / row["seconds"]
        share = f"{speed * row['operations'] / ceiling:.0%}" if precision == "fp32" else "-"
        print(f"| {name} | {precision} | {row['parameters']:,} | {speed:,.0f} | {share} |")
        sys.stdout.flush()
        best = max(best, speed if row["ours"] else 0.0)
    return best


def cases(length: int, chosen: argparse.Namespace) -> list[Row]:
    """Return the cases of `measure`, model by model in each precision."""
    same = {
        "length": length,
        "seconds": chosen.seconds,
        "threads": chosen.threads,
        "keep": chosen.keep,
        "conv_width": chosen.conv_width,
    }
    ours = [{"name": f"ours, {name}", "ours": name} for name in chosen.attention]
    theirs = []
    for name in PEERS:
        if importlib.util.find_spec(name.split(",")[0].replace("-", "_")) is None:
            print(f"| {name} is not installed | | | | |")
        else:
            theirs.append({"name": name, "ours": None})
    return [
        {**same, "precision": precision, **one}
        for precision in chosen.precisions
        for one in ours + theirs
    ]


def measure(case: Row) -> Row:
    """Seconds of a step, parameters, operations of a token (matrices and scores, both ways)."""
    torch.set_num_threads(case["threads"])
    if case["keep"] and not keep_freed_memory():
        sys.exit("this C library cannot be told to keep what is freed")
    length, precision = case["length"], case["precision"]
    if case["ours"] is not None:
        config = ModelConfig(
            vocabulary_size=VOCABULARY,
            context=length,
            width=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            mlp_width=MLP,
            conv_width=case["conv_width"],
            attention=AttentionConfig(name=case["ours"]),
        )
        module: nn.Module = build_model(config)
        step = our_step(module, length, precision)
        counted = operations(case["ours"], length, config, asked=MASKED)
    else:
        module, forward = PEERS[case["name"]](length)
        step = peer_step(module, forward, length, precision)
        quadratic = "linear" not in case["name"]
        counted = 6 * DEPTH * (4 * WIDTH**2 + 2 * WIDTH * PEER_MLP)
        counted += 12 * DEPTH * WIDTH * length if quadratic else 0
    return {
        "seconds": median_seconds(step, case["seconds"], clock_of(case["threads"])),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "operations": counted,
    }


def tokens(length: int) -> tuple[Tensor, Tensor]:
    """Random bases, and which of them are asked for."""
    generator = torch.Generator().manual_seed(0)
    shape = (TOKENS // length, length)
    return torch.randint(5, 9, shape, generator=generator), torch.rand(
        shape, generator=generator
    ) < MASKED


def our_step(model: Any, length: int, precision: Precision) -> Step:
    """A step as `pretrain` takes it."""
    inputs_BL, asked_BL = tokens(length)
    examples = Examples(
        inputs_BL=inputs_BL,
        targets_BL=torch.where(asked_BL, inputs_BL, -1),
        weights_BL=torch.ones(inputs_BL.shape),
        real_ids=range(5, 9),
    )
    return training_step(model, examples, compute=ComputeConfig(precision=precision, compile="off"))


def peer_step(
    module: nn.Module, forward: Callable[[Tensor], Tensor], length: int, precision: Precision
) -> Step:
    """Return a training step of a peer, whose logits are (B, L, V)."""
    inputs_BL, asked_BL = tokens(length)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(forward(inputs_BL)[asked_BL], inputs_BL[asked_BL])
            torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def torch_encoder(length: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """`nn.TransformerEncoder`, with learned positions."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, PEER_MLP, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    parts = nn.ModuleDict(
        {
            "embedding": nn.Embedding(VOCABULARY, WIDTH),
            "positions": nn.Embedding(length, WIDTH),
            "encoder": nn.TransformerEncoder(layer, DEPTH, enable_nested_tensor=False),
            "head": nn.Linear(WIDTH, VOCABULARY),
        }
    )

    def forward(inputs_BL: Tensor) -> Tensor:
        x_BLE = parts["embedding"](inputs_BL) + parts["positions"].weight
        logits: Tensor = parts["head"](parts["encoder"](x_BLE))
        return logits

    return parts, forward


def hugging_face_bert(length: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """`BertForMaskedLM` with sdpa."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=PEER_MLP,
        max_position_embeddings=length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM(config)
    return model, lambda inputs_BL: model(inputs_BL).logits


def x_transformers(length: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """x-transformers' encoder: flash attention, rotary positions."""
    package: Any = importlib.import_module("x_transformers")
    layers = package.Encoder(
        dim=WIDTH, depth=DEPTH, heads=HEADS, attn_flash=True, rotary_pos_emb=True, ff_mult=4
    )
    model: nn.Module = package.TransformerWrapper(
        num_tokens=VOCABULARY, max_seq_len=length, attn_layers=layers
    )
    return model, model


def linear_attention_transformer(length: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """linear-attention-transformer's language model, not causal."""
    package: Any = importlib.import_module("linear_attention_transformer")
    model: nn.Module = package.LinearAttentionTransformerLM(
        num_tokens=VOCABULARY, dim=WIDTH, heads=HEADS, depth=DEPTH, max_seq_len=length, causal=False
    )
    return model, model


PEERS: dict[str, Callable[[int], tuple[nn.Module, Callable[[Tensor], Tensor]]]] = {
    "torch, nn.TransformerEncoder": torch_encoder,
    "transformers, BERT": hugging_face_bert,
    "x-transformers, flash": x_transformers,
    "linear-attention-transformer": linear_attention_transformer,
}


def loading(length: int, consumed: float, clock: Callable[[], float]) -> None:
    """Print how fast batches are made, whole windows and packed contigs."""
    generator = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    whole = {"chromosome": letters[generator.integers(0, 4, 2_000_000)].tobytes().decode()}
    sizes = generator.integers(length // 16, length, 400)
    contigs = {
        f"c{n}": letters[generator.integers(0, 4, size)].tobytes().decode()
        for n, size in enumerate(sizes)
    }
    print(f"\n| batches of {length} tokens a row | tokens/s | times what the fastest step eats |")
    print("|---|---|---|")
    for name, records in (("whole windows", whole), ("packed contigs", contigs)):
        with tempfile.TemporaryDirectory() as folder:
            batches = batches_of(Path(folder) / "corpus", records, length)
            made = iter(range(10**9))
            seconds = median_seconds(lambda: batches.make(next(made)), 1.0, clock)  # noqa: B023
        speed = TOKENS / seconds
        print(f"| {name} | {speed:,.0f} | {speed / consumed:.0f} |", flush=True)


def batches_of(folder: Path, records: dict[str, str], length: int) -> Batches:
    """Batches of a corpus of these records."""
    corpus = build_corpus(folder, records)
    model = ModelConfig(vocabulary_size=VOCABULARY, context=length)
    config = TrainingConfig(batch_size=TOKENS // length)
    return Batches(corpus, model, MaskingConfig(), config)


if __name__ == "__main__":
    main()
