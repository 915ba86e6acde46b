"""What an embedding is: which layers, which positions, which strands, which windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from genomeformer_cli.core.errors import ConfigError

Pool = Literal["mean", "max", "first", "last", "none"]
Strands = Literal["none", "mean", "concat"]
Precision = Literal["float32", "float16", "float64"]
WHOLE = "whole"
AUTO = "auto"
_LAYER_HINT = "give `last`, `mean`, `all`, or numbers such as `0,2,4`; 0 is the token embedding"


@dataclass(frozen=True, kw_only=True)
class EmbedChoices:
    """How sequences become rows.

    Attributes:
        pool: `mean`, `max`, `first` or `last` over the real bases (A C G T) of a sequence, which is
            one row a sequence; `none`: one row a base.
        layers: `last`, `mean` (of all blocks), `all` (the embedding and every block) or numbers,
            0 being the token embedding; several stand side by side in a row. `auto`: those that
            the model was released with as the best, else the last.
        rc: What the other strand adds: `none`; `mean` of both strands; `concat`: side by side.
        window: Longest stretch the model sees at once, in tokens; None: the context it was trained
            with; `whole`: no windows, the model's state is passed along the sequence.
        stride: Tokens from one window to the next; None: windows of nearly equal length that do not
            overlap. Where windows overlap, a token is taken from the one in which it stands
            further from an edge.
        tokens_per_batch: Largest batch, padding included; None: what suits the device.
    """

    pool: Pool = "mean"
    layers: str = AUTO
    rc: Strands = "none"
    window: int | Literal["whole"] | None = None
    stride: int | None = None
    tokens_per_batch: int | None = None

    def __post_init__(self) -> None:
        _one_of(self.pool, Pool, "pooling")
        _one_of(self.rc, Strands, "use of the other strand")
        _check_windows(self.window, self.stride)
        if self.tokens_per_batch is not None and self.tokens_per_batch < 1:
            raise ConfigError(
                f"a batch of {self.tokens_per_batch} tokens holds nothing",
                hint="leave `--toks-per-batch` at `auto`, or raise it",
            )

    @property
    def per_base(self) -> bool:
        """Whether a row is a base."""
        return self.pool == "none"

    def settled(self, recommended: str) -> EmbedChoices:
        """The same with the layers that a model was released with, if none were chosen.

        The state that is passed along a sequence gives the last layer alone.
        """
        if self.layers != AUTO:
            return self
        return replace(self, layers="last" if self.window == WHOLE else recommended)

    def numbers(self, depth: int) -> tuple[int, ...]:
        """The layers of a model of that many blocks.

        Raises:
            ConfigError: It has no such layer.
        """
        named = {"last": (depth,), "mean": range(1, depth + 1), "all": range(depth + 1)}
        if self.layers in named:
            return tuple(named[self.layers])
        try:
            numbers = tuple(int(part) for part in self.layers.split(","))
        except ValueError:
            raise ConfigError(f"`{self.layers}` names no layers", hint=_LAYER_HINT) from None
        numbers = tuple(one + depth + 1 if one < 0 else one for one in numbers)
        if missing := [one for one in numbers if not 0 <= one <= depth]:
            raise ConfigError(
                f"the model has layers 0 to {depth}, not {missing[0]}", hint=_LAYER_HINT
            )
        return numbers


def _one_of(value: str, allowed: object, what: str) -> None:
    if value == "cls":
        raise ConfigError(
            "these models read no [CLS] token, so there is none to take the features of",
            hint="`mean` is what serves best; `first` takes the first base",
        )
    if value not in get_args(allowed):
        known = ", ".join(f"`{one}`" for one in get_args(allowed))
        raise ConfigError(f"unknown {what} `{value}`", hint=f"choose one of {known}")


def _check_windows(window: int | str | None, stride: int | None) -> None:
    if isinstance(window, str) and window != WHOLE:
        raise ConfigError(
            f"`{window}` is no window", hint="give a number of tokens, or `whole` for no windows"
        )
    if isinstance(window, int) and window < 1:
        raise ConfigError(
            f"a window of {window} bases holds nothing",
            hint="leave `--window` out, or raise it",
        )
    if stride is None:
        return
    if window is None or isinstance(window, str):
        raise ConfigError(
            "a stride without a window length", hint="give `--window LENGTH` with `--stride`"
        )
    if not 1 <= stride <= window:
        raise ConfigError(
            f"a stride of {stride} over windows of {window} would leave bases out",
            hint=f"choose 1 to {window}",
        )
