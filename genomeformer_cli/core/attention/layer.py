"""Attention layer: projections, heads, normalisation, rotary positions and a mechanism.

Shape letters: B batch, L length, M some positions of each row, T of all, E width, H heads, D head
width (E = H D), G gates of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.batch_layout import Layout
from genomeformer_cli.core.attention.kernels.projections import Angles, Parts, projections
from genomeformer_cli.core.attention.kernels.rms_norm import RMSNorm
from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.attention.protocols import (
    Additive,
    Cached,
    DocumentMasked,
    Local,
    Selective,
    State,
    Streaming,
)
from genomeformer_cli.core.attention.registry import (
    AttentionConfig,
    AttentionContext,
    attention_entry,
)

Heads = tuple[Tensor, Tensor, Tensor, Tensor | None]


class AttentionLayer(nn.Module):
    """Multi-head attention with any mechanism of the registry.

    Queries and keys are normalised per head (Henry et al. 2020, "Query-Key Normalization"), unless
    the model leaves it out. It bounds the scores of the exact mechanisms and the variance of those
    that estimate them by random features.

    Args:
        name: Name of the mechanism.
        config: Options of the mechanism.
        setting: Heads, widths, direction.
        generator: Source of the random numbers of the mechanism (the model initialises other
            weights).

    Attributes:
        fused: Fused kernel of the mechanism in the direction of the layer; None if it has none.
    """

    def __init__(
        self,
        *,
        name: str,
        config: AttentionConfig,
        setting: AttentionContext,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        entry = attention_entry(name)
        width = setting.num_heads * setting.head_width
        num_gates = entry.num_gates(config, setting)
        self.name = name
        self.fused = entry.fused if setting.direction in entry.fused_directions else None
        self.num_heads = setting.num_heads
        self.head_width = setting.head_width
        self.is_rotary = entry.rotary
        self.shares_query_key = entry.shares_query_key
        self.qkv = nn.Linear(width, (2 if entry.shares_query_key else 3) * width, bias=False)
        self.query_norm = RMSNorm(setting.head_width) if setting.query_key_norm else None
        self.key_norm = RMSNorm(setting.head_width) if setting.query_key_norm else None
        self.gates = (
            nn.Linear(width, num_gates * setting.num_heads, bias=False) if num_gates else None
        )
        self.mechanism = entry.build(config, setting, generator)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None = None) -> Tensor:
        """Attend over whole rows; `norm`, if given, normalises them first."""
        return self._merged(self._mixed(x_BLE, layout, norm))

    def forward_at(
        self,
        x_BLE: Tensor,
        x_BME: Tensor,
        layout: Layout,
        norm: RMSNorm | None,
        selected: SelectedPositions,
    ) -> Tensor:
        """Return the attention output at selected positions, (T, E).

        Only these queries are computed if the mechanism allows it. `x_BME` holds their inputs row
        by row.
        """
        if layout.packing is None and isinstance(self.mechanism, Selective):
            mixed_BHMD = self._answered(self.mechanism, x_BLE, x_BME, layout, norm, selected)
            mixed_THD = selected.flatten(mixed_BHMD.transpose(1, 2))
        else:
            mixed_THD = selected.gather(self._mixed(x_BLE, layout, norm).transpose(1, 2))
        merged_TE: Tensor = self.out(mixed_THD.flatten(1))
        return merged_TE

    def _mixed(self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None) -> Tensor:
        """Return the mixed values (B, H, L, D)."""
        q, k, v, gates = self._heads(x_BLE, layout, norm)
        packing = layout.packing
        if packing is None:
            whole: Tensor = self.mechanism(q, k, v, layout.mask_BL, gates)
            return whole
        if isinstance(self.mechanism, DocumentMasked):
            assert layout.documents_BL is not None
            masked = self.mechanism.attend_documents(q, k, v, layout.documents_BL)
            if masked is not None:
                return masked
        mixed: list[Tensor] = []
        for group in packing.buckets:
            rows = [group.gather(part) for part in (q, k, v)]
            row_gates = None if gates is None else group.gather(gates)
            mixed.append(self.mechanism(*rows, group.mask_NM, row_gates))
        return packing.scatter(mixed)

    def _answered(
        self,
        mechanism: Selective,
        x_BLE: Tensor,
        x_BME: Tensor,
        layout: Layout,
        norm: RMSNorm | None,
        selected: SelectedPositions,
    ) -> Tensor:
        """Return the mixed values (B, H, M, D) of the selected positions of each row."""
        k_BHLD, v_BHLD = self._keys_and_values(x_BLE, layout, norm)
        angles = layout.angles_at(selected.indices)
        q_BHMD = self._queries(x_BME, angles, norm)
        return mechanism.answer(q_BHMD, k_BHLD, v_BHLD, layout.mask_BL)

    @property
    def reach(self) -> int | None:
        """Number of visible positions to either side; None if unlimited."""
        return self.mechanism.reach if isinstance(self.mechanism, Local) else None

    def start(self, batch: int, like: Tensor) -> State:
        """Return the state before the first token."""
        if isinstance(self.mechanism, Cached):
            return self.mechanism.start_cache(batch, self.num_heads, like)
        assert isinstance(self.mechanism, Streaming)
        return self.mechanism.start(batch, self.num_heads, like)

    def step(
        self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None, state: State
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens."""
        mixed_BHLD, state = self._stepped(x_BLE, layout, norm, state)
        return self._merged(mixed_BHLD), state

    def advance(self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None, state: State) -> State:
        """Return the state after the next tokens."""
        return self._stepped(x_BLE, layout, norm, state)[1]

    def _stepped(
        self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None, state: State
    ) -> tuple[Tensor, State]:
        """Return the mixed values (B, H, L, D) and the state after them."""
        q, k, v, gates = self._heads(x_BLE, layout, norm)
        if isinstance(self.mechanism, Cached):
            return self.mechanism.step_cached(q, k, v, state)
        assert isinstance(self.mechanism, Streaming)
        return self.mechanism.step(q, k, v, layout.mask_BL, gates, state)

    def summary(self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None) -> State:
        """Return the contribution of a slice to the sum of the row."""
        assert isinstance(self.mechanism, Additive)
        k_BHLD, v_BHLD = self._keys_and_values(x_BLE, layout, norm)
        return self.mechanism.summary(k_BHLD, v_BHLD, layout.mask_BL)

    def read(self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None, summary: State) -> Tensor:
        """Attend from a slice, given the sum of the row."""
        assert isinstance(self.mechanism, Additive)
        q_BHLD = self._queries(x_BLE, (layout.cos, layout.sin), norm)
        return self._merged(self.mechanism.read(q_BHLD, summary))

    def _queries(self, x_BLE: Tensor, angles: Angles, norm: RMSNorm | None) -> Tensor:
        weight_WE = self.qkv.weight[: x_BLE.shape[-1]]
        (q_BHLD,) = self._projected(x_BLE, angles, norm, [self.query_norm], weight_WE)
        return q_BHLD

    def _keys_and_values(
        self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None
    ) -> tuple[Tensor, Tensor]:
        weight_WE, angles = self.qkv.weight[x_BLE.shape[-1] :], (layout.cos, layout.sin)
        k_BHLD, v_BHLD = self._projected(x_BLE, angles, norm, [self.key_norm], weight_WE)
        return k_BHLD, v_BHLD

    def _heads(self, x_BLE: Tensor, layout: Layout, norm: RMSNorm | None) -> Heads:
        weight_WE = self.qkv.weight
        if self.gates is not None:
            weight_WE = torch.cat((weight_WE, self.gates.weight))
        head_norms = (
            [self.query_norm] if self.shares_query_key else [self.query_norm, self.key_norm]
        )
        angles = (layout.cos, layout.sin)
        parts = self._projected(x_BLE, angles, norm, head_norms, weight_WE)
        q_BHLD, v_BHLD = parts[0], parts[len(head_norms)]
        gates_BHLG = None if self.gates is None else parts[-1]
        return q_BHLD, parts[len(head_norms) - 1], v_BHLD, gates_BHLG

    def _projected(
        self,
        x_BLE: Tensor,
        angles: Angles,
        norm: RMSNorm | None,
        head_norms: list[RMSNorm | None],
        weight_WE: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return queries, keys or both, one per head norm, and the remaining projections."""
        width = x_BLE.shape[-1]
        rest_width = len(weight_WE) - len(head_norms) * width
        widths = tuple(
            part_width
            for part_width in (min(rest_width, width), rest_width - width)
            if part_width > 0
        )
        gains: list[Tensor] = [
            head_norm.weight for head_norm in head_norms if head_norm is not None
        ]
        return projections(
            x_BLE,
            None if norm is None else norm.weight,
            weight_WE,
            torch.stack(gains) if gains else None,
            angles if self.is_rotary else None,
            Parts(num_heads=self.num_heads, num_rotated=len(head_norms), widths=widths),
        )

    def _merged(self, mixed_BHLD: Tensor) -> Tensor:
        batch, _, length, _ = mixed_BHLD.shape
        merged: Tensor = self.out(mixed_BHLD.transpose(1, 2).reshape(batch, length, -1))
        return merged
