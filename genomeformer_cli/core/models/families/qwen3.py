"""Qwen3: MarinDNA, our causal models in their layout, and others of `Qwen3ForCausalLM`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.llama_layout import (
    llama_family,
    read_sizes,
    read_window,
)
from genomeformer_cli.core.models.families.protocol import ConfigReader, check_auto_map
from genomeformer_cli.core.models.framed import Frame

NAME = "qwen3"
_KINDS = ("full_attention", "sliding_attention")


def read_config(document: Mapping[str, Any], frame: Frame) -> DecoderConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is missing, unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    reader.require("architectures", ["Qwen3ForCausalLM"], ["Qwen3Model"])
    reader.require("hidden_act", "silu")
    sizes = read_sizes(reader, frame)
    bias = reader.take("attention_bias", bool, default=False)
    config = DecoderConfig(
        **sizes,
        head_width=reader.take("head_dim", int),
        windows=_read_windows(reader, document, sizes["depth"]),
        query_key_norm=True,
        attention_bias=bias,
        attention_out_bias=bias,
        tied_head=reader.take("tie_word_embeddings", bool, default=False),
    )
    reader.finish()
    return config


def _read_windows(reader: ConfigReader, document: Mapping[str, Any], depth: int) -> tuple[int, ...]:
    """Return the window of each block, which `layer_types` names or a number of first blocks lacks.

    Raises:
        ConfigError: There is not one kind of attention per block, or a block has another kind.
    """
    uses_window = reader.take("use_sliding_window", bool, default=False)
    window = read_window(reader, document, 4_096)
    first = reader.take("max_window_layers", int, 28)
    kinds = reader.take("layer_types", list, [_KINDS[number >= first] for number in range(depth)])
    if len(kinds) != depth:
        raise ConfigError(
            f"`config.json`: `layer_types` has {len(kinds)} entries for {depth} blocks",
            hint="the model is damaged; fetch it again",
        )
    for kind in kinds:
        ConfigReader({"layer_types": kind}, NAME).require("layer_types", *_KINDS)
    return tuple(window if uses_window and kind == _KINDS[1] else 0 for kind in kinds)


FAMILY = llama_family(NAME, read_config)
