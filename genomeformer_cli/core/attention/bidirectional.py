"""Bidirectional attention from a causal mechanism that runs in both directions.

    y = (f(x) + flip(b(flip(x)))) / 2

The result is the mean of both directions. A token sees itself in both, so that it counts twice
while each other token counts once.
Shape letters: B batch, H heads, L length, D head width, G gates.
"""

from __future__ import annotations

from torch import Tensor, nn


class BidirectionalAttention(nn.Module):
    """Causal mechanism applied left to right (`ahead`) and right to left (`back`).

    With one mechanism for both directions (tied) the gates of a token serve both, and the module is
    equivariant to reversal. With two mechanisms (untied) the first half of the gates belongs to the
    forward direction and the second half to the backward direction.

    Either direction can be computed slice by slice through `start` and `step` of `ahead` and
    `back`; the backward direction starts at the last token.

    Args:
        forward_op: Causal mechanism applied left to right.
        backward_op: Causal mechanism applied right to left; None: `forward_op` with shared weights.

    Attributes:
        ahead: Mechanism applied left to right.
        back: Mechanism applied right to left.
        num_gates: Gates per head, for both directions together.
    """

    def __init__(self, forward_op: nn.Module, backward_op: nn.Module | None = None) -> None:
        super().__init__()
        self.ahead = forward_op
        self._own_back = backward_op
        gate_counts = [int(getattr(op, "num_gates", 0)) for op in (forward_op, backward_op) if op]
        self.num_gates = sum(gate_counts)
        self._num_gates_ahead = gate_counts[0]

    @property
    def back(self) -> nn.Module:
        """Mechanism applied right to left."""
        return self.ahead if self._own_back is None else self._own_back

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Attend to both sides."""
        ahead_BHLG, back_BHLG = self._gates(gates_BHLG)
        out_BHLD = self.ahead(q_BHLD, k_BHLD, v_BHLD, mask_BL, ahead_BHLG)
        back_BHLD = self.back(
            *(tensor.flip(2) for tensor in (q_BHLD, k_BHLD, v_BHLD)),
            None if mask_BL is None else mask_BL.flip(1),
            None if back_BHLG is None else back_BHLG.flip(2),
        )
        return (out_BHLD + back_BHLD.flip(2)) / 2

    def _gates(self, gates_BHLG: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if gates_BHLG is None:
            return None, None
        if self._own_back is None:
            return gates_BHLG, gates_BHLG
        split = self._num_gates_ahead
        return gates_BHLG[..., :split], gates_BHLG[..., split:]
