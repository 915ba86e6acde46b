"""Block of a stack: convolution, attention and gated MLP, each added to the residual stream.

A block is applied to whole rows, or slice by slice as its mechanism allows
(`core/attention/protocols.py`).
Shape letters: B batch, L length, T selected positions of all rows, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.batch_layout import Layout
from genomeformer_cli.core.attention.kernels.rms_norm import RMSNorm
from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.attention.protocols import Additive, State
from genomeformer_cli.core.attention.registry import AttentionContext
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.mlp import GatedMLP
from genomeformer_cli.core.models.genomeformer.short_convolution import ShortConvolution


class Block(nn.Module):
    """Compute x + attention(convolution(norm(x))), then x + mlp(norm(x)).

    Args:
        config: Sizes of the model.
        index: Index of the block; several mechanisms alternate.
        generator: Source of the random numbers of the mechanism.
    """

    def __init__(self, config: ModelConfig, index: int, generator: torch.Generator) -> None:
        super().__init__()
        names = config.attention.names
        setting = AttentionContext(
            num_heads=config.num_heads,
            head_width=config.width // config.num_heads,
            context=config.context,
            causal=config.causal,
            query_key_norm=config.query_key_norm,
        )
        self.attention_norm = RMSNorm(config.width)
        self.attention = AttentionLayer(
            name=names[index % len(names)],
            config=config.attention,
            setting=setting,
            generator=generator,
        )
        self.convolution = (
            ShortConvolution(config.width, config.conv_width, causal=config.causal)
            if config.conv_width
            else None
        )
        self.mlp_norm = RMSNorm(config.width)
        self.mlp = GatedMLP(config.width, config.mlp_width)

    @property
    def is_sliceable(self) -> bool:
        """True if a bidirectional block can be applied slice by slice."""
        return self.attention.reach is not None or isinstance(self.attention.mechanism, Additive)

    def forward(
        self, x_BLE: Tensor, layout: Layout, selected: SelectedPositions | None = None
    ) -> Tensor:
        """Apply the block to whole rows; return only the selected positions (T, E), if given."""
        if selected is None:
            return self.add_mlp(x_BLE + self.attention_output(x_BLE, layout))
        mixed_BLE, norm = self._neighbourly(x_BLE, layout)
        x_BME = selected.pad_rows(x_BLE)
        mixed_BME = x_BME if mixed_BLE is x_BLE else selected.pad_rows(mixed_BLE)
        added_TE = self.attention.forward_at(mixed_BLE, mixed_BME, layout, norm, selected)
        return self.add_mlp(selected.flatten(x_BME) + added_TE)

    def attention_output(self, x_BLE: Tensor, layout: Layout) -> Tensor:
        """Return the attention output of whole rows."""
        mixed_BLE, norm = self._neighbourly(x_BLE, layout)
        added_BLE: Tensor = self.attention(mixed_BLE, layout, norm)
        return added_BLE

    def add_mlp(self, x_BLE: Tensor) -> Tensor:
        """Add the output of the MLP."""
        mixed_BLE: Tensor = self.mlp(x_BLE, self.mlp_norm, residual=True)
        return mixed_BLE

    def mlp_output(self, x_BLE: Tensor) -> Tensor:
        """Return the output of the MLP."""
        added_BLE: Tensor = self.mlp(x_BLE, self.mlp_norm)
        return added_BLE

    def mlp_output_at(self, x_BLE: Tensor, layout: Layout) -> Tensor:
        """Return the output of the MLP, for any positions."""
        del layout
        return self.mlp_output(x_BLE)

    def start(self, batch: int, like: Tensor) -> State:
        """Return the state of a causal block before the first position."""
        past = () if self.convolution is None else (self.convolution.start(batch, like),)
        return *past, *self.attention.start(batch, like)

    def step(self, x_BLE: Tensor, layout: Layout, state: State) -> tuple[Tensor, State]:
        """Apply a causal block to the next positions."""
        mixed_BLE, norm, past, state = self._convolved(x_BLE, layout, state)
        added_BLE, state = self.attention.step(mixed_BLE, layout, norm, state)
        return self.add_mlp(x_BLE + added_BLE), (*past, *state)

    def advance(self, x_BLE: Tensor, layout: Layout, state: State) -> State:
        """Return the state after the next positions."""
        mixed_BLE, norm, past, state = self._convolved(x_BLE, layout, state)
        return (*past, *self.attention.advance(mixed_BLE, layout, norm, state))

    def _convolved(
        self, x_BLE: Tensor, layout: Layout, state: State
    ) -> tuple[Tensor, RMSNorm | None, State, State]:
        """Return the input of attention, the norm still to apply, and the states of both."""
        if self.convolution is None:
            return x_BLE, self.attention_norm, (), state
        normed_BLE: Tensor = self.attention_norm(x_BLE)
        mixed_BLE, past_BLE = self.convolution.step(normed_BLE, layout, state[0])
        return mixed_BLE, None, (past_BLE,), state[1:]

    @property
    def halo(self) -> int:
        """Number of positions to either side of a slice that the block needs."""
        beyond = self.convolution.after if self.convolution is not None else 0
        return beyond + (self.attention.reach or 0)

    def summary(self, x_BLE: Tensor, layout: Layout, core: slice) -> State:
        """Return the contribution of `core` of a slice with halo to the sum of the row."""
        mixed_BLE, norm = self._neighbourly(x_BLE, layout)
        inside = layout.slice(core.start, core.stop)
        return self.attention.summary(mixed_BLE[:, core], inside, norm)

    def attention_output_within(
        self, x_BLE: Tensor, layout: Layout, core: slice, summary: State | None
    ) -> Tensor:
        """Return the attention output at `core` of a slice, given the sum of the row, if any."""
        mixed_BLE, norm = self._neighbourly(x_BLE, layout)
        if summary is None:
            added_BLE: Tensor = self.attention(mixed_BLE, layout, norm)[:, core]
            return added_BLE
        inside = layout.slice(core.start, core.stop)
        return self.attention.read(mixed_BLE[:, core], inside, norm, summary)

    def _neighbourly(self, x_BLE: Tensor, layout: Layout) -> tuple[Tensor, RMSNorm | None]:
        """Return the input of attention and the norm still to apply."""
        if self.convolution is None:
            return x_BLE, self.attention_norm
        return self.convolution(self.attention_norm(x_BLE), layout), None
