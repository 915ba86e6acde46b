"""Mistral: GenomeOcean, and other models of the stock class `MistralForCausalLM`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.llama_layout import (
    llama_family,
    read_sizes,
    read_window,
)
from genomeformer_cli.core.models.families.protocol import ConfigReader, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "mistral"
# Positions that a position sees if `config.json` does not mention a window.
_WINDOW = 4_096


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["MistralForCausalLM"], ["MistralModel"])
    reader.require("hidden_act", "silu")
    sizes = read_sizes(reader, frame)
    config = DecoderConfig(
        **sizes,
        head_width=reader.take("head_dim", int, sizes["width"] // sizes["num_heads"]),
        windows=(read_window(reader, document, _WINDOW),) * sizes["depth"],
        tied_head=reader.take("tie_word_embeddings", bool, default=False),
    )
    reader.finish()
    return config


FAMILY = llama_family(NAME, read_config)
