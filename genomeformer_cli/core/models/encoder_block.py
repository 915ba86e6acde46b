"""Block of an `encoder`: attention and MLP over packed tokens, with norms before or after them.

Shape letters: T packed tokens, N rows of a group, L their length, H heads, D head width, E width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.rotary import rotate
from genomeformer_cli.core.attention.ops.local import local_attention
from genomeformer_cli.core.models.encoder_positions import (
    Group,
    Positions,
    band_mask,
    is_traced,
    relative_scores,
)

if TYPE_CHECKING:
    from genomeformer_cli.core.models.encoder import EncoderConfig

# Scores of distances that are computed at once.
_MOST_SCORES = 1 << 23


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu-tanh": _gelu_tanh,
    "relu": functional.relu,
    "silu": functional.silu,
}


def make_norm(config: EncoderConfig) -> nn.LayerNorm:
    """Return a layer norm over the width of a model."""
    return nn.LayerNorm(config.width, eps=config.norm_eps, bias=config.norm_bias)


class EncoderAttention(nn.Module):
    """Bidirectional softmax attention within every row.

    Args:
        config: Configuration of the model.
        is_local: True if positions see only a window.
    """

    def __init__(self, config: EncoderConfig, *, is_local: bool) -> None:
        super().__init__()
        width, bias = config.width, config.attention_bias
        self.num_heads = config.num_heads
        self.window = config.local_window if is_local else 0
        self.rotary_base = config.local_rotary_base if is_local else config.rotary_base
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.distances: nn.Embedding | None = None
        if config.positions == "relative-key-query":
            self.distances = nn.Embedding(2 * config.max_positions - 1, width // config.num_heads)

    def forward(self, x_TE: Tensor, positions: Positions) -> Tensor:
        """Attend."""
        q_THD, k_THD, v_THD = self.qkv(x_TE).view(*x_TE.shape[:1], 3, self.num_heads, -1).unbind(1)
        if positions.angles:
            cos_T1R, sin_T1R = positions.angles[self.rotary_base]
            q_THD, k_THD = rotate(q_THD, cos_T1R, sin_T1R), rotate(k_THD, cos_T1R, sin_T1R)
        qkv = (q_THD, k_THD, v_THD)
        outputs = [self._attend(qkv, group, positions) for group in positions.packed.groups]
        mixed: Tensor = self.out(outputs[0] if len(outputs) == 1 else torch.cat(outputs))
        return mixed

    def _attend(
        self, qkv: tuple[Tensor, Tensor, Tensor], group: Group, positions: Positions
    ) -> Tensor:
        """Attend within the rows of a group; return their packed tokens (N * L, E)."""
        shape = (group.rows, group.length)
        q, k, v = (
            x[group.start : group.stop].view(*shape, *x.shape[1:]).transpose(1, 2) for x in qkv
        )
        mask_NL = group.mask_NL
        most = self._most_rows(group)
        if most is None:
            out_NHLD = self._attend_rows(q, k, v, mask_NL, positions)
        else:
            parts = [slice(first, first + most) for first in range(0, group.rows, most)]
            masks = [None if mask_NL is None else mask_NL[part] for part in parts]
            outputs = [
                self._attend_rows(q[part], k[part], v[part], mask, positions)
                for part, mask in zip(parts, masks, strict=True)
            ]
            out_NHLD = torch.cat(outputs)
        return out_NHLD.transpose(1, 2).reshape(group.rows * group.length, -1)

    def _most_rows(self, group: Group) -> int | None:
        """Return the number of rows to attend within at once; None for all rows of a group.

        The scores of all distances of a row are several times as large as its features.
        """
        if self.distances is None or is_traced():
            return None
        most = max(1, _MOST_SCORES // (2 * self.num_heads * group.length**2))
        return most if most < group.rows else None

    def _attend_rows(
        self, q: Tensor, k: Tensor, v: Tensor, mask_NL: Tensor | None, positions: Positions
    ) -> Tensor:
        """Attend within rows of equal length, (N, H, L, D)."""
        length = q.shape[2]
        if self.window and is_traced():
            visible = band_mask(length, self.window, mask_NL, like=q)
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        if self.window and length > self.window + 1:
            return local_attention(q, k, v, mask_NL, window=self.window, causal=False)
        bias = self._bias(q, k, mask_NL, positions)
        if bias is not None and self.distances is not None and is_traced():
            # The fused kernel has other strides in a graph when the bias depends on queries.
            scores_NHLL = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
            return torch.softmax(scores_NHLL, dim=-1) @ v
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def _bias(
        self, q_NHLD: Tensor, k_NHLD: Tensor, mask_NL: Tensor | None, positions: Positions
    ) -> Tensor | None:
        """Return the mask or the bias of the scores; None if all are plain."""
        length = q_NHLD.shape[2]
        if positions.alibi_NHMM is not None:
            return positions.alibi_NHMM[:, :, :length, :length]
        bias: Tensor | None = None
        if self.distances is not None:
            reach = (self.distances.num_embeddings - 1) // 2
            first = reach - (length - 1)
            distances_XD = self.distances.weight[first : reach + length]
            scale = q_NHLD.shape[-1] ** -0.5
            bias = relative_scores(q_NHLD * scale, k_NHLD * scale, distances_XD)
        if mask_NL is None:
            return bias
        seen_N11L = mask_NL[:, None, None, :]
        return seen_N11L if bias is None else bias.masked_fill(~seen_N11L, -torch.inf)


class EncoderMLP(nn.Module):
    """Feed-forward layer, gated or not: Shazeer 2020, "GLU Variants Improve Transformer".

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.is_gated = config.gated
        self.activation = ACTIVATIONS[config.activation]
        hidden = config.mlp_width * (2 if config.gated else 1)
        self.up = nn.Linear(config.width, hidden, bias=config.mlp_up_bias)
        self.out = nn.Linear(config.mlp_width, config.width, bias=config.mlp_out_bias)

    def forward(self, x_TE: Tensor) -> Tensor:
        """Mix the features of every position."""
        hidden = self.up(x_TE)
        if self.is_gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = self.activation(gate) * value
        else:
            hidden = self.activation(hidden)
        mixed: Tensor = self.out(hidden)
        return mixed


class EncoderBlock(nn.Module):
    """Attention and MLP with residuals.

    Args:
        config: Configuration of the model.
        number: Number of the block, from 1.
    """

    def __init__(self, config: EncoderConfig, number: int) -> None:
        super().__init__()
        self.is_pre_norm = config.norm == "pre"
        has_norm = number > 1 or config.first_norm
        self.attention_norm: nn.LayerNorm | None = make_norm(config) if has_norm else None
        self.attention = EncoderAttention(config, is_local=number in config.local_blocks)
        self.mlp_norm = make_norm(config)
        self.mlp = EncoderMLP(config)

    def forward(self, x_TE: Tensor, positions: Positions) -> Tensor:
        """Return the residual stream after the block."""
        norm = self.attention_norm
        if not self.is_pre_norm:
            assert norm is not None
            x_TE = norm(x_TE + self.attention(x_TE, positions))
            normed_TE: Tensor = self.mlp_norm(x_TE + self.mlp(x_TE))
            return normed_TE
        x_TE = x_TE + self.attention(x_TE if norm is None else norm(x_TE), positions)
        summed_TE: Tensor = x_TE + self.mlp(self.mlp_norm(x_TE))
        return summed_TE
