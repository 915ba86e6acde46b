"""Gemma: plant-dnagemma, and other models of the stock class `GemmaForCausalLM`.

Gemma stores the gain of every norm minus 1 and multiplies the embedding by the root of the width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.llama_layout import (
    convert_tensors,
    llama_family,
    read_sizes,
)
from genomeformer_cli.core.models.families.protocol import ConfigReader, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "gemma"


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    The authors' code takes the activation `gelu` for its approximation by tanh, with which Gemma
    was trained; `hidden_activation`, where present, names it.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["GemmaForCausalLM"], ["GemmaModel"])
    reader.require("hidden_act", "gelu_pytorch_tanh", "gelu")
    reader.require("hidden_activation", "gelu_pytorch_tanh", None)
    reader.flag("use_bidirectional_attention", is_on=False)
    sizes = read_sizes(reader, frame)
    bias = reader.take("attention_bias", bool, default=False)
    config = DecoderConfig(
        **sizes,
        head_width=reader.take("head_dim", int),
        activation="gelu-tanh",
        attention_bias=bias,
        attention_out_bias=bias,
        embedding_scale=sizes["width"] ** 0.5,
        tied_head=reader.take("tie_word_embeddings", bool, default=True),
    )
    reader.finish()
    return config


def convert(tensors: Mapping[str, Tensor], config: DecoderConfig, family: str) -> dict[str, Tensor]:
    """Rename the tensors and add 1 to the gains, in float32.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    converted = convert_tensors(tensors, config, family)
    for name, tensor in converted.items():
        if name.endswith("norm.weight"):
            converted[name] = tensor.float() + 1
    return converted


FAMILY = llama_family(NAME, read_config, convert)
