"""An attention layer: projections, heads, normalisation, rotary positions, a mechanism within.

Shape letters: B batch, L length, E width, H heads, D head width (E = H D), G gates of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.layout import Layout
from genomeformer_cli.core.attention.norm import RMSNorm
from genomeformer_cli.core.attention.protocol import Additive, Local, State, Streaming
from genomeformer_cli.core.attention.registry import AttentionConfig, Setting, attention_entry
from genomeformer_cli.core.attention.rotary import normed_and_rotated

Heads = tuple[Tensor, Tensor, Tensor, Tensor | None]


class AttentionLayer(nn.Module):
    """Multi-head attention around any mechanism of the registry.

    Queries and keys are normalised per head (Henry et al. 2020, "Query-Key Normalization"), which
    bounds the scores of the exact mechanisms and the variance of those that estimate them by
    random features.

    Args:
        name: The mechanism.
        config: Its dials.
        setting: Heads, widths, direction.
        generator: Draws what the mechanism draws (the other weights are initialised by the model).
    """

    def __init__(
        self, *, name: str, config: AttentionConfig, setting: Setting, generator: torch.Generator
    ) -> None:
        super().__init__()
        entry = attention_entry(name)
        width = setting.num_heads * setting.head_width
        num_gates = entry.num_gates(config, setting)
        self.num_heads = setting.num_heads
        self.is_rotary = entry.rotary
        self.shares_query_key = entry.shares_query_key
        self.qkv = nn.Linear(width, (2 if entry.shares_query_key else 3) * width, bias=False)
        self.query_norm = RMSNorm(setting.head_width)
        self.key_norm = RMSNorm(setting.head_width)
        self.gates = (
            nn.Linear(width, num_gates * setting.num_heads, bias=False) if num_gates else None
        )
        self.mechanism = entry.build(config, setting, generator)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BLE: Tensor, layout: Layout) -> Tensor:
        """Attend over whole rows."""
        q, k, v, gates = self._heads(x_BLE, layout)
        packing = layout.packing
        if packing is None:
            return self._merged(self.mechanism(q, k, v, layout.mask_BL, gates))
        mixed: list[Tensor] = []
        for group in packing.groups:
            rows = [group.rows(part) for part in (q, k, v)]
            row_gates = None if gates is None else group.rows(gates)
            mixed.append(self.mechanism(*rows, group.mask_NM, row_gates))
        return self._merged(packing.whole(mixed))

    @property
    def reach(self) -> int | None:
        """Positions to either side that are seen; None if there is no bound."""
        return self.mechanism.reach if isinstance(self.mechanism, Local) else None

    def start(self, batch: int, like: Tensor) -> State:
        """The state before the first token."""
        assert isinstance(self.mechanism, Streaming)
        return self.mechanism.start(batch, self.num_heads, like)

    def step(self, x_BLE: Tensor, layout: Layout, state: State) -> tuple[Tensor, State]:
        """Attend over the next tokens."""
        assert isinstance(self.mechanism, Streaming)
        q, k, v, gates = self._heads(x_BLE, layout)
        mixed_BHLD, state = self.mechanism.step(q, k, v, layout.mask_BL, gates, state)
        return self._merged(mixed_BHLD), state

    def summary(self, x_BLE: Tensor, layout: Layout) -> State:
        """What a stretch adds to the row's sum."""
        assert isinstance(self.mechanism, Additive)
        k_BHLD, v_BHLD = self._projected(x_BLE, 1, 3)
        k_BHLD = self._placed(k_BHLD, self.key_norm, layout)
        return self.mechanism.summary(k_BHLD, v_BHLD, layout.mask_BL)

    def read(self, x_BLE: Tensor, layout: Layout, summary: State) -> Tensor:
        """Attend from a stretch, given the row's sum."""
        assert isinstance(self.mechanism, Additive)
        (q_BHLD,) = self._projected(x_BLE, 0, 1)
        q_BHLD = self._placed(q_BHLD, self.query_norm, layout)
        return self._merged(self.mechanism.read(q_BHLD, summary))

    def _heads(self, x_BLE: Tensor, layout: Layout) -> Heads:
        if self.shares_query_key:
            q_BHLD, v_BHLD = self._projected(x_BLE, 0, 2)
            k_BHLD = q_BHLD
        else:
            q_BHLD, k_BHLD, v_BHLD = self._projected(x_BLE, 0, 3)
        q_BHLD = self._placed(q_BHLD, self.query_norm, layout)
        k_BHLD = self._placed(k_BHLD, self.key_norm, layout)
        gates_BHLG = None
        if self.gates is not None:
            gates_BHLG = self._split(self.gates(x_BLE), 1)[0]
        return q_BHLD, k_BHLD, v_BHLD, gates_BHLG

    def _projected(self, x_BLE: Tensor, first: int, stop: int) -> list[Tensor]:
        """Some of queries, keys and values, which stand in that order in one matrix."""
        width = x_BLE.shape[-1]
        weight = self.qkv.weight[first * width : stop * width]
        return self._split(functional.linear(x_BLE, weight), stop - first)

    def _split(self, x_BLE: Tensor, num_parts: int) -> list[Tensor]:
        batch, length, _ = x_BLE.shape
        parts = x_BLE.view(batch, length, num_parts, self.num_heads, -1)
        return [part.transpose(1, 2) for part in parts.unbind(dim=2)]

    def _placed(self, x_BHLD: Tensor, norm: RMSNorm, layout: Layout) -> Tensor:
        if not self.is_rotary:
            normed_BHLD: Tensor = norm(x_BHLD)
            return normed_BHLD
        return normed_and_rotated(x_BHLD, norm.weight, layout.cos, layout.sin)

    def _merged(self, mixed_BHLD: Tensor) -> Tensor:
        batch, _, length, _ = mixed_BHLD.shape
        merged: Tensor = self.out(mixed_BHLD.transpose(1, 2).reshape(batch, length, -1))
        return merged
