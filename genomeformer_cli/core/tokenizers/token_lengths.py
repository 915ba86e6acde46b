"""Number of bases per token, for scores per base of any tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.protocol import Tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Positions of tokens on the bases."""

    # Number of bases that each token adds to the sequence; 0 for special tokens.
    bases_V: npt.NDArray[np.int64]
    k: int = 1  # Length of overlapping tokens; 1 without overlap.

    @property
    def overlaps(self) -> bool:
        """True if a base is part of several tokens."""
        return self.k > 1

    @property
    def shortest_span(self) -> int:
        """Number of consecutive tokens that must be masked to hide a base."""
        return self.k


def num_overlapping(tokenizer: Tokenizer) -> int:
    """Return the maximum number of preceding tokens that share bases with a token."""
    k = int(tokenizer.settings.get("k", 1))
    stride = int(tokenizer.settings.get("stride", k))
    return -(-k // stride) - 1


def token_layout(tokenizer: Tokenizer) -> TokenLayout:
    """Return the layout of a tokenizer's tokens.

    Raises:
        ConfigError: Tokens overlap at a stride other than 1.
    """
    bases_V = np.array([len(bases) for bases in tokenizer.bases], dtype=np.int64)
    k = int(tokenizer.settings.get("k", 1))
    stride = int(tokenizer.settings.get("stride", k))
    if stride == k:
        return TokenLayout(bases_V=bases_V)
    if stride != 1:
        raise ConfigError(
            f"{k}-mers at a stride of {stride} share bases with some of their neighbours only, so "
            "scores per base are undefined",
            hint=f"tokenize with `--stride 1` or `--stride {k}`",
        )
    return TokenLayout(bases_V=np.minimum(bases_V, 1), k=k)
