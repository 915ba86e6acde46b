"""Caduceus: Mamba blocks that run both ways, on one strand or on both.

Schiff et al. 2024, "Caduceus: Bi-Directional Equivariant Long-Range DNA Sequence Modeling".
Shape letters: B batch, M length with the frame, E width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.reverse_complement import flip_positions, flip_rows
from genomeformer_cli.core.models.mamba import MambaSizes, MambaStack, initialise
from genomeformer_cli.core.models.protocol import Direction


@dataclass(frozen=True, kw_only=True)
class CaduceusConfig(MambaSizes):
    """Configuration of a bidirectional Mamba model."""

    direction: ClassVar[Direction] = "bidirectional"
    causal: ClassVar[bool] = False
    residual: ClassVar[Literal["plain", "reversible"]] = "plain"
    patch: ClassVar[int] = 1

    # `one`: the given strand (Caduceus-Ph). `both`: each block also reads the other strand, and the
    # model is equivariant under reverse complement (Caduceus-PS).
    strands: Literal["one", "both"] = "one"
    # The strands change places before every block, as in models trained with fused norms.
    exchange: bool = True
    # Id of the complement of every token, if both strands are read.
    complement: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strands == "both":
            ids = range(self.vocabulary_size)
            if len(self.complement) != self.vocabulary_size or any(
                complement_id not in ids or self.complement[complement_id] != token
                for token, complement_id in enumerate(self.complement)
            ):
                raise ConfigError(
                    "the complements of the tokens are not pairs of token ids",
                    hint="compare the `config.json` of the model with a published one",
                )


class Caduceus(MambaStack):
    """Bidirectional stack of Mamba blocks.

    Features of a layer are the output of its block before it is added to the residual stream; those
    of the last one are the whole stream through the final norm. This is what the authors' code
    returns as hidden states. If both strands are read, the second half of the features belongs to
    the other strand, with its channels in reverse order.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights.
    """

    config: CaduceusConfig
    complement_V: Tensor

    def __init__(self, config: CaduceusConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.build(config, bias=False, both_ways=True)
        complement = config.complement
        # On `meta`, a range takes no memory, whatever its size.
        own_V = torch.tensor(complement) if complement else torch.arange(config.vocabulary_size)
        self.register_buffer("complement_V", own_V, persistent=False)
        initialise(self, torch.Generator().manual_seed(seed))

    @property
    def reads_both(self) -> bool:
        """True if every block also reads the other strand."""
        return self.config.strands == "both"

    @property
    def feature_width(self) -> int:
        """Features per position: those of both strands, if both are read."""
        return self.config.width * (2 if self.reads_both else 1)

    @property
    def is_equivariant(self) -> bool:
        """True if both strands are read and no token around a sequence tells them apart."""
        return self.reads_both and not self.config.frame.size

    def layer_width(self, layer: int) -> int:
        """Return the features per position of a layer; 0 is the embedding."""
        return self.feature_width

    def swap_strands(self, features: Tensor) -> Tensor:
        """Return the features that the reverse complement has: the channels in reverse order."""
        return features.flip(-1)

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, M, E or 2 E) after each of some blocks."""
        turn_BM = None
        if self.reads_both:
            turn_BM = flip_positions(tokens_BM, mask_BM)
            other_BM = self.complement_V[tokens_BM.gather(1, turn_BM)]
            tokens_BM = torch.cat((tokens_BM, other_BM))
            mask_BM = None if mask_BM is None else torch.cat((mask_BM, mask_BM))
        added_BME = self.embedding(tokens_BM)
        features = {0: _by_strand(added_BME, turn_BM)} if 0 in layers else {}
        x_BME = torch.zeros_like(added_BME)
        for number, block in enumerate(self.blocks[: max(layers)], start=1):
            x_BME = x_BME + added_BME
            del added_BME
            if turn_BM is not None and self.config.exchange:
                x_BME = _exchange(x_BME, turn_BM)
            added_BME = self.run_block(block, x_BME, mask_BM)
            if number in layers:
                features[number] = _by_strand(added_BME, turn_BM)
        if self.config.depth in layers:
            features[self.config.depth] = _by_strand(self.norm(x_BME + added_BME), turn_BM)
        return [features[layer] for layer in layers]

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position, the sum of both strands'."""
        weight_VE = self.embedding.weight
        if not self.reads_both:
            return functional.linear(features, weight_VE)
        forward, reverse = features.chunk(2, dim=-1)
        return functional.linear(forward, weight_VE) + functional.linear(
            reverse.flip(-1), weight_VE[self.complement_V]
        )


def _by_strand(x_BME: Tensor, turn_BM: Tensor | None) -> Tensor:
    """Return the features of rows; those of the other strand, if any, as the second half."""
    if turn_BM is None:
        return x_BME
    forward_BME, reverse_BME = x_BME.chunk(2)
    return torch.cat((forward_BME, flip_rows(reverse_BME, turn_BM).flip(-1)), dim=-1)


def _exchange(x_BME: Tensor, turn_BM: Tensor) -> Tensor:
    """Exchange the strands, each with its positions and its channels in reverse order."""
    forward_BME, reverse_BME = x_BME.flip(-1).chunk(2)
    return torch.cat((flip_rows(reverse_BME, turn_BM), flip_rows(forward_BME, turn_BM)))
