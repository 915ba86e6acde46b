"""RMSNorm whose weight follows its input: in bfloat16 too, torch's fused kernel can be used."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.RMSNorm):
    """Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale the features of every position to unit mean square, then by the weight."""
        assert self.weight is not None
        weight = self.weight.to(x.dtype)
        return functional.rms_norm(x, list(self.normalized_shape), weight, self.eps)
