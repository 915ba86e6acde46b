"""Global tokens (Longformer): they attend to, and are attended by, every position.

Shape letters: G groups (B H), L queries, D head width, M keys of the layout, E global tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.key_tiles import HIDDEN


@dataclass(frozen=True, kw_only=True)
class GlobalTokens:
    """Global tokens of a batch."""

    index_GE: Tensor  # Indices among the queries; some entries may not exist.
    exists_GE: Tensor  # True for the entries that exist.
    bias_GM: Tensor  # Bias of the scores of the keys for the queries of the global tokens.
    front: int  # Rows of the layout before the key of the first query.

    def gather(self, x_GLD: Tensor, *, laid_out: bool = False) -> Tensor:
        """Gather the rows of the global tokens, (G, E, D)."""
        return x_GLD.gather(1, self._index(x_GLD, laid_out=laid_out))

    def scatter_add(self, x_GLD: Tensor, part_GED: Tensor, *, laid_out: bool = False) -> None:
        """Add to the rows of the global tokens."""
        x_GLD.scatter_add_(1, self._index(x_GLD, laid_out=laid_out), part_GED)

    def scatter(self, x_GLD: Tensor, part_GED: Tensor) -> None:
        """Replace the rows of the global tokens that exist."""
        part_GED = torch.where(self.exists_GE[..., None], part_GED, self.gather(x_GLD))
        x_GLD.scatter_(1, self._index(x_GLD, laid_out=False), part_GED)

    def key_scores(self, q_GLD: Tensor, k_GED: Tensor) -> Tensor:
        """Return base-2 scores of the global keys for every query, (G, L, E)."""
        scale = q_GLD.shape[-1] ** -0.5 / math.log(2)
        hidden_GE = k_GED.new_zeros(self.exists_GE.shape).masked_fill(~self.exists_GE, HIDDEN)
        return torch.baddbmm(hidden_GE[:, None], q_GLD, k_GED.mT, alpha=scale)

    def query_scores(self, q_GED: Tensor, k_GMD: Tensor) -> Tensor:
        """Return base-2 scores of all keys for the global queries, (G, E, M)."""
        scale = q_GED.shape[-1] ** -0.5 / math.log(2)
        return torch.baddbmm(self.bias_GM[:, None], q_GED, k_GMD.mT, alpha=scale)

    def _index(self, x_GLD: Tensor, *, laid_out: bool) -> Tensor:
        index_GE = self.index_GE + (self.front if laid_out else 0)
        return index_GE[..., None].expand(-1, -1, x_GLD.shape[-1])


def attend_global(
    out_GLD: Tensor,
    log_norm_GL: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    global_tokens: GlobalTokens,
) -> tuple[Tensor, Tensor]:
    """Add the global keys to the windows, and replace the output of the global queries.

    Operates in place. Returns the joint normalisers, infinite for the global queries, which do not
    use a window, and the normalisers of the global queries.
    """
    q_GLD, k_GMD, v_GMD = qkv
    k_GED, v_GED = (global_tokens.gather(x, laid_out=True) for x in (k_GMD, v_GMD))
    scores_GLE = global_tokens.key_scores(q_GLD, k_GED)
    largest_GL = torch.maximum(log_norm_GL, scores_GLE.amax(dim=-1))
    norm_GL = (scores_GLE - largest_GL[..., None]).exp2_().sum(dim=-1)
    norm_GL.add_((log_norm_GL - largest_GL).exp2_())
    joint_GL = norm_GL.log2_().add_(largest_GL)
    out_GLD.mul_((log_norm_GL - joint_GL).exp2_()[..., None])
    out_GLD.baddbmm_((scores_GLE - joint_GL[..., None]).exp2_(), v_GED)
    own_GEM = global_tokens.query_scores(global_tokens.gather(q_GLD), k_GMD)
    own_norm_GE = torch.logsumexp(own_GEM * math.log(2), dim=-1) / math.log(2)
    global_tokens.scatter(out_GLD, own_GEM.sub_(own_norm_GE[..., None]).exp2_() @ v_GMD)
    global_tokens.scatter(joint_GL[..., None], torch.full_like(own_norm_GE, math.inf)[..., None])
    return joint_GL, own_norm_GE


def attend_global_backward(
    grad_GLD: Tensor,
    saved: tuple[Tensor, Tensor, Tensor, Tensor],
    qkv: tuple[Tensor, Tensor, Tensor],
    sums: tuple[Tensor, Tensor, Tensor],
    global_tokens: GlobalTokens,
) -> None:
    """Add the gradients that pass through the global keys and the global queries.

    Args:
        grad_GLD: Gradient of the output.
        saved: Output, its inner products with `grad_GLD`, normalisers, and the normalisers of the
            global queries.
        qkv: Queries, keys and values in the layout.
        sums: Gradients of queries, keys and values, added to in place.
        global_tokens: Global tokens.
    """
    out_GLD, inner_GL, log_norm_GL, own_norm_GE = saved
    q_GLD, k_GMD, v_GMD = qkv
    scale = q_GLD.shape[-1] ** -0.5
    k_GED, v_GED = (global_tokens.gather(x, laid_out=True) for x in (k_GMD, v_GMD))
    weights_GLE = global_tokens.key_scores(q_GLD, k_GED).sub_(log_norm_GL[..., None]).exp2_()
    grad_scores_GLE = torch.baddbmm(inner_GL[..., None], grad_GLD, v_GED.mT, beta=-1)
    grad_scores_GLE.mul_(weights_GLE).mul_(scale)
    sums[0].baddbmm_(grad_scores_GLE, k_GED)
    global_tokens.scatter_add(sums[1], grad_scores_GLE.mT @ q_GLD, laid_out=True)
    global_tokens.scatter_add(sums[2], weights_GLE.mT @ grad_GLD, laid_out=True)

    q_GED = global_tokens.gather(q_GLD)
    grad_GED = global_tokens.gather(grad_GLD).masked_fill_(~global_tokens.exists_GE[..., None], 0)
    own_GEM = global_tokens.query_scores(q_GED, k_GMD).sub_(own_norm_GE[..., None]).exp2_()
    own_inner_GE = torch.linalg.vecdot(global_tokens.gather(out_GLD), grad_GED)
    grad_own_GEM = torch.baddbmm(own_inner_GE[..., None], grad_GED, v_GMD.mT, beta=-1)
    grad_own_GEM.mul_(own_GEM).mul_(scale)
    sums[2].baddbmm_(own_GEM.mT, grad_GED)
    sums[1].baddbmm_(grad_own_GEM.mT, q_GED)
    global_tokens.scatter_add(sums[0], grad_own_GEM @ k_GMD)
