"""How many bases a token stands for, so that scores of any tokens can be told per base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.protocol import FIRST_REAL_ID, Tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """How the tokens of a sequence lie on its bases.

    Attributes:
        bases_V: Bases that each token adds to the sequence; 0 for special tokens.
        k: Bases of a token that shares bases with its neighbours; 1 if none does.
    """

    bases_V: npt.NDArray[np.int64]
    k: int = 1

    @property
    def overlaps(self) -> bool:
        """Whether a base is seen through several tokens."""
        return self.k > 1

    @property
    def shortest_span(self) -> int:
        """Consecutive tokens that must be hidden for a base to be hidden: all that show it."""
        return self.k


def num_overlapping(tokenizer: Tokenizer) -> int:
    """Return the most tokens before any token that share bases with it; 0 without overlap."""
    k = int(tokenizer.settings.get("k", 1))
    stride = int(tokenizer.settings.get("stride", k))
    return -(-k // stride) - 1


def token_layout(tokenizer: Tokenizer) -> TokenLayout:
    """How the tokens of a tokenizer lie on the bases.

    Raises:
        ConfigError: They overlap at a stride other than 1.
    """
    bases_V = np.array([len(token) for token in tokenizer.tokens], dtype=np.int64)
    bases_V[:FIRST_REAL_ID] = 0
    k = int(tokenizer.settings.get("k", 1))
    stride = int(tokenizer.settings.get("stride", k))
    if stride == k:
        return TokenLayout(bases_V=bases_V)
    if stride != 1:
        raise ConfigError(
            f"{k}-mers at a stride of {stride} share bases with some neighbours and not with "
            "others: what a model knows of a base cannot be told",
            hint=f"tokenize with `--stride 1` or `--stride {k}`",
        )
    return TokenLayout(bases_V=np.minimum(bases_V, 1), k=k)
