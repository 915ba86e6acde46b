"""Divergence of a model's predictions between two windows that differ by a variant.

Predictions of the tokens that both windows have are compared, those of the changed tokens are not.
A bidirectional model predicts each from the whole window, a causal model from the tokens before it,
which is why only the tokens behind the change differ; the other strand covers those before it.

Shape letters: T tokens, V vocabulary, N windows, L length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.evaluation.token_bases import Numbers
from genomeformer_cli.core.evaluation.variant_windows import WindowPair
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask

_LN2 = float(np.log(2))
_WINDOWS_PER_BATCH = 16


@torch.inference_mode()
def window_divergences(loaded: LoadedModel, pairs: Sequence[WindowPair]) -> npt.NDArray[np.float64]:
    """Return the Jensen-Shannon divergence of each pair in bits, summed over tokens, (N,)."""
    divergences = []
    for first in range(0, len(pairs), _WINDOWS_PER_BATCH):
        batch = pairs[first : first + _WINDOWS_PER_BATCH]
        rows = [
            loaded.tokenizer.encode(codes).astype(np.int64)
            for pair in batch
            for codes in (pair.ref, pair.alt)
        ]
        tokens_NL = pad_tokens(loaded, rows)
        features_NLE = loaded.model.hidden(
            tokens_NL, padding_mask(tokens_NL, loaded.tokenizer.pad_id)
        )
        for row in range(0, len(rows), 2):
            places = _common_places(rows[row], rows[row + 1])
            divergences.append(
                _divergence(
                    *(
                        _log_probabilities(loaded, features_NLE[row + allele, places_T])
                        for allele, places_T in enumerate(places)
                    )
                )
            )
    return np.array(divergences)


def _common_places(ref_T: Numbers, alt_T: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions of the tokens outside the change, in both windows."""
    ref_span, alt_span = differing_tokens(ref_T, alt_T)
    before, num_after = np.arange(ref_span.start), ref_T.size - ref_span.stop
    after = np.arange(num_after)
    return (
        torch.from_numpy(np.concatenate((before, ref_span.stop + after))),
        torch.from_numpy(np.concatenate((before, alt_span.stop + after))),
    )


def _log_probabilities(loaded: LoadedModel, features_TE: torch.Tensor) -> torch.Tensor:
    """Return natural log-probabilities among the tokens of A C G T only, shape (T, V)."""
    is_real_V = torch.from_numpy(loaded.tokenizer.is_real)
    logits_TV = loaded.model.logits(features_TE).double().cpu()
    return logits_TV[:, : is_real_V.numel()][:, is_real_V].log_softmax(dim=-1)


def _divergence(ref_TV: torch.Tensor, alt_TV: torch.Tensor) -> float:
    middle_TV = torch.logaddexp(ref_TV, alt_TV) - _LN2
    halves = [(log_TV.exp() * (log_TV - middle_TV)).sum() for log_TV in (ref_TV, alt_TV)]
    return max(float(sum(halves)) / 2 / _LN2, 0.0)


def differing_tokens(ref: Numbers, alt: Numbers) -> tuple[slice, slice]:
    """Return the tokens between the common start and the common end of two windows."""
    shorter = min(ref.size, alt.size)
    start = int(np.argmin(np.append(ref[:shorter] == alt[:shorter], False)))
    end = int(
        np.argmin(np.append(ref[::-1][: shorter - start] == alt[::-1][: shorter - start], False))
    )
    return slice(start, ref.size - end), slice(start, alt.size - end)


def pad_tokens(loaded: LoadedModel, rows: Sequence[npt.NDArray[Any]]) -> torch.Tensor:
    """Return token ids (N, L), padded at the end, on the model's device."""
    longest = max(ids.size for ids in rows)
    tokens_NL = np.full((len(rows), longest), loaded.tokenizer.pad_id, dtype=np.int64)
    for row, ids in enumerate(rows):
        tokens_NL[row, : ids.size] = ids
    return torch.from_numpy(tokens_NL).to(loaded.model.device)
