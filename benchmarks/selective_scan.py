"""Is a Mamba stack on the CPU faster than a loop over positions, and than `transformers`?

`python benchmarks/selective_scan.py` runs one stack three ways: with the selective scan of this
package, with its reference (a loop over positions), and with `MambaForCausalLM`. One thread, CPU
microseconds per base, best of some repeats; then a training step without the optimizer, on short
rows: `transformers` differentiates its loop in a time that grows with the square of the length.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from torch import Tensor
from transformers import MambaConfig as PeerConfig
from transformers import MambaForCausalLM

from genomeformer_cli.core.attention.kernels.selective_scan import (
    selective_scan,
    selective_scan_reference,
)
from genomeformer_cli.core.models import mamba
from genomeformer_cli.core.models.mamba import Mamba, MambaConfig

WIDTH, VOCABULARY = 256, 16
ROWS = {"one row of 2,000": (1, 2_000), "8 rows of 500": (8, 500)}
TRAINED = {"4 rows of 100": (4, 100), "4 rows of 250": (4, 250)}


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the CPU seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def step(logits: Callable[[], Tensor]) -> None:
    """Compute a loss and its gradients."""
    torch.autograd.backward(logits().square().mean())


def main() -> None:
    """Print one line per shape and direction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = MambaConfig(
        vocabulary_size=VOCABULARY,
        width=WIDTH,
        depth=options.depth,
        inner_width=2 * WIDTH,
        step_rank=WIDTH // 16,
    )
    ours = Mamba(sizes)
    peer = MambaForCausalLM(
        PeerConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_hidden_layers=options.depth,
            use_cache=False,
        )
    )
    print(f"{'CPU microseconds per base':<28}{'ours':>10}{'loop':>10}{'transformers':>14}")
    for trains, shapes in ((False, ROWS), (True, TRAINED)):
        for name, shape in shapes.items():
            tokens_BL = torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(0))

            def run_ours(tokens_BL: Tensor = tokens_BL) -> Tensor:
                logits_BLV: Tensor = ours(tokens_BL, None)
                return logits_BLV

            def run_peer(tokens_BL: Tensor = tokens_BL) -> Tensor:
                logits: Tensor = peer(tokens_BL).logits
                return logits

            cells = []
            for run, scan in (
                (run_ours, selective_scan),
                (run_ours, selective_scan_reference),
                (run_peer, selective_scan),
            ):
                with (
                    torch.set_grad_enabled(trains),
                    mock.patch.object(mamba, "selective_scan", scan),
                ):
                    call = partial(step, run) if trains else run
                    cells.append(seconds(call, options.repeats) / tokens_BL.numel() * 1e6)
            label = f"{'train' if trains else 'infer'}, {name}"
            print(f"{label:<28}{cells[0]:>10.0f}{cells[1]:>10.0f}{cells[2]:>14.0f}", flush=True)


if __name__ == "__main__":
    main()
