"""Models that were trained with further tokens around every sequence, such as `[CLS]` and `[SEP]`.

Callers give tokens of bases and receive features of them. The tokens around a sequence, the frame,
are added before the first block and cut off after the last one.
Shape letters: B batch, L length, M length with the frame, E features, P tokens before a sequence,
S tokens after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import each_document
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Direction, Model


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Token ids around every sequence."""

    pad_id: int = 0  # Id of padding.
    prefix: tuple[int, ...] = ()  # Ids before a sequence, P.
    suffix: tuple[int, ...] = ()  # Ids after a sequence, S.

    @property
    def size(self) -> int:
        """Number of tokens around a sequence."""
        return len(self.prefix) + len(self.suffix)


class FramedConfig(ArchitectureConfig, Protocol):
    """Configuration of a model with a frame."""

    @property
    def frame(self) -> Frame:
        """Token ids around every sequence."""


class PlainTraits:
    """Traits of architectures of other authors: a base class of their configurations."""

    direction: ClassVar[Direction] = "bidirectional"
    residual: ClassVar[Literal["plain", "reversible"]] = "plain"
    strands: ClassVar[Literal["one", "both"]] = "one"
    patch: ClassVar[int] = 1

    @property
    def causal(self) -> bool:
        """True if each position sees only itself and its past."""
        return self.direction != "bidirectional"


class FramedModel(Model):
    """Model with a frame: a base class.

    A subclass implements `set_checkpointing`, `framed_layers` and `logits`.
    """

    config: FramedConfig  # Configuration of the model.

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def feature_width(self) -> int:
        """Features per position."""
        return self.config.width

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, M, `layer_width`) after each of some blocks.

        Args:
            tokens_BM: Token ids with the frame.
            mask_BM: True at real tokens and at the frame; None without padding.
            layers: Block numbers from 1; 0 for the embedding. The last one includes the final
                norm, if the family has one.
        """
        raise NotImplementedError

    def hidden(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return features (B, L, E) of every position; see `Model.hidden`."""
        if documents_BL is not None:
            return each_document(self.hidden, tokens_BL, documents_BL)
        return self.hidden_layers(tokens_BL, mask_BL, (self.config.depth,))[0]

    def hidden_layers(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, L, `layer_width`) after each of some blocks.

        Raises:
            ConfigError: A row is longer than the positions of the model.
        """
        frame, length = self.config.frame, tokens_BL.shape[1]
        tokens_BM, mask_BM = add_frame(tokens_BL, mask_BL, frame)
        if self.max_positions is not None and tokens_BM.shape[1] > self.max_positions:
            raise ConfigError(
                f"the model has {self.max_positions:,} positions, not {tokens_BM.shape[1]:,}",
                hint=f"choose a window of at most {self.max_positions - frame.size:,} tokens",
            )
        start = len(frame.prefix)
        return [
            features_BME[:, start : start + length]
            for features_BME in self.framed_layers(tokens_BM, mask_BM, layers)
        ]


def add_frame(
    tokens_BL: Tensor, mask_BL: Tensor | None, frame: Frame
) -> tuple[Tensor, Tensor | None]:
    """Return token ids (B, M) with the frame around the real tokens of each row, and their mask.

    Args:
        tokens_BL: Token ids, padded at the end of rows.
        mask_BL: True at real tokens; None without padding.
        frame: Token ids around every sequence.
    """
    if not frame.size:
        return tokens_BL, mask_BL
    batch = tokens_BL.shape[0]  # `len` would fix the size of an exported graph
    prefix_BP = tokens_BL.new_tensor(frame.prefix, dtype=tokens_BL.dtype).expand(batch, -1)
    suffix_BS = tokens_BL.new_tensor(frame.suffix, dtype=tokens_BL.dtype).expand(batch, -1)
    if mask_BL is None:
        return torch.cat((prefix_BP, tokens_BL, suffix_BS), dim=1), None
    filled_BL = tokens_BL.masked_fill(~mask_BL, frame.pad_id)
    padding_BS = torch.full_like(suffix_BS, frame.pad_id)
    tokens_BM = torch.cat((prefix_BP, filled_BL, padding_BS), dim=1)
    ends_B1 = len(frame.prefix) + mask_BL.sum(dim=1, keepdim=True)
    place_S = torch.arange(len(frame.suffix), device=tokens_BL.device)
    tokens_BM = tokens_BM.scatter(1, ends_B1 + place_S, suffix_BS)
    position_M = torch.arange(tokens_BM.shape[1], device=tokens_BL.device)
    return tokens_BM, position_M < ends_B1 + len(frame.suffix)
