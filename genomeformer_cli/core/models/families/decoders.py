"""Families of decoders."""

from __future__ import annotations

from genomeformer_cli.core.models.families import (
    eurobert,
    gemma,
    gpt2,
    llama,
    mistral,
    mixtral,
    qwen3,
)
from genomeformer_cli.core.models.families.protocol import Family

DECODER_FAMILIES: tuple[Family, ...] = (
    llama.FAMILY,
    mistral.FAMILY,
    mixtral.FAMILY,
    qwen3.FAMILY,
    gemma.FAMILY,
    eurobert.FAMILY,
    gpt2.FAMILY,
)
