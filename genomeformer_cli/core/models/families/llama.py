"""Llama: METAGENE-1, GENERator, Carbon, and other models of the stock class `LlamaForCausalLM`.

The class of GENERator's newer folders, `GENERatorForCausalLM`, inherits features and logits from it
and changes generation only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.llama_layout import llama_family, read_sizes
from genomeformer_cli.core.models.families.protocol import ConfigReader, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "llama"
_GENERATOR = "modeling_generator.GENERatorForCausalLM"


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (_GENERATOR,), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["LlamaForCausalLM"], ["GENERatorForCausalLM"], ["LlamaModel"])
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


FAMILY = llama_family(NAME, read_config)
