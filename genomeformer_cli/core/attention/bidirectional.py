"""A causal mechanism run both ways.

    y = (f(x) + flip(b(flip(x)))) / 2

Half the sum: for mechanisms that average values it is an average again, and where both ways agree
it is what either says. A token is seen by itself in both, so it counts twice where the others
count once.
Shape letters: B batch, H heads, L length, D head width, G gates.
"""

from __future__ import annotations

from torch import Tensor, nn


class BidirectionalAttention(nn.Module):
    """Ahead, from left to right, and back, from right to left.

    With one mechanism for both ways (tied) the gates of a token serve both, and the whole is
    equivariant to reversal: reversed input gives the reversed output. With two (untied) the first
    half of the gates belongs to the way ahead, the second to the way back.

    Either way can be walked slice by slice through `start` and `step` of `ahead` and `back`; the
    way back begins at the last token.

    Args:
        forward_op: Causal mechanism of the way ahead.
        backward_op: That of the way back; None: the same, with the same weights.

    Attributes:
        ahead: The way ahead.
        back: The way back.
        num_gates: Gates a head, of both ways together.
    """

    def __init__(self, forward_op: nn.Module, backward_op: nn.Module | None = None) -> None:
        super().__init__()
        self.ahead = forward_op
        self._own_back = backward_op
        each = [int(getattr(op, "num_gates", 0)) for op in (forward_op, backward_op) if op]
        self.num_gates = sum(each)
        self._num_gates_ahead = each[0]

    @property
    def back(self) -> nn.Module:
        """The mechanism of the way back."""
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
            *(one.flip(2) for one in (q_BHLD, k_BHLD, v_BHLD)),
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
