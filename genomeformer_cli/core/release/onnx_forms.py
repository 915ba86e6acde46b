"""Attention in a form that can be exported: whole rows, and no branch on values.

The mechanisms work in tiles that depend on the length, and skip masked parts. Here the sums are
written out once. For windows, and for causal mechanisms without softmax, this takes an L x L
matrix, hence memory that grows with L^2. `onnx_export` compares every file with the model.
Shape letters: B batch, H heads, L length, M landmarks, D head width, F features, G gates.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.bidirectional import BidirectionalAttention
from genomeformer_cli.core.attention.kernels.decay import normalised, pairwise_decay
from genomeformer_cli.core.attention.kernels.feature_maps import SoftmaxFeatures
from genomeformer_cli.core.attention.kernels.head_convolution import convolve_heads_reference
from genomeformer_cli.core.attention.kernels.pseudo_inverse import pseudo_inverse_reference
from genomeformer_cli.core.attention.kernels.random_features import (
    LARGEST_LOG_FEATURE,
    log_positive_features,
)
from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.attention.ops.gated_linear import GatedLinearAttention
from genomeformer_cli.core.attention.ops.linear import CausalLinearAttention, LinearAttention
from genomeformer_cli.core.attention.ops.linformer import LinformerAttention
from genomeformer_cli.core.attention.ops.local import CausalLocalAttention, LocalAttention
from genomeformer_cli.core.attention.ops.longformer import LongformerAttention
from genomeformer_cli.core.attention.ops.nystromformer import NystromformerAttention
from genomeformer_cli.core.attention.ops.performer import (
    CausalPerformerAttention,
    PerformerAttention,
)
from genomeformer_cli.core.attention.ops.softmax import SoftmaxAttention
from genomeformer_cli.core.models.hyena_block import HyenaMixer
from genomeformer_cli.core.models.mamba import SelectiveState
from genomeformer_cli.core.models.protocol import Model

Heads = tuple[Tensor, Tensor, Tensor]
# Mechanism, (queries, keys, values), mask (B, L), gates: what each query reads (B, H, L, D).
Form = Callable[[nn.Module, Heads, Tensor, Tensor | None], Tensor]


class PlainForm(nn.Module):
    """Mechanism in the form that can be exported; the weights are shared.

    Args:
        mechanism: Mechanism, one of `FORMS`.
    """

    def __init__(self, mechanism: nn.Module) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.num_gates = int(getattr(mechanism, "num_gates", 0))
        self._form = FORMS[type(mechanism)]

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Return the attention output."""
        assert mask_BL is not None
        return self._form(self.mechanism, (q_BHLD, k_BHLD, v_BHLD), mask_BL, gates_BHLG)


def without_form(model: Model) -> str | None:
    """Return the first mechanism of a model that cannot be exported; None if there is none."""
    for layer in model.modules():
        if isinstance(layer, SelectiveState | HyenaMixer):
            return type(layer).__name__
        if isinstance(layer, AttentionLayer):
            for mechanism in _ways(layer.mechanism):
                if type(mechanism) not in FORMS:
                    return type(mechanism).__name__
    return None


def in_plain_form(model: Model) -> Model:
    """Return a copy of a model with mechanisms that can be exported."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, AttentionLayer):
            layer.mechanism = _plain(layer.mechanism)
    return model


def _ways(mechanism: nn.Module) -> list[nn.Module]:
    if isinstance(mechanism, BidirectionalAttention):
        return [mechanism.ahead, mechanism.back]
    return [mechanism]


def _plain(mechanism: nn.Module) -> nn.Module:
    if not isinstance(mechanism, BidirectionalAttention):
        return PlainForm(mechanism)
    ahead, back = mechanism.ahead, mechanism.back
    return BidirectionalAttention(PlainForm(ahead), None if back is ahead else PlainForm(back))


def _softmax(heads: Heads, visible: Tensor) -> Tensor:
    """Attend with softmax to visible keys; a query without any attends to all, to stay finite."""
    q_BHLD, k_BHLD, v_BHLD = heads
    visible = visible | ~visible.any(dim=-1, keepdim=True)
    return functional.scaled_dot_product_attention(q_BHLD, k_BHLD, v_BHLD, attn_mask=visible)


def _places_back(like_BHLD: Tensor) -> Tensor:
    """Return the distance from each query back to each key."""
    place_L = torch.arange(like_BHLD.shape[2], device=like_BHLD.device)
    return place_L[:, None] - place_L


def _of_softmax(
    mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None
) -> Tensor:
    assert isinstance(mechanism, SoftmaxAttention)
    del gates
    visible = mask_BL[:, None, None, :]
    return _softmax(heads, visible & (_places_back(heads[0]) >= 0) if mechanism.causal else visible)


def _of_local(mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None) -> Tensor:
    assert isinstance(mechanism, LocalAttention | CausalLocalAttention)
    del gates
    back_LL = _places_back(heads[0])
    first = 0 if isinstance(mechanism, CausalLocalAttention) else -mechanism.reach
    near_LL = (back_LL <= mechanism.reach) & (back_LL >= first)
    return _softmax(heads, near_LL & mask_BL[:, None, None, :])


def _of_longformer(
    mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None
) -> Tensor:
    assert isinstance(mechanism, LongformerAttention)
    del gates
    is_global_BL = mask_BL & (mask_BL.to(torch.int64).cumsum(dim=1) <= mechanism.num_global)
    seen_LL = _places_back(heads[0]).abs() <= mechanism.window
    seen_BLL = seen_LL | is_global_BL[:, :, None] | is_global_BL[:, None, :]
    return _softmax(heads, (seen_BLL & mask_BL[:, None, :])[:, None])


def _of_linformer(
    mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None
) -> Tensor:
    assert isinstance(mechanism, LinformerAttention)
    del gates
    q_BHLD, k_BHLD, v_BHLD = heads
    own_PX = mechanism.key_projection_PL
    shared_PX = mechanism.value_projection_PL
    real_B1L1 = mask_BL[:, None, :, None].to(k_BHLD.dtype)
    # Not a slice: that there are enough columns, an exporter would want to know beforehand.
    column_L = torch.arange(q_BHLD.shape[2], device=q_BHLD.device)
    few_k_BHPD, few_v_BHPD = (
        projection_PX.index_select(1, column_L) @ (x_BHLD * real_B1L1)
        for projection_PX, x_BHLD in (
            (own_PX, k_BHLD),
            (own_PX if shared_PX is None else shared_PX, v_BHLD),
        )
    )
    return functional.scaled_dot_product_attention(q_BHLD, few_k_BHPD, few_v_BHPD)


def _of_nystromformer(
    mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None
) -> Tensor:
    assert isinstance(mechanism, NystromformerAttention)
    del gates
    real_B1L1 = mask_BL[:, None, :, None].to(heads[0].dtype)
    q_BHLD, k_BHLD, v_BHLD = (x_BHLD * real_B1L1 for x_BHLD in heads)
    means_BML, filled_BM = _segments(mask_BL, mechanism.num_landmarks)
    filled_B11M = filled_BM[:, None, None, :]
    few_q_BHMD, few_k_BHMD = (means_BML[:, None].to(x.dtype) @ x for x in (q_BHLD, k_BHLD))
    scores_BHMM = few_q_BHMD @ few_k_BHMD.mT * q_BHLD.shape[-1] ** -0.5
    middle_BHMM = torch.softmax(scores_BHMM.masked_fill(~filled_B11M, float("-inf")), dim=-1)
    middle_BHMM = middle_BHMM.double() * filled_B11M.mT
    gathered_BHMD = _softmax((few_q_BHMD, k_BHLD, v_BHLD), mask_BL[:, None, None, :])
    solved_BHMD = pseudo_inverse_reference(middle_BHMM, mechanism.iterations)
    solved_BHMD = (solved_BHMD @ gathered_BHMD.double()).to(v_BHLD.dtype)
    out_BHLD = _softmax((q_BHLD, few_k_BHMD, solved_BHMD), filled_B11M)
    if mechanism.kernel_HK is None:
        return out_BHLD
    return out_BHLD + convolve_heads_reference(v_BHLD, mechanism.kernel_HK)


def _segments(mask_BL: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """Return the weights of positions in landmarks (B, M, L), and the landmarks in use (B, M)."""
    count_B1 = mask_BL.to(torch.int64).sum(dim=1, keepdim=True)
    size_B1 = torch.div(count_B1, num_segments, rounding_mode="floor")
    longer_B1 = count_B1 - size_B1 * num_segments
    number_M = torch.arange(num_segments, device=mask_BL.device)
    length_BM = size_B1 + (number_M < longer_B1).to(torch.int64)
    first_BM = number_M * size_B1 + torch.minimum(number_M, longer_B1)
    place_BL = mask_BL.to(torch.int64).cumsum(dim=1) - 1
    after_BML = place_BL[:, None, :] >= first_BM[..., None]
    before_BML = place_BL[:, None, :] < (first_BM + length_BM)[..., None]
    within_BML = after_BML & before_BML & mask_BL[:, None, :]
    means_BML = within_BML.double() / length_BM.clamp_min(1)[..., None]
    return means_BML, number_M < count_B1.clamp_min(1)


def _of_linear(mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None) -> Tensor:
    assert isinstance(mechanism, LinearAttention | CausalLinearAttention)
    del gates
    q_BHLD, k_BHLD, v_BHLD = heads
    phi = mechanism.feature_map
    features = (phi.queries(q_BHLD), phi.keys(k_BHLD))
    causal = isinstance(mechanism, CausalLinearAttention)
    return _by_features(features, v_BHLD, mask_BL, causal=causal, smallest=phi.smallest_sum)


def _of_performer(
    mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None
) -> Tensor:
    assert isinstance(mechanism, PerformerAttention | CausalPerformerAttention)
    del gates
    q_BHLD, k_BHLD, v_BHLD = heads
    log_q_BHLF = log_positive_features(q_BHLD, mechanism.projection_FD)
    log_k_BHLF = log_positive_features(k_BHLD, mechanism.projection_FD)
    phi_q_BHLF = torch.exp(log_q_BHLF - log_q_BHLF.amax(dim=-1, keepdim=True))
    phi_k_BHLF = torch.exp(log_k_BHLF.clamp_max(LARGEST_LOG_FEATURE))
    causal, smallest = isinstance(mechanism, CausalPerformerAttention), SoftmaxFeatures.smallest_sum
    return _by_features((phi_q_BHLF, phi_k_BHLF), v_BHLD, mask_BL, causal=causal, smallest=smallest)


def _by_features(
    features: tuple[Tensor, Tensor],
    v_BHLD: Tensor,
    mask_BL: Tensor,
    *,
    causal: bool,
    smallest: float,
) -> Tensor:
    phi_q_BHLF, phi_k_BHLF = features
    phi_k_BHLF = phi_k_BHLF * mask_BL[:, None, :, None].to(v_BHLD.dtype)
    if causal:
        kernel_BHLL = (phi_q_BHLF @ phi_k_BHLF.mT) * (_places_back(v_BHLD) >= 0).to(v_BHLD.dtype)
        below_BHL1 = kernel_BHLL.sum(dim=-1, keepdim=True)
        return (kernel_BHLL @ v_BHLD) / below_BHL1.clamp_min(smallest)
    below_BHL1 = phi_q_BHLF @ phi_k_BHLF.sum(dim=2)[..., None]
    return phi_q_BHLF @ (phi_k_BHLF.mT @ v_BHLD) / below_BHL1.clamp_min(smallest)


def _of_gated_linear(
    mechanism: nn.Module, heads: Heads, mask_BL: Tensor, gates: Tensor | None
) -> Tensor:
    assert isinstance(mechanism, GatedLinearAttention)
    assert gates is not None
    q_BHLD, k_BHLD, v_BHLD = heads
    k_BHLD = k_BHLD * mask_BL[:, None, :, None].to(k_BHLD.dtype)
    sums_BHL = mechanism.decay(gates[..., 0], mask_BL).double().cumsum(dim=-1)
    decay_BHLL = pairwise_decay(sums_BHL).to(q_BHLD.dtype)
    kernel_BHLL = (q_BHLD * q_BHLD.shape[-1] ** -0.5) @ k_BHLD.mT * decay_BHLL
    return normalised(kernel_BHLL @ v_BHLD, mechanism.gain)


FORMS: dict[type[nn.Module], Form] = {
    SoftmaxAttention: _of_softmax,
    LocalAttention: _of_local,
    CausalLocalAttention: _of_local,
    LongformerAttention: _of_longformer,
    LinformerAttention: _of_linformer,
    NystromformerAttention: _of_nystromformer,
    LinearAttention: _of_linear,
    CausalLinearAttention: _of_linear,
    PerformerAttention: _of_performer,
    CausalPerformerAttention: _of_performer,
    GatedLinearAttention: _of_gated_linear,
}
