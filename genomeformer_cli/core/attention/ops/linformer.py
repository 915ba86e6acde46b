"""Linformer attention: softmax attention to P learned mixtures of the keys and of the values.

O(L P D) time, O(L D + P D) memory; no L x P matrix of weights is formed. The mixtures are fixed, so
that the length is limited, and the weight of another position depends on its index and not on its
content. The matrices belong to a layer and are shared by its heads ("headwise sharing" of the
paper), and by keys and values if requested.
Source: Wang et al. 2020, "Linformer: Self-Attention with Linear Complexity", equation 7, section 4.
Shape letters: B batch, H heads, L length, M some of its positions, P projected positions, D head
width, C columns (B H D).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.errors import ConfigError

Share = Literal["heads", "keys-and-values"]


def linformer_attention(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    projections: tuple[Tensor, Tensor],
) -> Tensor:
    """Compute softmax(q (E k)^T / sqrt(D)) F v; padded positions are 0 in k and v.

    Args:
        q_BHLD: Queries.
        k_BHLD: Keys.
        v_BHLD: Values.
        mask_BL: True at real positions; None if all are real.
        projections: E and F, (P, at least L) each; the first L columns are used.
    """
    if mask_BL is not None:
        padding_B1L1 = ~mask_BL[:, None, :, None]
        k_BHLD, v_BHLD = (x_BHLD.masked_fill(padding_B1L1, 0.0) for x_BHLD in (k_BHLD, v_BHLD))
    length = k_BHLD.shape[2]
    k_BHPD, v_BHPD = (
        _Mixture.apply(x_BHLD, projection_PX[:, :length].to(x_BHLD.dtype))  # type: ignore[no-untyped-call]
        for x_BHLD, projection_PX in zip((k_BHLD, v_BHLD), projections, strict=True)
    )
    return functional.scaled_dot_product_attention(q_BHLD, k_BHPD, v_BHPD)


def linformer_attention_reference(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    projections: tuple[Tensor, Tensor],
) -> Tensor:
    """Compute `linformer_attention` with all matrices formed."""
    length = q_BHLD.shape[2]
    real_BL = torch.ones_like(q_BHLD[:, 0, :, 0]) if mask_BL is None else mask_BL.to(q_BHLD.dtype)
    few_k_BHPD = torch.einsum("pl,bl,bhld->bhpd", projections[0][:, :length], real_BL, k_BHLD)
    few_v_BHPD = torch.einsum("pl,bl,bhld->bhpd", projections[1][:, :length], real_BL, v_BHLD)
    scores_BHLP = q_BHLD @ few_k_BHPD.mT / q_BHLD.shape[-1] ** 0.5
    return torch.softmax(scores_BHLP, dim=-1) @ few_v_BHPD


class _Mixture(torch.autograd.Function):
    """Product projection @ x for every row and head, as one matrix product per direction.

    Autograd would keep a rearranged copy of x, or form one (P, L) gradient for every row and head.
    """

    @staticmethod
    def forward(ctx: Any, x_BHLD: Tensor, projection_PL: Tensor) -> Tensor:
        ctx.save_for_backward(x_BHLD, projection_PL)
        return _as_heads(projection_PL @ _as_columns(x_BHLD), x_BHLD)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x_BHLD, projection_PL = ctx.saved_tensors
        gradient_PC = _as_columns(gradients[0])
        grad_x_BHLD = _as_heads(projection_PL.mT @ gradient_PC, x_BHLD)
        return grad_x_BHLD, gradient_PC @ _as_columns(x_BHLD).mT


def _as_columns(x_BHLD: Tensor) -> Tensor:
    """Return (L, C): rows, heads and features side by side."""
    return x_BHLD.permute(2, 0, 1, 3).flatten(1)


def _as_heads(y_LC: Tensor, like_BHLD: Tensor) -> Tensor:
    batch, heads, _, head_width = like_BHLD.shape
    return y_LC.view(-1, batch, heads, head_width).permute(1, 2, 0, 3)


class LinformerAttention(nn.Module):
    """Linformer attention; holds its projections (P, max_length).

    Args:
        max_length: Longest input; a shorter one uses the first columns.
        num_projected: Number of mixtures, P; 256 are usual.
        share: `heads`: one matrix for the keys of all heads, one for the values; `keys-and-values`:
            one for all.
        generator: Source of the initial values; mixtures of full length have the variance of the
            input.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self,
        *,
        max_length: int,
        num_projected: int = 256,
        share: Share = "heads",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if max_length < 1 or num_projected < 1:
            raise ConfigError(
                f"linformer for {max_length} positions projected to {num_projected}",
                hint="at least one of each; give the longest input, and 256",
            )
        if share not in ("heads", "keys-and-values"):
            raise ConfigError(
                f"linformer cannot share `{share}`", hint="known: `heads`, `keys-and-values`"
            )
        self.max_length = max_length

        def draw() -> nn.Parameter:
            drawn_PL = torch.randn(num_projected, max_length, generator=generator)
            return nn.Parameter(drawn_PL * max_length**-0.5)

        self.key_projection_PL = draw()
        self.value_projection_PL = draw() if share == "heads" else None

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
    ) -> Tensor:
        """Attend.

        Raises:
            ConfigError: The input is longer than `max_length`.
        """
        del gates_BHLG
        return self.answer(q_BHLD, k_BHLD, v_BHLD, mask_BL)

    def answer(
        self, q_BHMD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Attend from some positions.

        Raises:
            ConfigError: The input is longer than `max_length`.
        """
        length = k_BHLD.shape[2]
        if length > self.max_length:
            raise ConfigError(
                f"linformer was built for at most {self.max_length} positions, not {length}",
                hint=f"cut the input into windows of {self.max_length}, or train with a larger "
                "`max_length`",
            )
        values_PL = self.value_projection_PL
        projections = (
            self.key_projection_PL,
            self.key_projection_PL if values_PL is None else values_PL,
        )
        return linformer_attention(q_BHMD, k_BHLD, v_BHLD, mask_BL, projections)
