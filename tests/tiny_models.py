"""Models of one block with random weights, for every tokenizer and direction."""

from __future__ import annotations

from pathlib import Path

import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from tests.dna_tokenizers import TOKENIZERS

COMPLEMENTS = {"char": (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)}


def tiny_model(
    tokenizer_name: str,
    direction: str,
    *,
    attention: str = "softmax",
    patch: int = 1,
    context: int = 64,
    tied: bool = False,
) -> LoadedModel:
    """Return a model of width 16; without `tied`, its head has weights of its own."""
    tokenizer = TOKENIZERS[tokenizer_name]()
    is_tied_pair = tied and direction == "two-stack"
    config = ModelConfig(
        vocabulary_size=len(tokenizer.tokens),
        context=context,
        patch=patch,
        width=16,
        depth=1,
        num_heads=2,
        mlp_width=16,
        direction=direction,  # type: ignore[arg-type]
        attention=AttentionConfig(name=attention),
        tied=tied,
        complement=COMPLEMENTS.get(tokenizer_name, ()) if is_tied_pair else (),
    )
    model = build_model(config, seed=1).eval()
    if not tied:
        with torch.no_grad():
            model.get_parameter("head.weight").normal_(generator=torch.Generator().manual_seed(2))
    return LoadedModel(model=model, tokenizer=tokenizer, folder=Path())
