"""Reading that Llama, Mistral, Mixtral, Qwen3 and Gemma share: sizes, rotary positions, tensors.

The keys and the tensor names are those of `transformers`, whose stock classes are the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.families.decoder_tokenizers import read_decoder_tokenizer
from genomeformer_cli.core.models.families.protocol import ConfigReader, Family, TensorReader
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.rotary_scaling import RotaryScaling

# Settings of training alone: dropout, and the parts into which old versions cut the matrices.
_TRAINING_KEYS = ("attention_dropout", "pretraining_tp")
_EMBEDDING, _HEAD = "embed_tokens.weight", "lm_head.weight"
# Tables that old versions stored beside the weights and that are computed here.
_COMPUTED = (r".*\.rotary_emb\.(inv_freq|cos_cached|sin_cached)",)


class Sizes(TypedDict):
    """Settings that all layouts share, as keywords of `DecoderConfig`."""

    frame: Frame
    vocabulary_size: int
    context: int
    width: int
    depth: int
    num_heads: int
    num_key_value_heads: int
    mlp_width: int
    norm_epsilon: float
    rotary: RotaryScaling
    initial_std: float
    initial_out_std: float


def read_sizes(
    reader: ConfigReader,
    frame: Frame,
    *,
    all_heads_have_keys: bool = False,
    epsilon: float = 1e-6,
    rotary_base: float = 10_000.0,
) -> Sizes:
    """Read the settings that all layouts share.

    Args:
        reader: Reader of `config.json`.
        frame: Token ids around every sequence.
        all_heads_have_keys: Every head has keys and values of its own, unless the key for their
            number is present; otherwise the key is required.
        epsilon: Number of the norms if there is no such key.
        rotary_base: Base of the rotary positions if there is no such key.

    Raises:
        ConfigError: A setting is missing, invalid or not implemented.
    """
    positions = reader.take("max_position_embeddings", int)
    num_heads, depth = (reader.count(key) for key in ("num_attention_heads", "num_hidden_layers"))
    if positions <= frame.size or num_heads < 1:
        raise ConfigError(
            f"`config.json`: invalid sizes: {positions} positions, {num_heads} heads",
            hint="the model is damaged; fetch it again",
        )
    std = reader.take("initializer_range", float, 0.02)
    reader.ignore(_TRAINING_KEYS)
    return Sizes(
        frame=frame,
        vocabulary_size=reader.take("vocab_size", int),
        context=positions - frame.size,
        width=reader.take("hidden_size", int),
        depth=depth,
        num_heads=num_heads,
        num_key_value_heads=reader.count(
            "num_key_value_heads", num_heads if all_heads_have_keys else None
        ),
        mlp_width=reader.take("intermediate_size", int),
        norm_epsilon=reader.take("rms_norm_eps", float, epsilon),
        rotary=read_rotary(reader, positions, rotary_base),
        initial_std=std,
        initial_out_std=std,
    )


def read_window(reader: ConfigReader, document: Mapping[str, Any], default: int) -> int:
    """Return the number of positions that a position sees; 0, for all, if the key is null.

    Raises:
        ConfigError: The number is invalid.
    """
    is_present = "sliding_window" in document
    window: int = reader.take("sliding_window", int, 0 if is_present else default)
    if is_present and document["sliding_window"] is not None and window < 1:
        raise ConfigError(
            f"`config.json`: invalid `sliding_window`: `{window}`",
            hint="a position sees at least itself; null: the whole past",
        )
    return window


def read_rotary(reader: ConfigReader, context: int, default_base: float) -> RotaryScaling:
    """Read the rotary positions in the layout of `transformers` 4 or 5.

    Version 4 has `rope_theta` and `rope_scaling`, version 5 `rope_parameters` for both. Scalings
    whose frequencies depend on the length of the batch (`dynamic`, `longrope`) are refused: the
    features of a sequence would depend on its batch.

    Raises:
        ConfigError: The scaling is not implemented or is ambiguous.
    """
    reader.require("partial_rotary_factor", 1.0, None)
    reader.flag("rope_interleaved", is_on=False)
    old, new = (reader.take(key, dict, {}) for key in ("rope_scaling", "rope_parameters"))
    absent = 0.0
    old_base = reader.take("rope_theta", float, absent)
    scaling = ConfigReader(new or old, "rotary positions")
    base = scaling.take("rope_theta", float, old_base or default_base)
    of_old = {"rope_theta": base, **old}
    if (old_base and old_base != base) or (new and old and of_old != {"rope_theta": base, **new}):
        raise ConfigError(
            "`config.json`: two contradicting entries for rotary positions",
            hint="keep the one with which the model was trained",
        )
    scaling.require("partial_rotary_factor", 1.0, None)
    # Versions before 4.43 name the kind `type`; newer ones may write both names.
    old_name = scaling.require("type", "default", *_KINDS, None) or "default"
    kind = scaling.require("rope_type", old_name, *([] if "type" in (new or old) else _KINDS))
    settings = _KINDS[kind](scaling, context)
    scaling.finish()
    return RotaryScaling(base=base, **settings)


def _linear(reader: ConfigReader, context: int) -> dict[str, Any]:
    del context
    return {"kind": "linear", "factor": reader.take("factor", float)}


def _llama3(reader: ConfigReader, context: int) -> dict[str, Any]:
    return {
        "kind": "llama3",
        "factor": reader.take("factor", float),
        "original_context": reader.take("original_max_position_embeddings", int, context),
        "low_turns": reader.take("low_freq_factor", float),
        "high_turns": reader.take("high_freq_factor", float),
    }


def _yarn(reader: ConfigReader, context: int) -> dict[str, Any]:
    """Read YaRN, whose factor versions of `transformers` read from different keys."""
    pretrained = reader.take("original_max_position_embeddings", int, 0)
    original = pretrained or context
    factor = reader.take("factor", float, context / original if pretrained else None)
    if pretrained and factor != context / original:
        raise ConfigError(
            f"`config.json`: the factor {factor:g} of `yarn` contradicts {context:,} positions, "
            f"{original:,} of them in pretraining",
            hint="set `max_position_embeddings` to their product: otherwise the meaning depends on "
            "the version of transformers",
        )
    reader.require("mscale", None)
    reader.require("mscale_all_dim", None)
    amplitude = 0.1 * math.log(max(factor, 1.0)) + 1.0
    return {
        "kind": "yarn",
        "factor": factor,
        "original_context": original,
        "low_turns": reader.take("beta_slow", float, 1.0),
        "high_turns": reader.take("beta_fast", float, 32.0),
        "amplitude": reader.take("attention_factor", float, amplitude),
        "whole_pairs": reader.take("truncate", bool, default=True),
    }


def _unchanged(reader: ConfigReader, context: int) -> dict[str, Any]:
    del reader, context
    return {}


_KINDS: dict[str, Callable[[ConfigReader, int], dict[str, Any]]] = {
    "default": _unchanged,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}


def fit_head(config: DecoderConfig, names: Collection[str]) -> DecoderConfig:
    """Return the configuration of a model that may be saved as its base class, without a head."""
    is_base = _EMBEDDING in names and _HEAD not in names
    return replace(config, has_head=config.tied_head or not is_base)


def convert_tensors(
    tensors: Mapping[str, Tensor], config: DecoderConfig, family: str
) -> dict[str, Tensor]:
    """Rename the tensors of a causal language model; join queries, keys, values, gate and up.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    # The base class has neither the prefix nor the head.
    prefix = "" if _EMBEDDING in tensors else "model."
    reader = TensorReader(tensors, family)
    reader.ignore(*_COMPUTED)
    converted = {
        "embedding.weight": reader.take(f"{prefix}{_EMBEDDING}"),
        "norm.weight": reader.take(f"{prefix}norm.weight"),
    }
    if config.tied_head:
        # Some writers store it a second time; the authors' code uses the embedding.
        reader.ignore(r"lm_head\.weight")
    elif config.has_head:
        converted["head.weight"] = reader.take(_HEAD)
    for number in range(config.depth):
        old, new = f"{prefix}layers.{number}", f"blocks.{number}"
        block = _attention(reader, f"{old}.self_attn", config)
        block["attention_norm.weight"] = reader.take(f"{old}.input_layernorm.weight")
        block["mlp_norm.weight"] = reader.take(f"{old}.post_attention_layernorm.weight")
        block |= _experts(reader, old, config) if config.num_experts else _mlp(reader, old, config)
        converted |= {f"{new}.{name}": tensor for name, tensor in block.items()}
    reader.finish()
    return converted


def _attention(reader: TensorReader, old: str, config: DecoderConfig) -> dict[str, Tensor]:
    parts = {}
    for kind, has in (("weight", True), ("bias", config.attention_bias)):
        if has:
            projections = [reader.take(f"{old}.{part}_proj.{kind}") for part in ("q", "k", "v")]
            parts[f"attention.qkv.{kind}"] = torch.cat(projections)
    parts["attention.out.weight"] = reader.take(f"{old}.o_proj.weight")
    if config.attention_out_bias:
        parts["attention.out.bias"] = reader.take(f"{old}.o_proj.bias")
    if config.query_key_norm:
        parts["attention.query_norm.weight"] = reader.take(f"{old}.q_norm.weight")
        parts["attention.key_norm.weight"] = reader.take(f"{old}.k_norm.weight")
    return parts


def _mlp(reader: TensorReader, old: str, config: DecoderConfig) -> dict[str, Tensor]:
    parts = {}
    for kind, has in (("weight", True), ("bias", config.mlp_bias)):
        if has:
            layers = [reader.take(f"{old}.mlp.{part}_proj.{kind}") for part in ("gate", "up")]
            parts[f"mlp.up.{kind}"] = torch.cat(layers)
            parts[f"mlp.out.{kind}"] = reader.take(f"{old}.mlp.down_proj.{kind}")
    return parts


def _experts(reader: TensorReader, old: str, config: DecoderConfig) -> dict[str, Tensor]:
    old = f"{old}.block_sparse_moe"
    parts = {"mlp.router.weight": reader.take(f"{old}.gate.weight")}
    for number in range(config.num_experts):
        expert = f"{old}.experts.{number}"
        layers = [reader.take(f"{expert}.{part}.weight") for part in ("w1", "w3")]
        parts[f"mlp.experts.{number}.up.weight"] = torch.cat(layers)
        parts[f"mlp.experts.{number}.out.weight"] = reader.take(f"{expert}.w2.weight")
    return parts


def llama_family(
    name: str,
    read_config: Callable[[Mapping[str, Any], Frame], DecoderConfig],
    convert: Callable[..., dict[str, Tensor]] = (convert_tensors),
) -> Family:
    """Declare a family of this layout, which `model_type` in `config.json` names.

    Args:
        name: Name of the family.
        read_config: Reader of `config.json`.
        convert: Conversion of the tensors, with the name of the family for messages.
    """
    return Family(
        name=name,
        recognise=lambda document: document.get("model_type") == name,
        read_config=read_config,
        convert=partial(convert, family=name),
        read_tokenizer=read_decoder_tokenizer,
        fit=fit_head,
    )
