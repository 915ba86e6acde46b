"""Mixtral: Mistral-DNA, and other models of the stock class `MixtralForCausalLM`.

The loss that balances the experts in training is not a part of the features or logits.
"""

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

NAME = "mixtral"
# Settings of training alone.
_TRAINING_KEYS = ("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["MixtralForCausalLM"], ["MixtralModel"])
    reader.require("hidden_act", "silu")
    reader.ignore(_TRAINING_KEYS)
    sizes = read_sizes(reader, frame, epsilon=1e-5, rotary_base=1e6)
    config = DecoderConfig(
        **sizes,
        head_width=reader.take("head_dim", int, sizes["width"] // sizes["num_heads"]),
        windows=(read_window(reader, document, 0),) * sizes["depth"],
        num_experts=reader.count("num_local_experts"),
        experts_per_token=reader.count("num_experts_per_tok"),
        tied_head=reader.take("tie_word_embeddings", bool, default=False),
    )
    reader.finish()
    return config


FAMILY = llama_family(NAME, read_config)
