"""Sequence parallelism: exact gradients with each row sharded over processes.

A causal stack sends the state of each block to the right neighbour, which applies that block while
this process applies the next one; the gradients of the states return on the same path. Two opposite
stacks do so in both directions. Bidirectional stacks sum the states that their queries read, and
exchange the positions next to the borders. Each process then holds its part of the gradients; the
gradients of the rows are the sum over processes.

Sun et al. 2024, "Linear Attention Sequence Parallelism", section 3, sends the states of one layer
in this way; here it works for any mechanism that is `Streaming`, `Additive` or `Local`.
Shape letters: B batch, L length, C positions of a shard, E width.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocols import Additive, Local, State, Streaming
from genomeformer_cli.core.attention.registry import mechanisms_implementing
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.autograd import full_gradients
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.memory_plans.unpad import unpad_rows
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.block import Block
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import Examples, Prediction, predict


class SequenceGroup(Protocol):
    """Processes that hold the shards of a row, seen from one of them.

    All exchanges are differentiable.
    """

    rank: int  # Index of the shard of this process, counted from the end where the states start.
    size: int  # Number of shards.

    def reversed(self) -> SequenceGroup:
        """Return the group with ranks counted from the other end."""

    def recv_state(self, x: Tensor, start: State) -> State:
        """Receive the state of the previous shard; return `start` on the first.

        `x` is the tensor that will be used together with the state.
        """

    def send_state(self, x: Tensor, state: State) -> Tensor:
        """Send a state to the next shard; return `x` for the computation that follows."""

    def sum_states(self, parts: State) -> State:
        """Return the sum of the states of all shards."""

    def exchange_halos(self, x_BCE: Tensor, halo: int) -> tuple[Tensor, Tensor]:
        """Return the last positions of the previous shard and the first of the next."""

    def finish(self) -> None:
        """Wait until every message has been received."""


def check_sequence_parallel(model: Model, plan: str) -> None:
    """Check that the rows of a model can be sharded over processes.

    Raises:
        ConfigError: They cannot; the hint names what can.
    """
    if plan != "full":
        raise ConfigError(
            f"`parallel.sequence_parallel` with `--memory {plan}`",
            hint="use `--memory full`, and more processes for longer rows",
        )
    causal = model.config.causal
    what = f"`{model.config.mechanism}`"
    if model.config.strands == "both":
        what = "a model that reads both strands"
    elif (not causal or model.config.residual == "plain") and model.can_stream:
        return
    kinds = (Streaming,) if causal else (Additive, Local)
    able = ", ".join(f"`{name}`" for name in mechanisms_implementing(kinds, causal=causal))
    needs = "pass a state of bounded size" if causal else "sum a row or see only its neighbours"
    raise ConfigError(
        f"`parallel.sequence_parallel` cannot divide the rows of {what}",
        hint=f"it takes plain models whose mechanisms {needs}: {able}",
    )


def sequence_parallel_gradients(
    model: Model,
    examples: Examples,
    memory: MemoryConfig,
    total_weight: Tensor,
    group: SequenceGroup,
) -> Prediction:
    """Add this process's part of the gradients of a batch.

    Args:
        model: Model accepted by `check_sequence_parallel`.
        examples: Inputs and targets of whole rows, equal on every process of the group.
        memory: Number of rows computed at a time.
        total_weight: Weight of all targets of the step.
        group: Processes that share these rows.

    Returns:
        Prediction of the shards of this process.
    """
    batch = len(examples.inputs_BL)
    rows = memory.rows or batch
    zero = total_weight.new_zeros(())
    total = Prediction(loss=zero, bits=zero, num_correct=zero, num_targets=0)
    for first in range(0, batch, rows):
        for alike in unpad_rows(examples.rows(slice(first, first + rows))):
            part = _of_rows(model, alike, total_weight, group)
            total = total if part is None else total + part
    return total


def _of_rows(
    model: Model, examples: Examples, total_weight: Tensor, group: SequenceGroup
) -> Prediction | None:
    length = examples.inputs_BL.shape[1]
    stack = cast("TwoStack", model).ahead if _has_two_stacks(model) else cast("Encoder", model)
    shortest = max(1, *(block.halo for block in stack.stack)) if not stack.config.causal else 1
    if length < shortest * group.size:
        # Too short to be parted: the first process takes it, the others nothing.
        return full_gradients(model, examples, total_weight) if group.rank == 0 else None
    start, stop = (place * length // group.size for place in (group.rank, group.rank + 1))
    parts = _features(model, examples.inputs_BL, (start, stop), group)
    leaves = [part.detach().requires_grad_() for part in parts]
    targets = examples.part(start, stop)
    prediction = predict(model, torch.cat(leaves, dim=-1), targets, total_weight)
    torch.autograd.backward(prediction.loss)
    # One after the other, on every process in the same order: each waits for its neighbours.
    for part, leaf in reversed(list(zip(parts, leaves, strict=True))):
        torch.autograd.backward(part, leaf.grad)
    group.finish()
    return prediction.detached()


def _has_two_stacks(model: Model) -> bool:
    return model.config.direction == "two-stack"


def _features(
    model: Model, tokens_BL: Tensor, bounds: tuple[int, int], group: SequenceGroup
) -> list[Tensor]:
    """Return the features of a shard, as `hidden` does for whole rows; one tensor per stack."""
    start, stop = bounds
    if _has_two_stacks(model):
        stacks = cast("TwoStack", model)
        length = tokens_BL.shape[1]
        turned_BL = stacks.shifted(stacks.other_strand(tokens_BL.flip(1)))
        ahead_BCE = _causal(stacks.ahead, stacks.shifted(tokens_BL), bounds, group)
        back_BCE = _causal(
            stacks.back, turned_BL, (length - stop, length - start), group.reversed()
        )
        return [ahead_BCE, back_BCE.flip(1)]
    encoder = cast("Encoder", model)
    if encoder.config.causal:
        return [_causal(encoder, tokens_BL, bounds, group)]
    return [_bidirectional(encoder, tokens_BL, bounds, group)]


def _causal(
    stack: Encoder, tokens_BL: Tensor, bounds: tuple[int, int], group: SequenceGroup
) -> Tensor:
    start, stop = bounds
    layout = stack.rotary.layout(stop - start, None, device=tokens_BL.device, start=start)
    x_BCE: Tensor = stack.embedding(tokens_BL[:, start:stop])
    for block, empty in zip(stack.stack, stack.start(len(tokens_BL), x_BCE), strict=True):
        x_BCE, state = block.step(x_BCE, layout, group.recv_state(x_BCE, empty))
        x_BCE = group.send_state(x_BCE, state)
    return stack.normed(x_BCE)


def _bidirectional(
    model: Encoder, tokens_BL: Tensor, bounds: tuple[int, int], group: SequenceGroup
) -> Tensor:
    start, stop = bounds
    one_BCE: Tensor = model.embedding(tokens_BL[:, start:stop])
    other_BCE = one_BCE
    for block in model.stack:
        if model.config.residual == "reversible":
            one_BCE = one_BCE + _attended(model, block, other_BCE, start, group)
            other_BCE = other_BCE + block.mlp_output(one_BCE)
        else:
            added_BCE = _attended(model, block, one_BCE, start, group)
            one_BCE = block.add_mlp(one_BCE + added_BCE)
    if model.config.residual == "reversible":
        return model.merge_streams(one_BCE, other_BCE)
    return model.normed(one_BCE)


def _attended(
    model: Encoder, block: Block, x_BCE: Tensor, start: int, group: SequenceGroup
) -> Tensor:
    """Return the attention output at the positions of a shard."""
    before, length = 0, x_BCE.shape[1]
    if block.halo:
        before_BHE, after_BHE = group.exchange_halos(x_BCE, block.halo)
        before = before_BHE.shape[1]
        x_BCE = torch.cat((before_BHE, x_BCE, after_BHE), dim=1)
    layout = model.rotary.layout(x_BCE.shape[1], None, device=x_BCE.device, start=start - before)
    core = slice(before, before + length)
    summary = None
    if block.attention.reach is None:
        summary = group.sum_states(block.summary(x_BCE, layout, core))
    return block.attention_output_within(x_BCE, layout, core, summary)
