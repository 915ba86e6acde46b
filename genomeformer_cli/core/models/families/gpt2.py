"""GPT-2: plant-dnagpt, and other models of the stock class `GPT2LMHeadModel`.

GPT-2 stores its matrices transposed and has learned positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.decoder_tokenizers import read_decoder_tokenizer
from genomeformer_cli.core.models.families.protocol import (
    ConfigReader,
    Family,
    TensorReader,
    check_auto_map,
)
from genomeformer_cli.core.models.framed import Frame

NAME = "gpt2"
# Dropout, numerics of half precision, and heads of other tasks.
_UNUSED_KEYS = (
    "attn_pdrop",
    "embd_pdrop",
    "n_ctx",
    "reorder_and_upcast_attn",
    "resid_pdrop",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
)
_NORMS = {"ln_1": "attention_norm", "ln_2": "mlp_norm"}
_MATRICES = {
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.out",
}


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
    reader.require("architectures", ["GPT2LMHeadModel"], ["GPT2Model"])
    reader.require("activation_function", "gelu_new", "gelu_pytorch_tanh")
    reader.flag("scale_attn_weights", is_on=True)
    reader.flag("scale_attn_by_inverse_layer_idx", is_on=False)
    reader.flag("add_cross_attention", is_on=False)
    reader.ignore(_UNUSED_KEYS)
    positions = reader.take("n_positions", int)
    width, depth = reader.take("n_embd", int), reader.count("n_layer")
    num_heads = reader.count("n_head")
    if positions <= frame.size or num_heads < 1 or width % num_heads:
        raise ConfigError(
            f"`config.json`: invalid sizes: {positions} positions, width {width}, "
            f"{num_heads} heads",
            hint="the model is damaged; fetch it again",
        )
    std = reader.take("initializer_range", float, 0.02)
    config = DecoderConfig(
        frame=frame,
        vocabulary_size=reader.take("vocab_size", int),
        context=positions - frame.size,
        width=width,
        depth=depth,
        num_heads=num_heads,
        num_key_value_heads=num_heads,
        head_width=width // num_heads,
        mlp_width=reader.take("n_inner", int, 4 * width),
        norm="layer",
        norm_epsilon=reader.take("layer_norm_epsilon", float, 1e-5),
        positions="learned",
        activation="gelu-tanh",
        gated=False,
        attention_bias=True,
        attention_out_bias=True,
        mlp_bias=True,
        tied_head=reader.take("tie_word_embeddings", bool, default=True),
        initial_std=std,
        initial_out_std=std / (2 * max(depth, 1)) ** 0.5,
    )
    reader.finish()
    return config


def fit_head(config: DecoderConfig, names: Collection[str]) -> DecoderConfig:
    """Return the configuration of a model that may be saved as its base class, without a head."""
    is_base = "wte.weight" in names and "lm_head.weight" not in names
    return dataclasses.replace(config, has_head=config.tied_head or not is_base)


def convert(tensors: Mapping[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename the tensors and transpose the matrices.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    reader = TensorReader(tensors, NAME)
    reader.drop_prefix("transformer.")
    # The causal mask, which old versions stored.
    reader.ignore(r"h\.\d+\.attn\.(masked_)?bias")
    converted = {
        "embedding.weight": reader.take("wte.weight"),
        "positions.weight": reader.take("wpe.weight"),
        "norm.weight": reader.take("ln_f.weight"),
        "norm.bias": reader.take("ln_f.bias"),
    }
    if config.tied_head:
        # Some writers store it a second time; the authors' code uses the embedding.
        reader.ignore(r"lm_head\.weight")
    elif config.has_head:
        converted["head.weight"] = reader.take("lm_head.weight")
    for number in range(config.depth):
        old, new = f"h.{number}", f"blocks.{number}"
        for kind in ("weight", "bias"):
            for old_module, new_module in _NORMS.items():
                converted[f"{new}.{new_module}.{kind}"] = reader.take(f"{old}.{old_module}.{kind}")
            for old_module, new_module in _MATRICES.items():
                tensor = reader.take(f"{old}.{old_module}.{kind}")
                is_matrix = kind == "weight"
                converted[f"{new}.{new_module}.{kind}"] = tensor.T if is_matrix else tensor
    reader.finish()
    return converted


FAMILY = Family(
    name=NAME,
    recognise=recognise,
    read_config=read_config,
    convert=convert,
    read_tokenizer=read_decoder_tokenizer,
    fit=fit_head,
)
