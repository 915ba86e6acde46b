"""Differentiable input: a model that reads mixtures of bases instead of bases.

Every mixed position has a token id of its own beyond the vocabulary. The token embedding looks such
an id up among the mixtures of the embeddings of A C G T; models that read the reverse complement
find the id of the complementary mixture. The model itself is unchanged: a copy that shares its
weights reads the mixtures, so that several threads can do so at once.
Shape letters: V ids of the largest embedding, P mixed positions, R real bases, E width.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.token_bases import Cut, TokenBases
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

_COMPLEMENT = "complement_V"


def check_soft_bases(tokenizer: Tokenizer) -> None:
    """Check that mixtures of bases are mixtures of tokens.

    Raises:
        ConfigError: A token has several bases.
    """
    if TokenBases(tokenizer).cut is not Cut.BASES:
        raise ConfigError(
            "gradients by base need tokens of single bases",
            hint="use `--attribution ism`, which reads tokens of any kind",
        )


def soft_bases(
    model: Model, tokenizer: Tokenizer, tokens_BL: Tensor, mixture_PR: Tensor
) -> tuple[Model, Tensor]:
    """Return a reader of mixtures, and its token ids (B, L), whose real bases are mixtures.

    Args:
        model: The model; the reader shares its weights.
        tokenizer: Tokenizer of single bases.
        tokens_BL: Token ids.
        mixture_PR: Shares of A C G T at each real base of the rows, in order.
    """
    base_ids = torch.from_numpy(TokenBases(tokenizer).ids_of_length(1)).to(tokens_BL.device)
    reader = copy.deepcopy(model, {id(x): x for x in chain(model.parameters(), model.buffers())})
    embeddings = [module for module in reader.modules() if isinstance(module, nn.Embedding)]
    first = max(module.num_embeddings for module in embeddings)
    num_mixed = len(mixture_PR)
    is_mixed_BL = torch.isin(tokens_BL, base_ids)
    assert int(is_mixed_BL.sum()) == num_mixed
    soft_BL = tokens_BL.clone()
    soft_BL[is_mixed_BL] = first + torch.arange(num_mixed, device=tokens_BL.device)

    def embed(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        del arguments
        ids = looked_up.pop(module)
        if not bool((ids >= first).any()):
            return None
        weight_RE = module.weight[base_ids]  # type: ignore[index]
        reverse_RE = weight_RE.flip(0)
        table = torch.cat((mixture_PR @ weight_RE, mixture_PR @ reverse_RE))
        mixed = functional.embedding((ids - first).clamp_min(0), table)
        return torch.where((ids >= first)[..., None], mixed, output)

    looked_up: dict[nn.Module, Tensor] = {}

    def keep_ids(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        assert isinstance(module, nn.Embedding)
        (ids,) = arguments
        looked_up[module] = ids
        return (ids.clamp_max(module.num_embeddings - 1),)

    for module in embeddings:
        module.register_forward_pre_hook(keep_ids)
        module.register_forward_hook(embed)
    for part in reader.modules():
        complement_V = getattr(part, _COMPLEMENT, None)
        if isinstance(complement_V, Tensor):
            setattr(part, _COMPLEMENT, _extended(complement_V, first, num_mixed))
    return reader, soft_BL


def _extended(complement_V: Tensor, first: int, num_mixed: int) -> Tensor:
    """Return complements of ids, extended by those of the mixed ids."""
    rest = torch.arange(complement_V.numel(), first, device=complement_V.device)
    mixed = first + torch.arange(2 * num_mixed, device=complement_V.device).roll(num_mixed)
    return torch.cat((complement_V, rest, mixed))
