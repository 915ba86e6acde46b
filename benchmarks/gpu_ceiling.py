"""Highest speeds of a GPU: products, copies, fused attention. One part of `gpu.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from one_device import GIB, Cells, Row, median_seconds
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from genomeformer_cli.core.attention.kernels.linear_state import add_over_tokens

TERA = 1e12
# Width, hidden features of the gated MLP: of `small` and of `base`.
LAYERS = ((256, 704), (768, 2048))
PRECISIONS = ("bf16", "tf32", "fp32")
AS_TORCH_CHOOSES = "as torch chooses"
BACKENDS = {
    "flash": [SDPBackend.FLASH_ATTENTION],
    "cudnn": [SDPBackend.CUDNN_ATTENTION],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION],
}


@contextmanager
def products_in(precision: str) -> Iterator[torch.dtype]:
    """The dtype of matrices whose products run in that precision."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    try:
        yield torch.bfloat16 if precision == "bf16" else torch.float32
    finally:
        torch.set_float32_matmul_precision(before)


def product_speed(
    cells: Cells, shape: tuple[int, int, int], precision: str, *, calls: int = 5
) -> float:
    """Operations a second of (m, k) times (k, n)."""
    rows, inner, columns = shape
    with products_in(precision) as dtype:
        one = torch.randn(rows, inner, dtype=dtype, device=cells.device)
        two = torch.randn(inner, columns, dtype=dtype, device=cells.device)
        out = torch.empty(rows, columns, dtype=dtype, device=cells.device)
        seconds = median_seconds(
            lambda: torch.mm(one, two, out=out), cells.device, cells.patience.timed, calls=calls
        )
    return 2 * rows * inner * columns / seconds


def ceiling(cells: Cells, *, side: int, tokens: int, length: int) -> float:
    """Print all; return the operations per second of the large product in bf16.

    Args:
        cells: Runs them.
        side: Rows of the large square matrices.
        tokens: Rows of the products in the shapes of our layers, and of attention.
        length: Positions of the rows that attention reads.
    """
    cells.table("Ceiling: matrix products", ["precision", "m x k x n", "TFLOP/s"])
    shapes = [(side, side, side)]
    for width, hidden in LAYERS:
        shapes += [(tokens, width, 3 * width), (tokens, width, width)]
        shapes += [(tokens, width, 2 * hidden), (tokens, hidden, width), (width, tokens, 3 * width)]
    found: dict[tuple[str, Sequence[int]], Row] = {}
    for precision in PRECISIONS:
        for shape in shapes if precision != "fp32" else shapes[:1]:
            found[precision, shape] = cells.run(
                {
                    "section": "ceiling",
                    "precision": precision,
                    "shape": " x ".join(map(str, shape)),
                },
                lambda shape=shape, precision=precision: {  # type: ignore[misc]
                    "flops": product_speed(cells, shape, precision)
                },
                lambda row: [f"{row['flops'] / TERA:.1f}"],
            )
    _copies(cells)
    _sums_over_tokens(cells, tokens=2 * tokens)
    _fused_attention(cells, tokens=tokens, length=length)
    return float(found["bf16", shapes[0]].get("flops", 0.0))


def _copies(cells: Cells) -> None:
    cells.table("Ceiling: copies within the device's memory", ["GiB", "GB/s, read and written"])

    def measure() -> Row:
        size = GIB if cells.device.type == "cuda" else GIB // 16
        one = torch.ones(size, dtype=torch.uint8, device=cells.device)
        two = torch.empty_like(one)
        call = median_seconds(lambda: two.copy_(one), cells.device, cells.patience.timed)
        return {"bytes_a_second": 2 * size / call}

    cells.run(
        {"section": "ceiling", "GiB": 1 if cells.device.type == "cuda" else 1 / 16},
        measure,
        lambda row: [f"{row['bytes_a_second'] / 1e9:.0f}"],
    )


def _sums_over_tokens(cells: Cells, *, tokens: int) -> None:
    """Measure the sums of linear attention over one long row: few products over many tokens."""
    cells.table(f"Sums over {tokens:,} tokens, 64 x 64 features", ["heads", "piece", "ms"])

    def measure(heads: int, piece: int) -> Row:
        one, two = (torch.randn(heads, tokens, 64, device=cells.device) for _ in range(2))
        total = torch.zeros(heads, 64, 64, device=cells.device)
        seconds = median_seconds(
            lambda: add_over_tokens(total, one, two, piece=piece), cells.device, 0.1
        )
        return {"seconds": seconds}

    for heads in (4, 96):
        for piece in dict.fromkeys((tokens, 8192, 2048, 512)):
            cells.run(
                {"section": "ceiling", "heads": heads, "piece": piece},
                lambda heads=heads, piece=piece: measure(heads, piece),  # type: ignore[misc]
                lambda row: [f"{1000 * row['seconds']:.2f}"],
            )


def _fused_attention(cells: Cells, *, tokens: int, length: int) -> None:
    """Forward and backward, counted as 12 L operations a token and feature of the width."""
    header = ["kernel", "heads x width", "forward TFLOP/s", "both ways TFLOP/s"]
    cells.table(
        f"Ceiling: softmax attention in bf16, rows of {length:,}, {tokens:,} tokens", header
    )
    for heads, head_width in ((12, 64), (6, 128), (4, 64)):
        for backend in (AS_TORCH_CHOOSES, *BACKENDS):
            cells.run(
                {"section": "ceiling", "kernel": backend, "heads": f"{heads} x {head_width}"},
                lambda heads=heads, head_width=head_width, backend=backend: _attention_speeds(  # type: ignore[misc]
                    cells, (max(tokens // length, 1), heads, length, head_width), backend
                ),
                lambda row: [f"{row['forward'] / TERA:.0f}", f"{row['both'] / TERA:.0f}"],
            )


def _attention_speeds(cells: Cells, shape: tuple[int, int, int, int], backend: str) -> Row:
    batch, heads, length, head_width = shape
    dtype = torch.bfloat16

    def draw() -> Tensor:
        # As a layer has them: (B, L, H, D) in memory.
        drawn = torch.randn(batch, length, heads, head_width, dtype=dtype, device=cells.device)
        return drawn.transpose(1, 2).requires_grad_()

    q, k, v = draw(), draw(), draw()
    gradient = torch.randn_like(q)

    def forward() -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v)

    def both() -> Any:
        return torch.autograd.grad(forward(), (q, k, v), gradient)

    with chosen_kernel(backend):
        with torch.no_grad():
            forward_s = median_seconds(forward, cells.device, cells.patience.timed)
        both_s = median_seconds(both, cells.device, cells.patience.timed)
    count = 4 * batch * heads * length * length * head_width
    return {"forward": count / forward_s, "both": 3 * count / both_s}


@contextmanager
def chosen_kernel(backend: str) -> Iterator[None]:
    """Let softmax attention run in that kernel alone, or in what torch chooses."""
    if backend not in BACKENDS:
        yield
        return
    with sdpa_kernel(BACKENDS[backend]):
        yield
