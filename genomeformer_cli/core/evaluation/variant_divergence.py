"""Divergence of a model's predictions between two windows that differ by a variant.

Predictions of the tokens that both windows have are compared, those of the changed tokens are not.
A bidirectional model predicts each from the whole window, a causal model from the tokens before it,
which is why only the tokens behind the change differ; the other strand covers those before it.

Shape letters: T tokens, V vocabulary, E width.
"""

from __future__ import annotations

import numpy as np
import torch

from genomeformer_cli.core.evaluation.changed_windows import PairFeatures, PairTokens
from genomeformer_cli.core.model_io.model_folder import LoadedModel

_LN2 = float(np.log(2))


def window_divergence(loaded: LoadedModel, tokens: PairTokens, features: PairFeatures) -> float:
    """Return the Jensen-Shannon divergence of a pair in bits, summed over tokens."""
    last = loaded.model.config.depth
    ref_T, alt_T = _common_places(tokens)
    return _divergence(
        _log_probabilities(loaded, features.ref[last][ref_T]),
        _log_probabilities(loaded, features.alt[last][alt_T]),
    )


def _common_places(tokens: PairTokens) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions of the tokens outside the change, in both windows."""
    ref_span, alt_span = tokens.spans
    before = torch.arange(ref_span.start)
    after = torch.arange(tokens.ref_L.size - ref_span.stop)
    return torch.cat((before, ref_span.stop + after)), torch.cat((before, alt_span.stop + after))


def _log_probabilities(loaded: LoadedModel, features_TE: torch.Tensor) -> torch.Tensor:
    """Return natural log-probabilities among the tokens of A C G T only, shape (T, V)."""
    is_real_V = torch.from_numpy(loaded.tokenizer.is_real)
    logits_TV = loaded.model.logits(features_TE).double().cpu()
    return logits_TV[:, : is_real_V.numel()][:, is_real_V].log_softmax(dim=-1)


def _divergence(ref_TV: torch.Tensor, alt_TV: torch.Tensor) -> float:
    middle_TV = torch.logaddexp(ref_TV, alt_TV) - _LN2
    halves = [(log_TV.exp() * (log_TV - middle_TV)).sum() for log_TV in (ref_TV, alt_TV)]
    return max(float(sum(halves)) / 2 / _LN2, 0.0)
