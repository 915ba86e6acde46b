"""Are the linear mechanisms faster and leaner than what people use now? One thread, CPU seconds.

`python benchmarks/linear_attention.py` runs each mechanism beside its peers, forward and backward,
alone and within models, and prints a table: CPU seconds are the best of some
repeats, memory is the most that tensors held at once. Peers that are not installed are left out;
`pip install performer-pytorch transformers` brings all.
"""

from __future__ import annotations

import argparse
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig, AttentionContext
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder

HEADS, WIDTH, FEATURES, LAYERS = 4, 64, 266, 4

Run = Callable[[], tuple[Tensor, list[Tensor]]]


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that were made under it and are alive; their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._sizes:
                    self._sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self._sizes.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self._sizes.values()))
        return made


def measure(run: Run, repeats: int) -> tuple[float, float, float]:
    """CPU seconds forward, CPU seconds forward and backward, MiB."""
    best, forward = float("inf"), 0.0
    for _ in range(repeats):
        start = time.process_time()
        out, leaves = run()
        middle = time.process_time() - start
        torch.autograd.grad(out.sum(), leaves, allow_unused=True)
        whole = time.process_time() - start
        if whole < best:
            best, forward = whole, middle
    with LiveTensors() as live:
        out, leaves = run()
        torch.autograd.grad(out.sum(), leaves, allow_unused=True)
    return forward, best, live.peak / 2**20


def heads(length: int, num: int, generator: torch.Generator) -> list[Tensor]:
    """As a layer gives them: (1, H, L, D) that lie as (1, L, H, D)."""
    shape = (1, length, HEADS, WIDTH)
    drawn = [torch.randn(shape, generator=generator) for _ in range(num)]
    return [tensor.transpose(1, 2).requires_grad_() for tensor in drawn]


def ours(length: int, generator: torch.Generator) -> Iterator[tuple[str, Run]]:
    """Every linear mechanism of the registry, alone."""
    for name in ("linear", "performer", "gated-linear", "gated-delta"):
        for causal in (False, True):
            setting = AttentionContext(
                num_heads=HEADS, head_width=WIDTH, context=length, causal=causal
            )
            config = AttentionConfig(name=name, num_features=FEATURES)
            module = ATTENTIONS[name].build(config, setting, generator)
            leaves = heads(length, 3, generator)
            num_gates = ATTENTIONS[name].num_gates(config, setting)
            gates = heads(length, 1, generator)[0][..., :num_gates] if num_gates else None

            def run(
                module: nn.Module = module, x: list[Tensor] = leaves, gates: Tensor | None = gates
            ) -> tuple[Tensor, list[Tensor]]:
                return module(*x, None, gates), x

            yield f"{name}, {'causal' if causal else 'bidirectional'}", run


def peers(length: int, generator: torch.Generator) -> Iterator[tuple[str, Run]]:
    """Yield the operations of other packages, without projections."""
    q, k, v = leaves = heads(length, 3, generator)
    by_token = [tensor.transpose(1, 2) for tensor in leaves]
    decay = torch.rand(1, length, HEADS, generator=generator)
    try:
        from performer_pytorch import performer_pytorch as package

        fast = package.FastAttention(WIDTH, FEATURES)
        yield "performer-pytorch, bidirectional", lambda: (fast(q, k, v), leaves)
        yield (
            "performer-pytorch sums, elu + 1, bidirectional",
            lambda: (
                package.linear_attention(functional.elu(q) + 1, functional.elu(k) + 1, v),
                leaves,
            ),
        )
        yield (
            "performer-pytorch sums, elu + 1, causal",
            lambda: (
                package.causal_linear_attention_noncuda(
                    functional.elu(q) + 1, functional.elu(k) + 1, v
                ),
                leaves,
            ),
        )
    except ImportError:
        print("performer-pytorch is not installed")
    try:
        from transformers.models.mamba2 import modeling_mamba2 as mamba
        from transformers.models.qwen3_next import modeling_qwen3_next as qwen

        scan = mamba.mamba2_chunk_scan
        q, k, v = by_token
        yield (
            "transformers, Mamba-2 scan, causal",
            lambda: (scan(v, decay, -torch.ones(HEADS), k, q, 64), leaves),
        )
        delta = qwen.torch_chunk_gated_delta_rule
        yield (
            "transformers, gated delta rule, causal",
            lambda: (delta(q, k, v, -decay, decay, use_qk_l2norm_in_kernel=True)[0], leaves),
        )
    except (ImportError, AttributeError):
        print("transformers is not installed, or has other functions")


def models(length: int, generator: torch.Generator) -> Iterator[tuple[str, Run]]:
    """Whole models: logits and back; ours and theirs have MLPs of about as many weights."""
    tokens = torch.randint(10, (1, length), generator=generator)
    for name in ("linear", "performer"):
        model = Encoder(
            ModelConfig(
                width=HEADS * WIDTH,
                depth=LAYERS,
                num_heads=HEADS,
                mlp_width=704,
                context=length,
                attention=AttentionConfig(name=name, num_features=FEATURES),
            )
        )
        weights = list(model.parameters())

        def run(model: Encoder = model, weights: list[Any] = weights) -> tuple[Tensor, list[Any]]:
            return model.head(model.hidden(tokens, None)), weights

        yield f"model of {LAYERS} blocks, {name}", run
    try:
        from performer_pytorch import PerformerLM
    except ImportError:
        return
    theirs = PerformerLM(
        num_tokens=10,
        max_seq_len=length,
        dim=HEADS * WIDTH,
        depth=LAYERS,
        heads=HEADS,
        dim_head=WIDTH,
        nb_features=FEATURES,
        feature_redraw_interval=None,
        rotary_position_emb=True,
    )
    given = [weight for weight in theirs.parameters() if weight.requires_grad]
    yield f"model of {LAYERS} blocks, performer-pytorch", lambda: (theirs(tokens), given)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    print("| what | forward, s | forward and backward, s | MiB |\n|---|---|---|---|")
    for part in (ours, peers, models):
        for name, run in part(arguments.length, generator):
            forward, whole, memory = measure(run, arguments.repeats)
            print(f"| {name} | {forward:.3f} | {whole:.3f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
