"""Features of windows with and without a change, with equal parts computed once.

Equal reference windows are computed once. A model of causal stacks also computes the tokens before
a change once for both alleles (a backward stack, the tokens behind it); see
`Model.changed_layers`.
Shape letters: B reference windows, C changed windows, L length, M length of a changed window,
K columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.features import (
    check_layers,
    combine_layers,
    swap_columns,
)
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.token_bases import Numbers
from genomeformer_cli.core.evaluation.variant_windows import WindowPair
from genomeformer_cli.core.inference.distinct import DistinctRows
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.changed_rows import ChangedRows

_CPU_TOKENS, _DEVICE_TOKENS = 32_768, 131_072


@dataclass(frozen=True)
class PairTokens:
    """Token ids of a window with and without a change."""

    ref_L: Numbers
    alt_M: Numbers

    @classmethod
    def of_pair(cls, loaded: LoadedModel, pair: WindowPair) -> PairTokens:
        """Tokenize both windows."""
        encode = loaded.tokenizer.encode
        return cls(*(encode(codes).astype(np.int64) for codes in (pair.ref, pair.alt)))

    @property
    def spans(self) -> tuple[slice, slice]:
        """Differing tokens: those between the common start and the common end."""
        ref, alt = self.ref_L, self.alt_M
        start = _num_equal(ref, alt, min(ref.size, alt.size))
        end = _num_equal(ref[::-1], alt[::-1], min(ref.size, alt.size) - start)
        return slice(start, ref.size - end), slice(start, alt.size - end)

    @property
    def right_spans(self) -> tuple[slice, slice]:
        """Differing tokens as seen from the end: those before the longest common end."""
        spans = PairTokens(self.ref_L[::-1], self.alt_M[::-1]).spans
        sizes = self.ref_L.size, self.alt_M.size
        ref, alt = (
            slice(size - span.stop, size - span.start)
            for size, span in zip(sizes, spans, strict=True)
        )
        return ref, alt


def _num_equal(ref: Numbers, alt: Numbers, longest: int) -> int:
    """Return the number of equal first tokens, at most `longest`."""
    return int(np.argmin(np.append(ref[:longest] == alt[:longest], False)))


@dataclass(frozen=True)
class PairFeatures:
    """Features of a window with and without a change, by layer."""

    ref: dict[int, Tensor]  # (L, K) of each layer.
    alt: dict[int, Tensor]  # (M, K) of each layer.


def pair_features(
    loaded: LoadedModel,
    tokens: Sequence[PairTokens],
    layers: tuple[tuple[int, ...], tuple[int, ...]],
) -> Iterator[tuple[int, PairFeatures]]:
    """Yield the index of every pair and its features, pairs of equal lengths together.

    Args:
        loaded: The model.
        tokens: Token ids of each pair.
        layers: Layers of the windows without and with the change; the latter are among the former.
    """
    if not layers[0]:
        return
    by_lengths: dict[tuple[int, int], list[int]] = {}
    for index, pair in enumerate(tokens):
        # Windows of a tokenizer that leaves out what is shorter than its tokens may be empty.
        if pair.ref_L.size and pair.alt_M.size:
            by_lengths.setdefault((pair.ref_L.size, pair.alt_M.size), []).append(index)
    at_once = _CPU_TOKENS if loaded.model.device.type == "cpu" else _DEVICE_TOKENS
    for lengths, members in by_lengths.items():
        size = max(at_once // sum(lengths), 1)
        for first in range(0, len(members), size):
            yield from _features(loaded, tokens, members[first : first + size], layers)


def _features(
    loaded: LoadedModel,
    tokens: Sequence[PairTokens],
    members: Sequence[int],
    layers: tuple[tuple[int, ...], tuple[int, ...]],
) -> Iterator[tuple[int, PairFeatures]]:
    """Yield the features of pairs of equal lengths."""
    pairs = [tokens[index] for index in members]
    distinct = DistinctRows.of_sequences([pair.ref_L for pair in pairs])
    device = loaded.model.device
    tokens_BL = torch.from_numpy(np.stack([pairs[row].ref_L for row in distinct.first_D]))
    row_C = distinct.distinct_N.tolist()
    if layers[1]:
        changed = ChangedRows(
            tokens_CM=torch.from_numpy(np.stack([pair.alt_M for pair in pairs])).to(device),
            row_C=row_C,
            before_C=[pair.spans[0].start for pair in pairs],
            after_C=[pair.ref_L.size - pair.spans[0].stop for pair in pairs],
        )
        refs, alts = loaded.model.changed_layers(tokens_BL.to(device), changed, layers)
    else:
        refs, alts = loaded.model.hidden_layers(tokens_BL.to(device), None, layers[0]), []
    for number, index in enumerate(members):
        yield (
            index,
            PairFeatures(
                {layer: x[row_C[number]] for layer, x in zip(layers[0], refs, strict=True)},
                {layer: x[number] for layer, x in zip(layers[1], alts, strict=True)},
            ),
        )


@dataclass(frozen=True)
class VectorLayers:
    """Layers of the vector of a window, as recommended by the model."""

    numbers: tuple[int, ...]  # Layer numbers.
    is_mean: bool  # Layers are averaged; otherwise concatenated.

    @classmethod
    def of_model(cls, loaded: LoadedModel) -> VectorLayers:
        """Return the layers recommended by a model.

        Raises:
            ConfigError: The model does not have them.
        """
        options = EmbedOptions(pool="mean").resolve(loaded)
        numbers = options.layer_numbers(loaded.model.config.depth)
        is_mean = options.layers == "mean"
        check_layers(loaded.model, numbers, mean=is_mean)
        return cls(numbers, is_mean)

    def pool_pair(
        self, loaded: LoadedModel, tokens: PairTokens, features: PairFeatures
    ) -> npt.NDArray[np.float32]:
        """Return the mean features (2, K) of the real tokens of both windows."""
        rows = []
        for ids_L, of_window in ((tokens.ref_L, features.ref), (tokens.alt_M, features.alt)):
            is_real_L = torch.from_numpy(loaded.tokenizer.is_real[ids_L])
            means = [of_window[layer][is_real_L].mean(dim=0) for layer in self.numbers]
            rows.append(combine_layers(means, mean=self.is_mean))
        return torch.stack(rows).float().cpu().numpy()

    def swap(
        self, loaded: LoadedModel, rows_NK: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return the vectors of the reverse complements, for an equivariant model."""
        rows = torch.from_numpy(rows_NK)
        return swap_columns(loaded.model, rows, self.numbers, mean=self.is_mean).numpy()
