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
    """Return the Jensen-Shannon divergence of a pair in bits, summed over tokens.

    For an equivariant model the mean of both strands: a change of length in a repeat stands at the
    other end of the repeat on the other strand.
    """
    last = loaded.model.config.depth
    log_ref_TV = _log_probabilities(loaded, features.ref[last])
    log_alt_TV = _log_probabilities(loaded, features.alt[last])
    spans = [tokens.spans]
    if loaded.is_equivariant and tokens.right_spans != tokens.spans:
        spans.append(tokens.right_spans)
    divergences = [
        _divergence(log_ref_TV[_outside(ref, log_ref_TV)], log_alt_TV[_outside(alt, log_alt_TV)])
        for ref, alt in spans
    ]
    return float(np.mean(divergences))


def _outside(span: slice, x_TV: torch.Tensor) -> torch.Tensor:
    """Return True (T,) at the tokens outside a change."""
    is_outside_T = torch.ones(len(x_TV), dtype=torch.bool)
    is_outside_T[span] = False
    return is_outside_T


def _log_probabilities(loaded: LoadedModel, features_TE: torch.Tensor) -> torch.Tensor:
    """Return natural log-probabilities among the tokens of A C G T only, shape (T, V)."""
    is_real_V = torch.from_numpy(loaded.tokenizer.is_real)
    logits_TV = loaded.model.logits(features_TE).double().cpu()
    return logits_TV[:, : is_real_V.numel()][:, is_real_V].log_softmax(dim=-1)


def _divergence(ref_TV: torch.Tensor, alt_TV: torch.Tensor) -> float:
    middle_TV = torch.logaddexp(ref_TV, alt_TV) - _LN2
    halves = [(log_TV.exp() * (log_TV - middle_TV)).sum() for log_TV in (ref_TV, alt_TV)]
    return max(float(sum(halves)) / 2 / _LN2, 0.0)
