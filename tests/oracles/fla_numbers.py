"""Numbers of flash-linear-attention's kernels on a CPU, in Triton's interpreter and float32.

    python tests/oracles/fla_numbers.py tests/data/fla   # needs the packages fla-core and triton

Writes inputs, outputs and gradients of a random loss (`numbers.safetensors`), and the version and
parameters of the functions (`signatures.json`). The default tests read both. With `--layers` it
prints the largest relative difference between our layers in these kernels and in the plain path.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

LENGTH, HEADS, WIDTH = 66, 1, 16
FUNCTIONS = {
    "chunk_simple_gla": "fla.ops.simple_gla",
    "chunk_gated_delta_rule": "fla.ops.gated_delta_rule",
}


class Index(int):
    """Number of a loop of a kernel; the interpreter leaves it without the methods of a tensor."""

    def to(self, dtype: Any) -> Index:
        """Return the number."""
        del dtype
        return self


def prepare_interpreter() -> None:
    """Interpret all kernels, and take their first configuration instead of the fastest."""
    os.environ["TRITON_INTERPRET"] = "1"
    tuner = importlib.import_module("triton.runtime.autotuner").Autotuner
    run = tuner.run

    def run_first(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.configs = self.configs[:1]
        return run(self, *args, **kwargs)

    tuner.run = run_first
    for module in ("chunk_h", "chunk_delta_h"):
        kernels = importlib.import_module(f"fla.ops.common.{module}")
        vars(kernels)["range"] = lambda *args: (Index(number) for number in range(*args))


def inputs() -> dict[str, Tensor]:
    """Draw queries and keys of norm 1, values, decays, strengths, a state, weights of the loss."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, LENGTH, HEADS, WIDTH)
    drawn = {name: torch.randn(shape, generator=generator) for name in ("q", "k", "v", "weight")}
    for name in ("q", "k"):
        drawn[name] = torch.nn.functional.normalize(drawn[name], dim=-1)
    drawn["g"] = -torch.rand(shape[:3], generator=generator)
    drawn["beta"] = torch.rand(shape[:3], generator=generator)
    for name in ("initial_state", "state_weight"):
        drawn[name] = torch.randn(1, HEADS, WIDTH, WIDTH, generator=generator)
    return drawn


def numbers(name: str, function: Any, drawn: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return output, state and gradients of one function."""
    names = ["q", "k", "v", "g", "initial_state"] + ["beta"] * (name != "chunk_simple_gla")
    leaves = {one: drawn[one].clone().requires_grad_() for one in names}
    out, state = function(**leaves, scale=0.5, output_final_state=True)
    loss = (out * drawn["weight"]).sum() + (state * drawn["state_weight"]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    found = {"out": out.detach(), "state": state.detach()}
    found |= {f"d_{one}": gradient for one, gradient in zip(leaves, gradients, strict=True)}
    return {f"{name}.{one}": tensor.contiguous() for one, tensor in found.items()}


def main(folder: Path) -> None:
    """Write the numbers and the signatures."""
    warnings.simplefilter("ignore")
    prepare_interpreter()
    drawn = inputs()
    found, signatures = dict(drawn), {}
    for name, module in FUNCTIONS.items():
        function = getattr(importlib.import_module(module), name)
        found |= numbers(name, function, drawn)
        signatures[name] = list(inspect.signature(inspect.unwrap(function)).parameters)
    save_file(found, folder / "numbers.safetensors")
    content = {"fla-core": version("fla-core"), "parameters": signatures}
    text = json.dumps(content, indent=1) + "\n"
    (folder / "signatures.json").write_text(text, encoding="utf-8")


def layer_error(name: str, *, causal: bool) -> float:
    """Return the largest difference of output and gradients, relative in norm."""
    from genomeformer_cli.core.attention.batch_layout import Rotary
    from genomeformer_cli.core.attention.kernels.fused import FusedKernel, using_kernels
    from genomeformer_cli.core.attention.layer import AttentionLayer
    from genomeformer_cli.core.attention.registry import AttentionConfig, AttentionContext

    type.__setattr__(FusedKernel, "obstacle", lambda *_: "")
    setting = AttentionContext(num_heads=HEADS, head_width=WIDTH, context=LENGTH, causal=causal)
    generator = torch.Generator().manual_seed(0)
    layer = AttentionLayer(
        name=name, config=AttentionConfig(name=name), setting=setting, generator=generator
    )
    mask = torch.arange(LENGTH) < torch.tensor([LENGTH, 33])[:, None]
    layout = Rotary(head_width=WIDTH, base=100.0).layout(LENGTH, mask, device=torch.device("cpu"))
    x, weight = torch.randn(2, 2, LENGTH, HEADS * WIDTH, generator=generator)
    x = x.clone().requires_grad_()
    found: list[list[Tensor]] = []
    for fused in (False, True):
        with using_kernels("fused" if fused else "plain"):
            out = layer(x, layout).masked_fill(~mask[..., None], 0)
        found.append([out, *torch.autograd.grad((out * weight).sum(), [x, *layer.parameters()])])
    return max(
        float((one - other).norm() / one.norm().clamp_min(1e-3))
        for one, other in zip(*found, strict=True)
    )


def compare_layers() -> None:
    """Print the error of every layer."""
    warnings.simplefilter("ignore")
    prepare_interpreter()
    for name, causal in (
        ("linear", True),
        ("gated-linear", True),
        ("gated-delta", True),
        ("gated-delta", False),
    ):
        sys.stdout.write(f"{name} {causal} {layer_error(name, causal=causal)}\n")


if __name__ == "__main__":
    if sys.argv[1] == "--layers":
        compare_layers()
    else:
        main(Path(sys.argv[1]))
