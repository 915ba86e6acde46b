"""Weights of linear layers whose matrix products are computed in 8-bit integers or in bfloat16.

int8: every row of the input and of the weight has its own scale, so that a row of the output does
not depend on the other rows of a batch (vector-wise quantization: Dettmers et al. 2022,
"LLM.int8()", section 3.1). Sums of products are exact integers. Without gradients.
Shape letters: N rows, E inputs, M outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ProductType = Literal["int8", "bf16"]

_LARGEST = 127


class Factor(NamedTuple):
    """Rows of a matrix in the type of the products."""

    numbers_NE: Tensor  # int8 or bfloat16.
    scale_N: Tensor | None  # Scale of each row; None without scales.


def as_factor(x_NE: Tensor, product_type: ProductType) -> Factor:
    """Convert the rows of a matrix to the type of the products."""
    if product_type == "bf16":
        return Factor(x_NE.to(torch.bfloat16), None)
    scale_N1 = x_NE.abs().amax(dim=1, keepdim=True).mul_(1 / _LARGEST)
    # A row of zeros remains zeros with any divisor; NaN and infinity remain in its scale.
    divisor_N1 = scale_N1.clamp_min(torch.finfo(torch.float32).tiny)
    return Factor((x_NE / divisor_N1).round_().to(torch.int8), scale_N1[:, 0])


class ProductWeight(Tensor):
    """Weight (M, E) in float32 whose products use its rows in a lower precision.

    `linear` uses the lower precision; parts and concatenations of rows remain such weights. Any
    other operation reads the float32 weight.
    """

    product_type: ProductType
    factor: Factor

    @classmethod
    def of(
        cls, weight_ME: Tensor, product_type: ProductType, factor: Factor | None = None
    ) -> ProductWeight:
        """Return the weight with its rows in the type of the products."""
        plain_ME = weight_ME.detach().as_subclass(Tensor)
        weight: ProductWeight = plain_ME.as_subclass(cls)
        weight.product_type = product_type
        weight.factor = as_factor(plain_ME, product_type) if factor is None else factor
        return weight

    def put_product(self, left: Factor, out_NM: Tensor) -> Tensor:
        """Write the product of rows with the transposed weight."""
        if left.scale_N is None:
            return out_NM.copy_(left.numbers_NE @ self.factor.numbers_NE.T)
        assert self.factor.scale_N is not None
        out_NM.copy_(torch._int_mm(left.numbers_NE, self.factor.numbers_NE.T))
        return out_NM.mul_(self.factor.scale_N).mul_(left.scale_N[:, None])

    def linear(self, x: Tensor, bias_M: Tensor | None = None) -> Tensor:
        """Return `functional.linear` of an input (..., E)."""
        x_NE = x.detach().reshape(-1, x.shape[-1])
        out_NM = x_NE.new_empty(len(x_NE), len(self.factor.numbers_NE), dtype=torch.float32)
        self.put_product(as_factor(x_NE, self.product_type), out_NM)
        if bias_M is not None:
            out_NM += bias_M
        return out_NM.view(*x.shape[:-1], -1)

    def rows(self, selected: slice) -> ProductWeight:
        """Return some rows of the weight."""
        numbers_NE, scale_N = self.factor
        factor = Factor(numbers_NE[selected], None if scale_N is None else scale_N[selected])
        return ProductWeight.of(self.as_subclass(Tensor)[selected], self.product_type, factor)

    def split_rows(self, sizes: Sequence[int]) -> tuple[ProductWeight, ...]:
        """Split the rows into parts of some sizes."""
        stops = torch.tensor(sizes).cumsum(0).tolist()
        return tuple(
            self.rows(slice(stop - size, stop)) for stop, size in zip(stops, sizes, strict=True)
        )

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = _HANDLERS.get(func)
        with torch._C.DisableTorchFunctionSubclass():
            if handler is not None:
                result = handler(*args, **kwargs)
                if result is not None:
                    return result
            return func(*args, **kwargs)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    if not isinstance(weight, ProductWeight):
        return None
    if x.requires_grad and torch.is_grad_enabled():
        raise RuntimeError("products of reduced precision have no gradients")
    return weight.linear(x, bias)


def _getitem(weight: ProductWeight, selected: Any) -> Tensor | None:
    return weight.rows(selected) if isinstance(selected, slice) else None


def _split(weight: ProductWeight, sizes: Any, dim: int = 0) -> tuple[Tensor, ...] | None:
    return weight.split_rows(sizes) if dim == 0 and not isinstance(sizes, int) else None


def _chunk(weight: ProductWeight, chunks: int, dim: int = 0) -> tuple[Tensor, ...] | None:
    is_even = dim == 0 and weight.shape[0] % chunks == 0
    return weight.split_rows([weight.shape[0] // chunks] * chunks) if is_even else None


def _cat(weights: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    (product_type, *_) = [w.product_type for w in weights if isinstance(w, ProductWeight)]
    if dim != 0:
        return None
    factors = [
        w.factor if isinstance(w, ProductWeight) else as_factor(w, product_type) for w in weights
    ]
    scales = [factor.scale_N for factor in factors if factor.scale_N is not None]
    factor = Factor(
        torch.cat([factor.numbers_NE for factor in factors]), torch.cat(scales) if scales else None
    )
    plain_ME = torch.cat([weight.as_subclass(Tensor) for weight in weights])
    return ProductWeight.of(plain_ME, product_type, factor)


_HANDLERS: dict[Any, Any] = {
    functional.linear: _linear,
    Tensor.__getitem__: _getitem,
    torch.split: _split,
    Tensor.split: _split,
    torch.chunk: _chunk,
    Tensor.chunk: _chunk,
    torch.cat: _cat,
}


def left_factor(x_NE: Tensor, weight_ME: Tensor) -> Tensor | Factor:
    """Return rows as the left factor of products with a weight or its parts."""
    if isinstance(weight_ME, ProductWeight):
        return as_factor(x_NE, weight_ME.product_type)
    return x_NE


def put_linear(left: Tensor | Factor, weight_ME: Tensor, out_NM: Tensor) -> Tensor:
    """Write the product of the result of `left_factor` with the transposed weight."""
    if isinstance(weight_ME, ProductWeight):
        assert isinstance(left, Factor)
        return weight_ME.put_product(left, out_NM)
    assert isinstance(left, Tensor)
    return torch.mm(left, weight_ME.T, out=out_NM)
