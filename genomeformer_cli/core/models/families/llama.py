"""Llama: METAGENE-1, GENERator, Carbon, and other models of the stock class `LlamaForCausalLM`.

The class of GENERator's newer folders, `GENERatorForCausalLM`, inherits features and logits from it
and changes generation only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.decoder_tokenizers import read_decoder_tokenizer
from genomeformer_cli.core.models.families.llama_layout import convert_tensors, read_sizes
from genomeformer_cli.core.models.families.protocol import ConfigReader, Family, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "llama"
_GENERATOR = "modeling_generator.GENERatorForCausalLM"


def recognise(document: Mapping[str, Any]) -> bool:
    """Return True for a `config.json` of the family."""
    return document.get("model_type") == NAME


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (_GENERATOR,), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["LlamaForCausalLM"], ["GENERatorForCausalLM"])
    # Length of the sequences in the training of METAGENE-1; no class reads it.
    reader.ignore(["max_sequence_length"])
    reader.require("hidden_act", "silu")
    sizes = read_sizes(reader, frame, all_heads_have_keys=True)
    bias = reader.take("attention_bias", bool, default=False)
    config = DecoderConfig(
        **sizes,
        head_width=reader.take("head_dim", int, sizes["width"] // sizes["num_heads"]),
        attention_bias=bias,
        attention_out_bias=bias,
        mlp_bias=reader.take("mlp_bias", bool, default=False),
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
