"""One attention layer beside its counterparts in other packages: local, longformer, reformer.

Forward and backward of a layer with its projections, batch 1, width 256, 4 heads, one thread, each
in a process of its own: CPU seconds (fastest of some repeats) and how much the peak of resident
memory grew over the first pass. Windows see 128 positions to either side; hashing takes 2 rounds in
chunks of 64.

python benchmarks/windowed_layers.py --length 8192

Needs transformers, local-attention and reformer-pytorch; what is missing is left out.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

WIDTH, HEADS, WINDOW, CHUNK, ROUNDS = 256, 4, 128, 64, 2
CASES = {
    "local": ["ours-local", "local-attention"],
    "longformer": ["ours-longformer", "hf-longformer"],
    "reformer": ["ours-reformer", "reformer-pytorch", "hf-reformer"],
}
PACKAGES = {
    "local-attention": "local_attention",
    "hf-longformer": "transformers",
    "reformer-pytorch": "reformer_pytorch",
    "hf-reformer": "transformers",
}

Layer = Callable[[Tensor], Tensor]


def ours(name: str, length: int) -> Layer:
    """Our layer: normalised queries and keys, rotary positions."""
    from genomeformer_cli.core.attention.batch_layout import Rotary
    from genomeformer_cli.core.attention.layer import AttentionLayer
    from genomeformer_cli.core.attention.registry import AttentionConfig, AttentionContext

    config = AttentionConfig(
        name=name, window=WINDOW, num_global=1, hash_rounds=ROUNDS, hash_chunk=CHUNK
    )
    setting = AttentionContext(
        num_heads=HEADS, head_width=WIDTH // HEADS, context=length, causal=False
    )
    generator = torch.Generator().manual_seed(0)
    layer = AttentionLayer(name=name, config=config, setting=setting, generator=generator)
    rotary = Rotary(head_width=WIDTH // HEADS, base=10_000.0)
    layout = rotary.layout(length, None, device=torch.device("cpu"))
    return lambda x: layer(x, layout)


def local_attention(length: int) -> Layer:
    """The layer of `local-attention`, with an exact window as ours."""
    layer: Layer = import_module("local_attention.transformer").LocalMHA(
        dim=WIDTH,
        window_size=WINDOW,
        dim_head=WIDTH // HEADS,
        heads=HEADS,
        causal=False,
        exact_windowsize=True,
    )
    return layer


def hf_longformer(length: int) -> Layer:
    """`LongformerSelfAttention`, one global position, and an output projection."""
    package = import_module("transformers.models.longformer.modeling_longformer")
    config = package.LongformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        attention_window=[2 * WINDOW],
        attention_probs_dropout_prob=0.0,
    )
    layer, out = package.LongformerSelfAttention(config, 0), nn.Linear(WIDTH, WIDTH)
    mask = torch.zeros(1, length)
    mask[:, 0] = 10_000.0
    return lambda x: out(layer(x, mask, mask < 0, mask > 0, is_global_attn=True)[0])


def reformer_pytorch(length: int) -> Layer:
    """The layer of `reformer-pytorch`."""
    layer: Layer = import_module("reformer_pytorch").LSHSelfAttention(
        dim=WIDTH, heads=HEADS, bucket_size=CHUNK, n_hashes=ROUNDS, causal=False
    )
    return layer


def hf_reformer(length: int) -> Layer:
    """`LSHSelfAttention` and an output projection."""
    package = import_module("transformers.models.reformer.modeling_reformer")
    config = package.ReformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        attention_head_size=WIDTH // HEADS,
        lsh_attn_chunk_length=CHUNK,
        num_hashes=ROUNDS,
        num_buckets=length // CHUNK,
        is_decoder=False,
        lsh_attention_probs_dropout_prob=0.0,
        max_position_embeddings=length,
    )
    layer, out = package.LSHSelfAttention(config), nn.Linear(WIDTH, WIDTH)
    return lambda x: out(layer(x).hidden_states)


def build(case: str, length: int) -> Layer:
    """The layer of a case."""
    if case.startswith("ours-"):
        return ours(case.removeprefix("ours-"), length)
    peers = {
        "local-attention": local_attention,
        "hf-longformer": hf_longformer,
        "reformer-pytorch": reformer_pytorch,
        "hf-reformer": hf_reformer,
    }
    return peers[case](length)


def measure(case: str, length: int, repeats: int) -> None:
    """Print CPU seconds and MB of a case; runs in a process of its own."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer = build(case, length)
    x = torch.randn(1, length, WIDTH, requires_grad=True)
    small = torch.randn(1, 2 * WINDOW, WIDTH)
    (small @ small.mT).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        torch.autograd.backward(layer(x).sum())
        seconds.append(time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{min(seconds):.3f} {grown:.0f}")


def main() -> None:
    """Run every case, print seconds, memory and ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", help="run one case here and print its numbers")
    options = parser.parse_args()
    if options.case:
        measure(options.case, options.length, options.repeats)
        return
    for mechanism, cases in CASES.items():
        ours_seconds = ours_memory = 0.0
        for case in cases:
            if case in PACKAGES and find_spec(PACKAGES[case]) is None:
                print(f"{mechanism:<11} {case:<17} not installed")
                continue
            command = [sys.executable, __file__, "--case", case]
            command += ["--length", str(options.length), "--repeats", str(options.repeats)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, memory = (float(part) for part in done.stdout.split()[-2:])
            if case == cases[0]:
                ours_seconds, ours_memory = seconds, memory
            print(
                f"{mechanism:<11} {case:<17} {seconds:7.3f} s CPU {memory:6.0f} MB   "
                f"{seconds / ours_seconds:.2f} x time {memory / ours_memory:.2f} x memory"
            )
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
