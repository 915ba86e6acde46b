"""Count the floating-point operations of a training step by running one.

The count is equal on every machine. It covers matrix products, convolutions and attention, forward
and backward, as torch counts them. It excludes elementwise work (norms, activations, the optimizer)
and recomputation by a memory plan, so that a budget of operations buys the same training under
every plan.
Shape letters: B batch, H heads, Q queries, K keys, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.protocol import Model

# Two products a pair of query and key forward; backward five, of which one is computed anew.
_FORWARD, _BACKWARD = 4, 10
_Shape = tuple[int, ...]


def count_flops(model: Model, step: Step) -> int:
    """Return the operations of the gradients of one step.

    One row is run with the current weights and its count is multiplied by the number of rows.
    """
    row = Step(batch=1, length=step.length, real_ids=step.real_ids)
    examples = random_examples(model, row)
    with FlopCounterMode(display=False, custom_mapping=_uncounted()) as counter:
        accumulate_gradients(model, examples, MemoryConfig(plan="full"))
    model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops()) * step.batch


def _uncounted() -> dict[Any, Any]:
    """Return counters for operators that torch does not count.

    These are in-place products and fused attention on the CPU.
    """
    formulas: dict[str, Callable[..., int]] = {
        "addmm_": _product,
        "baddbmm_": _product,
        "linalg_solve_triangular": _solution,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    }
    aten = torch.ops.aten
    return {
        getattr(aten, name): formula for name, formula in formulas.items() if hasattr(aten, name)
    }


def _product(_: Any, left: _Shape, right: _Shape, **__: Any) -> int:
    """Count the product of matrices of shape (..., m, k) and (..., k, n)."""
    return 2 * math.prod(left) * right[-1]


def _solution(triangle: _Shape, right: _Shape, **_: Any) -> int:
    """Count the solution of triangular systems (..., n, n) with right-hand sides (..., n, m)."""
    return math.prod(right) * triangle[-1]


def _attention(query: _Shape, key: _Shape, *_: Any, **__: Any) -> int:
    return _FORWARD * _pairs(query, key)


def _attention_backward(_: Any, query: _Shape, key: _Shape, *__: Any, **___: Any) -> int:
    return _BACKWARD * _pairs(query, key)


def _pairs(query_BHQD: _Shape, key_BHKD: _Shape) -> int:
    batch, heads, queries, width = query_BHQD
    return batch * heads * queries * key_BHKD[-2] * width
