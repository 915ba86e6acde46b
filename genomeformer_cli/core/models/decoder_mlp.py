"""MLPs of a decoder block: one, or several of which every position uses the most probable ones.

Source: Shazeer 2020, "GLU Variants Improve Transformer"; Jiang et al. 2024, "Mixtral of Experts".
Shape letters: B batch, L length, E width, N positions of all rows, X experts, K experts per
position.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from genomeformer_cli.core.models.decoder import DecoderConfig

Activation = Literal["silu", "gelu", "gelu-tanh"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu-tanh": partial(functional.gelu, approximate="tanh"),
}


class MLP(nn.Module):
    """Two layers, the first one gated if the family has it so: Shazeer 2020, equation 6.

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gated = config.gated
        self.activation = ACTIVATIONS[config.activation]
        hidden = config.mlp_width * (2 if config.gated else 1)
        self.up = nn.Linear(config.width, hidden, bias=config.mlp_bias)
        self.out = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (..., E) of the MLP."""
        hidden = self.up(x)
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            hidden = self.activation(gate) * hidden
        else:
            hidden = self.activation(hidden)
        out: Tensor = self.out(hidden)
        return out


class Experts(nn.Module):
    """Several MLPs, of which every position uses the most probable ones.

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.experts_per_token = config.experts_per_token
        self.router = nn.Linear(config.width, config.num_experts, bias=False)
        self.experts = nn.ModuleList(MLP(config) for _ in range(config.num_experts))

    def forward(self, x_BLE: Tensor) -> Tensor:
        """Return the sum of the chosen MLPs, weighted by their probabilities."""
        x_NE = x_BLE.flatten(0, 1)
        scores_NX = self.router(x_NE)
        dtype = torch.promote_types(scores_NX.dtype, torch.float32)
        probabilities_NX = torch.softmax(scores_NX, dim=-1, dtype=dtype)
        weight_NK, expert_NK = probabilities_NX.topk(self.experts_per_token, dim=-1)
        weight_NK = (weight_NK / weight_NK.sum(dim=-1, keepdim=True)).to(x_NE.dtype)
        out_NE = torch.zeros_like(x_NE)
        for number, expert in enumerate(self.experts):
            position, rank = (expert_NK == number).nonzero(as_tuple=True)
            added = expert(x_NE[position]) * weight_NK[position, rank, None]
            out_NE = out_NE.index_add(0, position, added.to(out_NE.dtype))
        return out_NE.view_as(x_BLE)
