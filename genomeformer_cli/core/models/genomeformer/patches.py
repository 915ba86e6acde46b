"""Patches: several tokens are merged into one position of the stack and separated again.

A stack over patches of P tokens has P times fewer positions, and its work falls by that factor.
A light decoder, which sees the neighbours of every token, resolves the tokens within a patch.

Yu et al. 2023, "MEGABYTE: Predicting Million-byte Sequences with Multiscale Transformers", section
2, use a stack over patches and a decoder within them; the decoder here is a convolution and an MLP.
Shape letters: B batch, L length, P tokens of a patch, N patches, S features of an embedded token,
E width, K tokens seen by the decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.rms_norm import RMSNorm
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.mlp import GatedMLP

TOKEN_WIDTH = 16
_NEAR = 16


class Patches(nn.Module):
    """Merge embedded tokens into patches, and separate patches into tokens.

    Args:
        config: Configuration of the model; `patch` is P.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.patch
        self.causal = config.causal
        near = max(_NEAR, 2 * self.size)
        self.before = near - 1 if self.causal else near // 2
        self.after = 0 if self.causal else near // 2
        num_visible = (self.before + 1 + self.after) * TOKEN_WIDTH
        self.width = config.width // 2
        self.join = nn.Linear(self.size * TOKEN_WIDTH, config.width, bias=False)
        self.spread = nn.Linear(config.width, self.size * self.width, bias=False)
        self.near = nn.Linear(num_visible, self.width, bias=False)
        self.mlp_norm = RMSNorm(self.width)
        self.mlp = GatedMLP(self.width, config.width)
        self.norm = RMSNorm(self.width)

    def filled(self, x_BLS: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return embedded tokens (B, N P, S), 0 at padding and at the end of the last patch."""
        if mask_BL is not None:
            x_BLS = x_BLS * mask_BL[..., None]
        return functional.pad(x_BLS, (0, 0, 0, self._missing(x_BLS.shape[1])))

    def mask(self, mask_BL: Tensor | None) -> Tensor | None:
        """Return True (B, N) at patches that hold a real token; None if all do."""
        if mask_BL is None:
            return None
        padded_BL = functional.pad(mask_BL, (0, self._missing(mask_BL.shape[1])))
        return padded_BL.reshape(padded_BL.shape[0], -1, self.size).any(dim=2)

    def _missing(self, length: int) -> int:
        """Return the number of tokens missing in the last patch, traceable by exporters."""
        num_patches = (length + self.size - 1) // self.size
        return num_patches * self.size - length

    def merge(self, x_BLS: Tensor) -> Tensor:
        """Return the input of the stack (B, N, E)."""
        batch, length, width = x_BLS.shape
        of_patch_BNS = x_BLS.reshape(batch, length // self.size, self.size * width)
        patches_BNE: Tensor = self.join(of_patch_BNS)
        # Under autocast too, what the blocks add to is kept in the bits of the weights.
        return patches_BNE.to(x_BLS.dtype)

    def apart(self, x_BLS: Tensor, features_BNE: Tensor, length: int) -> Tensor:
        """Return features (B, L, D) of tokens.

        Args:
            x_BLS: Result of `filled`, with `before` tokens before and `after` tokens after it.
            features_BNE: Features of the patch of each token; in a causal stack, of the previous
                patch.
            length: Number of tokens, L.
        """
        batch, num_patches, _ = features_BNE.shape
        spread_BLD = self.spread(features_BNE)
        spread_BLD = spread_BLD.reshape(batch, num_patches * self.size, self.width)
        beside = self.before + self.after
        windows_BLSK = x_BLS[:, : length + beside].unfold(1, beside + 1, 1)
        near_BLD = self.near(windows_BLSK.flatten(2))
        x_BLD = spread_BLD[:, :length] + near_BLD
        x_BLD = self.mlp(x_BLD, self.mlp_norm, residual=True)
        result: Tensor = self.norm(x_BLD)
        return result

    def around(self, x_BLS: Tensor) -> Tensor:
        """Pad the embedded tokens of whole rows with zeros before and after them."""
        return functional.pad(x_BLS, (0, 0, self.before, self.after))

    def start(self, batch: int, like: Tensor) -> State:
        """Return the state before the first token of a causal stack: zeros."""
        return (
            like.new_zeros(batch, self.before, TOKEN_WIDTH),
            like.new_zeros(batch, 1, self.spread.in_features),
        )

    def step(
        self, x_BLS: Tensor, features_BNE: Tensor, state: State, length: int
    ) -> tuple[Tensor, State]:
        """Return features (B, L, D) of the next tokens of a causal stack, and the state after them.

        Args:
            x_BLS: Result of `filled` for these tokens.
            features_BNE: Features of their patches.
            state: State from the previous call, or from `start`.
            length: Number of tokens, L.
        """
        past_BLS, last_B1E = state
        around_BLS = torch.cat((past_BLS.to(x_BLS.dtype), x_BLS), dim=1)
        before_BNE = earlier(features_BNE, last_B1E.to(features_BNE.dtype))
        result_BLD = self.apart(around_BLS, before_BNE, length)
        return result_BLD, self.state_after(x_BLS, features_BNE, state)

    def state_after(self, x_BLS: Tensor, features_BNE: Tensor, state: State) -> State:
        """Return the state after the next tokens."""
        tokens_BLS = torch.cat((state[0].to(x_BLS.dtype), x_BLS), dim=1)
        return tokens_BLS[:, -self.before :], features_BNE[:, -1:]


def earlier(features_BNE: Tensor, first_B1E: Tensor | None = None) -> Tensor:
    """Return the features of the previous patch for each patch; for the first those given, or 0."""
    if first_B1E is None:
        first_B1E = torch.zeros_like(features_BNE[:, :1])
    return torch.cat((first_B1E, features_BNE[:, :-1]), dim=1)
