"""ModernBERT: ModernGENA and ModernBERT-DNA, with local and global blocks of rotary positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.families.bert_layout import (
    HARMLESS_KEYS,
    has_any,
    read_activation,
    read_sizes,
    take_decoder,
    take_pair,
)
from genomeformer_cli.core.models.families.protocol import (
    ConfigReader,
    Document,
    TensorReader,
    check_auto_map,
)
from genomeformer_cli.core.models.framed import Frame

_NAME = "modernbert"
# Dropout, classification, training loss and choices of kernels.
_HARMLESS_KEYS = frozenset(
    {
        "attention_dropout",
        "classifier_pooling",
        "compile_model",
        "deterministic_flash_attn",
        "embedding_dropout",
        "initializer_cutoff_factor",
        "layer_norm_eps",
        "mlp_dropout",
        "position_embedding_type",
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_pred_ignore_index",
        "sparse_prediction",
    }
)
_KINDS = {"full_attention": False, "sliding_attention": True}


def is_modernbert(document: Document) -> bool:
    """Return True for ModernBERT."""
    return document.get("model_type") == "modernbert"


def read_modernbert_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a ModernBERT model, of versions 4 and 5 of `transformers`.

    Raises:
        ConfigError: A setting is not implemented.
    """
    check_auto_map(document, (), _NAME)
    reader = ConfigReader(document, _NAME)
    # `layer_norm_eps` and `position_embedding_type` are left over from BERT, and not read.
    reader.ignore(HARMLESS_KEYS | _HARMLESS_KEYS)
    sizes = read_sizes(reader)
    sizes["initial_out_std"] = sizes["initial_std"] / (2 * sizes["depth"]) ** 0.5
    mlp_bias = reader.take("mlp_bias", bool, default=False)
    base, local_base = _read_bases(reader)
    config = EncoderConfig(
        **sizes,
        context=reader.take("max_position_embeddings", int) - frame.size,
        frame=frame,
        positions="rotary",
        rotary_base=base,
        local_rotary_base=local_base,
        local_blocks=_read_local_blocks(reader, sizes["depth"]),
        local_window=reader.take("local_attention", int, 128) // 2,
        norm="pre",
        first_norm=False,
        final_norm=True,
        norm_eps=reader.take("norm_eps", float, 1e-5),
        norm_bias=reader.take("norm_bias", bool, default=False),
        attention_bias=reader.take("attention_bias", bool, default=False),
        gated=True,
        activation=read_activation(reader, "hidden_activation"),
        mlp_up_bias=mlp_bias,
        mlp_out_bias=mlp_bias,
        tied=reader.take("tie_word_embeddings", bool, default=True),
        head_bias=reader.take("classifier_bias", bool, default=False),
        head_activation=read_activation(reader, "classifier_activation"),
        output_bias=reader.take("decoder_bias", bool, default=True),
    )
    reader.finish()
    return config


def _read_local_blocks(reader: ConfigReader, depth: int) -> tuple[int, ...]:
    """Return the numbers, from 1, of the blocks with local attention."""
    every = reader.take("global_attn_every_n_layers", int, 3)
    kinds = reader.take("layer_types", list, [])
    if not kinds:
        return tuple(index + 1 for index in range(depth) if index % max(every, 1))
    if len(kinds) != depth or not all(kind in _KINDS for kind in kinds):
        raise ConfigError(
            f"`config.json`: invalid `layer_types`: `{kinds}`",
            hint="implemented: one of " + ", ".join(f"`{kind}`" for kind in _KINDS) + " per block",
        )
    return tuple(index + 1 for index, kind in enumerate(kinds) if _KINDS[kind])


def _read_bases(reader: ConfigReader) -> tuple[float, float]:
    """Return the bases of rotary positions of global and of local blocks."""
    reader.require("rope_scaling", None)
    bases = {
        "full_attention": reader.take("global_rope_theta", float, 160_000.0),
        "sliding_attention": reader.take("local_rope_theta", float, 10_000.0),
    }
    parameters: Any = reader.take("rope_parameters", dict, {})
    for kind, values in parameters.items():
        allowed = {"rope_type", "rope_theta"}
        is_known = kind in bases and isinstance(values, Mapping) and not values.keys() - allowed
        if not is_known or values.get("rope_type", "default") != "default":
            raise ConfigError(
                f"`config.json`: `rope_parameters` are `{parameters}`, which is not implemented",
                hint="implemented: `rope_theta` of plain rotary positions per kind of block",
            )
        bases[kind] = float(values.get("rope_theta", bases[kind]))
    return bases["full_attention"], bases["sliding_attention"]


def convert_modernbert(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename the tensors of a ModernBERT model."""
    reader = TensorReader(tensors, _NAME)
    reader.drop_prefix("model.")
    norm, attention = config.norm_bias, config.attention_bias
    state = {"embedding.weight": reader.take("embeddings.tok_embeddings.weight")}
    state |= take_pair(reader, "embeddings.norm", "embedding_norm", bias=norm)
    for index in range(config.depth):
        old, new = f"layers.{index}", f"blocks.{index}"
        if index or config.first_norm:
            state |= take_pair(reader, f"{old}.attn_norm", f"{new}.attention_norm", bias=norm)
        state |= take_pair(reader, f"{old}.attn.Wqkv", f"{new}.attention.qkv", bias=attention)
        state |= take_pair(reader, f"{old}.attn.Wo", f"{new}.attention.out", bias=attention)
        state |= take_pair(reader, f"{old}.mlp_norm", f"{new}.mlp_norm", bias=norm)
        state |= take_pair(reader, f"{old}.mlp.Wi", f"{new}.mlp.up", bias=config.mlp_up_bias)
        state |= take_pair(reader, f"{old}.mlp.Wo", f"{new}.mlp.out", bias=config.mlp_out_bias)
    state |= take_pair(reader, "final_norm", "final_norm", bias=norm)
    if has_any(reader, "head", ("dense.weight", "norm.weight")):
        state |= take_pair(reader, "head.dense", "head.dense", bias=config.head_bias)
        state |= take_pair(reader, "head.norm", "head.norm", bias=norm)
        if config.output_bias:
            state["head.bias"] = reader.take("decoder.bias")
        state |= take_decoder(reader, config, state["embedding.weight"], "decoder.weight")
    reader.finish()
    return state
