"""EuroBERT: our masked models in the layout of the stock class `EuroBertForMaskedLM`.

The stock stack of the Llama kind without causality; its head has a bias if its MLPs have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.llama_layout import llama_family, read_sizes
from genomeformer_cli.core.models.families.protocol import ConfigReader, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "eurobert"


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["EuroBertForMaskedLM"], ["EuroBertModel"])
    reader.require("hidden_act", "silu")
    reader.flag("mlp_bias", is_on=False)
    # Pooling of a head for classes, which a masked model lacks.
    reader.ignore(["classifier_pooling"])
    sizes = read_sizes(reader, frame, all_heads_have_keys=True, epsilon=1e-5)
    bias = reader.take("attention_bias", bool, default=False)
    config = DecoderConfig(
        **sizes,
        direction="bidirectional",
        head_width=reader.take("head_dim", int, sizes["width"] // sizes["num_heads"]),
        attention_bias=bias,
        attention_out_bias=bias,
        tied_head=reader.take("tie_word_embeddings", bool, default=False),
    )
    reader.finish()
    return config


FAMILY = llama_family(NAME, read_config)
