"""Mistral: GenomeOcean, and other models of the stock class `MistralForCausalLM`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.decoder_tokenizers import read_decoder_tokenizer
from genomeformer_cli.core.models.families.llama_layout import (
    convert_tensors,
    read_sizes,
    read_window,
)
from genomeformer_cli.core.models.families.protocol import ConfigReader, Family, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "mistral"
# Positions that a position sees if `config.json` does not mention a window.
_WINDOW = 4_096


def recognise(document: Mapping[str, Any]) -> bool:
    """Return True for a `config.json` of the family."""
    return document.get("model_type") == NAME


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["MistralForCausalLM"])
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


def convert(tensors: Mapping[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename the tensors.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    return convert_tensors(tensors, config, NAME)


FAMILY = Family(
    name=NAME,
    recognise=recognise,
    read_config=read_config,
    convert=convert,
    read_tokenizer=read_decoder_tokenizer,
)
