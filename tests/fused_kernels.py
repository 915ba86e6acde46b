"""Stand-ins on a processor for the fused kernels of a GPU.

FlexAttention is replaced by the L x L matrix of what its block mask shows, or runs uncompiled. The
functions of flash-linear-attention are replaced by loops with their parameters; `tests/data/fla`
holds numbers of the real ones.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import Layout, Rotary
from genomeformer_cli.core.attention.kernels import masked_attention
from genomeformer_cli.core.attention.kernels.fused import FusedKernel, KernelChoice, using_kernels
from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.attention.registry import (
    ATTENTIONS,
    AttentionConfig,
    AttentionContext,
)

HEADS, LENGTH = 2, 45
FUSED = [
    (name, way)
    for name, entry in ATTENTIONS.items()
    for way in entry.directions
    if entry.fused is not None and way in entry.fused_directions
]
DOCUMENTS = torch.tensor(
    [[0] * 11 + [1] * 34, [4] * 3 + [9] * 20 + [2] * 2 + [4] * 15 + [-1] * 5, [7] * 45]
)


def make_layer(which: tuple[str, str], head_width: int = 8) -> AttentionLayer:
    """A layer in float64."""
    name, way = which
    config = AttentionConfig(name=name, window=5, num_global=2)
    setting = AttentionContext(
        num_heads=HEADS, head_width=head_width, context=LENGTH, causal=way == "causal"
    )
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    return AttentionLayer(name=name, config=config, setting=setting, generator=generator).double()


def layouts(head_width: int = 8, times: int = 1, device: str = "cpu") -> dict[str, Layout]:
    """Rows without padding, padded at the end, with holes, and of several documents.

    Each position is repeated `times` times.
    """
    rotary, place = Rotary(head_width=head_width, base=100.0), torch.device(device)
    length, ends = LENGTH * times, torch.tensor([LENGTH * times, 20, 1])
    holes = torch.rand(3, length, generator=torch.Generator().manual_seed(1)) < 0.7
    padded = torch.arange(length) < ends[:, None]
    documents = DOCUMENTS.repeat_interleave(times, dim=1)
    return {
        "whole": rotary.layout(length, None, device=place),
        "padded": rotary.layout(length, padded.to(place), device=place),
        "holes": rotary.layout(length, holes.to(place), device=place),
        "packed": rotary.packed_layout(documents.to(place)),
    }


def computed(layer: AttentionLayer, layout: Layout, kernels: KernelChoice) -> list[Tensor]:
    """Output at real positions, and gradients of the input and of all weights."""
    generator = torch.Generator().manual_seed(2)
    weights = layer.qkv.weight
    shape = (3, layout.cos.shape[-2], weights.shape[1])
    x, weight = (torch.randn(shape, generator=generator).to(weights) for _ in range(2))
    x.requires_grad_()
    with using_kernels(kernels):
        out = layer(x, layout)
    if layout.mask_BL is not None:
        out = out.masked_fill(~layout.mask_BL[..., None], 0)
        weight = weight.masked_fill(~layout.mask_BL[..., None], 0)
    leaves = [x, *layer.parameters()]
    return [out, *torch.autograd.grad((out * weight).sum(), leaves, materialize_grads=True)]


def chunk_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    g_gamma: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    assert (g_gamma, cu_seqlens, cu_seqlens_cpu, state_v_first, kwargs) == (None,) * 3 + (False, {})
    ones = q.new_ones(q.shape[:3])
    decay = ones if g is None else g
    decay = decay if g is None else decay.exp()
    return _recur((q, k, v), decay, ones, (scale, initial_state, output_final_state), erase=False)


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    cp_context: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    switches = (use_qk_l2norm_in_kernel, use_beta_sigmoid_in_kernel, allow_neg_eigval)
    assert (*switches, state_v_first, kwargs) == (False,) * 4 + ({},)
    assert (cu_seqlens, cu_seqlens_cpu, chunk_indices, cp_context) == (None,) * 4
    more = (scale, initial_state, output_final_state)
    return _recur((q, k, v), g.exp(), beta, more, erase=True)


def _recur(
    qkv: tuple[Tensor, Tensor, Tensor],
    decay_BLH: Tensor,
    strength_BLH: Tensor,
    more: tuple[float | None, Tensor | None, bool],
    *,
    erase: bool,
) -> tuple[Tensor, Tensor | None]:
    """Token by token: decay the state, erase what it holds for the key, add the new value."""
    q_BLHF, k_BLHF, v_BLHD = qkv
    scale, state, wants_state = more
    batch, length, heads, num_features = q_BLHF.shape
    if scale is None:
        scale = num_features**-0.5
    if state is None:
        state = v_BLHD.new_zeros(batch, heads, num_features, v_BLHD.shape[-1])
    outs = []
    for i in range(length):
        state = decay_BLH[:, i, :, None, None] * state
        k, v = k_BLHF[:, i, :, :, None], v_BLHD[:, i, :, None]
        held = (k * state).sum(dim=2, keepdim=True) if erase else 0
        state = state + k * (strength_BLH[:, i, :, None, None] * (v - held))
        outs.append((q_BLHF[:, i, :, :, None] * state).sum(dim=2) * scale)
    return torch.stack(outs, dim=1).to(v_BLHD.dtype), state if wants_state else None


def visible_pairs(block_mask: Any) -> Tensor:
    """Every pair of a block mask (R, L, L): the mask within partial blocks, all of whole blocks."""
    length, size = block_mask.seq_lengths[0], block_mask.BLOCK_SIZE[0]
    sizes = (block_mask.kv_num_blocks.shape[0], length, length)
    row, query, key = torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij")
    seen = block_mask.mask_mod(row, torch.zeros_like(row), query, key)
    partial, whole = (
        _pairs_of_blocks(counts, indices, size)
        for counts, indices in (
            (block_mask.kv_num_blocks, block_mask.kv_indices),
            (block_mask.full_kv_num_blocks, block_mask.full_kv_indices),
        )
    )
    assert not bool((partial & whole).any())
    return (seen & partial) | whole


def _pairs_of_blocks(counts_R1N: Tensor, indices_R1NN: Tensor, size: int) -> Tensor:
    listed = torch.arange(indices_R1NN.shape[-1]) < counts_R1N[..., None]
    dense = torch.zeros(indices_R1NN.shape, dtype=torch.bool)
    dense = dense.scatter(3, indices_R1NN.long(), listed)[:, 0]
    return dense.repeat_interleave(size, dim=1).repeat_interleave(size, dim=2)


def dense_attention(q: Tensor, k: Tensor, v: Tensor, block_mask: Any) -> Tensor:
    """Softmax over the pairs of a block mask; 0 for a query without any."""
    seen = visible_pairs(block_mask)[:, None]
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~seen, torch.finfo(q.dtype).min)
    return scores.softmax(dim=-1) * seen @ v


def install_flex_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's uncompiled FlexAttention compute, after `install`."""
    from torch.nn.attention import flex_attention as flex

    def uncompiled(q: Tensor, k: Tensor, v: Tensor, block_mask: Any) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out: Any = flex.flex_attention(q, k, v, block_mask=block_mask)
        assert isinstance(out, Tensor)
        return out

    # torch refuses gradients on a processor, which its uncompiled form computes.
    monkeypatch.setattr(flex, "_validate_device", lambda *_: None)
    monkeypatch.setattr(masked_attention, "_flex_attention", uncompiled)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fused kernels compute on a processor, in any dtype and width."""
    monkeypatch.setattr(masked_attention, "_flex_attention", dense_attention)
    monkeypatch.setattr(FusedKernel, "obstacle", lambda *_: "")
    for name, function in (
        ("simple_gla", chunk_simple_gla),
        ("gated_delta_rule", chunk_gated_delta_rule),
    ):
        module = ModuleType(f"fla.ops.{name}")
        vars(module)[function.__name__] = function
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for package in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
