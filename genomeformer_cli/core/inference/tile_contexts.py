"""Tiles that share the stretches in which they are read.

Shape letters: D distinct stretches, N tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.formats.sequences import TileContext
from genomeformer_cli.core.inference.distinct import DistinctRows
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SharedContexts:
    """Distinct stretches, and the place of every tile in one of them."""

    codes_D: Sequence[Codes]  # Base codes of each stretch.
    context_N: Numbers  # Stretch of each tile.
    start_N: Numbers  # First base of each tile in its stretch.
    stop_N: Numbers  # End of each tile in its stretch.

    @classmethod
    def of_tiles(cls, tiles: Sequence[TileContext], tokenizer: Tokenizer) -> SharedContexts:
        """Find the distinct stretches of tiles.

        Raises:
            ConfigError: The tokens are not single bases, so that a tile has no tokens of its own.
        """
        if not tokenizer.one_token_per_base:
            raise ConfigError(
                f"tokens of `{tokenizer.kind}` do not end where tiles do",
                hint="leave out `--set regions.context`: each tile is then read by itself",
            )
        distinct = DistinctRows.of_sequences([tile.codes for tile in tiles])
        return cls(
            codes_D=[tiles[row].codes for row in distinct.first_D],
            context_N=distinct.distinct_N,
            start_N=np.array([tile.start for tile in tiles], dtype=np.int64),
            stop_N=np.array([tile.stop for tile in tiles], dtype=np.int64),
        )

    @property
    def reverse_complement(self) -> SharedContexts:
        """Reverse complements of the stretches, and the places of the tiles in them."""
        size_N = np.array([codes.size for codes in self.codes_D], dtype=np.int64)[self.context_N]
        return replace(
            self,
            codes_D=[reverse_complement_codes(codes) for codes in self.codes_D],
            start_N=size_N - self.stop_N,
            stop_N=size_N - self.start_N,
        )

    def tiles_by_context(self) -> list[Numbers]:
        """Return the tiles of each stretch, in order."""
        order_N = np.argsort(self.context_N, kind="stable")
        edges = np.cumsum(np.bincount(self.context_N, minlength=len(self.codes_D)))
        return np.split(order_N, edges[:-1])

    @property
    def spans(self) -> list[slice]:
        """Place of each tile in its stretch."""
        return [slice(a, b) for a, b in zip(self.start_N, self.stop_N, strict=True)]
