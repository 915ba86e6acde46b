"""Are linformer and nystromformer faster and leaner than what people use now?

`python benchmarks/projected_attention.py` trains each beside its peers: one row of 8,192 positions,
four blocks of width 256 with four heads that differ in attention alone, forward, backward, AdamW.
One thread, CPU seconds, best of some repeats; memory is how far the peak of the process rises. Each
runs in a process of its own, in turns. Peers that are not installed are left out:
`pip install linformer nystrom-attention transformers` brings all.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig, AttentionContext

WIDTH, HEADS, DEPTH, TAPS = 256, 4, 4, 33


class Ours(nn.Module):
    """A mechanism of ours between the projections that its peers bring with them."""

    def __init__(self, config: AttentionConfig, length: int) -> None:
        super().__init__()
        setting = AttentionContext(
            num_heads=HEADS, head_width=WIDTH // HEADS, context=length, causal=False
        )
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        build = ATTENTIONS[config.name].build
        self.mechanism = build(config, setting, torch.Generator().manual_seed(0))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BLE: Tensor) -> Tensor:
        """Attend."""
        q, k, v = self.qkv(x_BLE).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed_BHLD: Tensor = self.mechanism(q, k, v, None, None)
        out_BLE: Tensor = self.out(mixed_BHLD.transpose(1, 2).flatten(2))
        return out_BLE


class FromTransformers(nn.Module):
    """Their attention has no projection of its output; it is added."""

    def __init__(self, length: int, dial: int) -> None:
        super().__init__()
        from transformers import NystromformerConfig
        from transformers.models.nystromformer import modeling_nystromformer as peer

        config = NystromformerConfig(
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            num_landmarks=dial,
            segment_means_seq_len=length,
            conv_kernel_size=TAPS,
            attention_probs_dropout_prob=0.0,
            inv_coeff_init_option=False,
        )
        make: Any = peer.NystromformerSelfAttention
        self.attention = make(config)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BLE: Tensor) -> Tensor:
        """Attend."""
        out_BLE: Tensor = self.out(self.attention(x_BLE)[0])
        return out_BLE


def _linformer(length: int, dial: int) -> nn.Module:
    peer: Any = importlib.import_module("linformer")
    made: nn.Module = peer.LinformerSelfAttention(WIDTH, length, k=dial, heads=HEADS)
    return made


def _nystrom_attention(length: int, dial: int) -> nn.Module:
    del length
    peer: Any = importlib.import_module("nystrom_attention")
    made: nn.Module = peer.NystromAttention(
        WIDTH, dim_head=WIDTH // HEADS, heads=HEADS, num_landmarks=dial
    )
    return made


MAKERS: dict[str, tuple[str, Callable[[int, int], nn.Module]]] = {
    "ours, linformer": (
        "torch",
        lambda length, dial: Ours(AttentionConfig(name="linformer", num_projected=dial), length),
    ),
    "linformer": ("linformer", _linformer),
    "ours, nystromformer": (
        "torch",
        lambda length, dial: Ours(
            AttentionConfig(name="nystromformer", num_landmarks=dial), length
        ),
    ),
    "nystrom-attention": ("nystrom_attention", _nystrom_attention),
    "transformers, nystromformer": ("transformers", FromTransformers),
}


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(WIDTH), attention)
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.GELU(),
            nn.Linear(4 * WIDTH, WIDTH),
        )

    def forward(self, x_BLE: Tensor) -> Tensor:
        """Apply the block."""
        x_BLE = x_BLE + self.attention(x_BLE)
        mixed_BLE: Tensor = x_BLE + self.mlp(x_BLE)
        return mixed_BLE


def measure(name: str, length: int, dial: int, repeats: int) -> None:
    """Print one row."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make = MAKERS[name][1]
    model = nn.Sequential(*(Block(make(length, dial)) for _ in range(DEPTH)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x_BLE = torch.randn(1, length, WIDTH)
    before, seconds = peak_bytes(), []
    for _ in range(repeats + 1):
        start = time.process_time()
        optimizer.zero_grad()
        model(x_BLE).square().mean().backward()
        optimizer.step()
        seconds.append(time.process_time() - start)
    best = min(seconds[1:])
    rise = (peak_bytes() - before) / 2**20
    print(f"{name:28} {dial:5} {best:8.3f} {length / best:10,.0f} {rise:8,.0f}", flush=True)


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Measure all, or in a child one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dials", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--one", choices=MAKERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measure(asked.one, asked.length, asked.dials[0], asked.repeats)
        return
    print(f"{'attention':28} {'dial':>5} {'CPU s':>8} {'tokens/s':>10} {'MiB':>8}", flush=True)
    for dial in asked.dials:
        for name, (package, _) in MAKERS.items():
            if importlib.util.find_spec(package) is None:
                print(f"{name:28} {dial:5}  not installed", flush=True)
                continue
            command = [sys.executable, __file__, "--one", name, "--dials", str(dial)]
            command += ["--length", str(asked.length), "--repeats", str(asked.repeats)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
