"""ESM: Nucleotide Transformer v1, AgroNT and plant-nucleotide-transformer; and version 2.

Version 2 gates the MLP (SwiGLU) without biases, and uses rotary positions without token dropout;
its `config.json` names the authors' code instead of a model type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.encoder_positions import rotary_frequencies
from genomeformer_cli.core.models.families.bert_layout import (
    HARMLESS_KEYS,
    has_any,
    modern_names,
    read_sizes,
    require_plain_encoder,
    take_decoder,
    take_fused,
    take_pair,
)
from genomeformer_cli.core.models.families.protocol import (
    ConfigReader,
    Document,
    TensorReader,
    check_auto_map,
)
from genomeformer_cli.core.models.framed import Frame

_GATED_CODE = frozenset(
    {"esm_config.EsmConfig"}
    | {
        f"modeling_esm.{name}"
        for name in (
            "EsmModel",
            "EsmForMaskedLM",
            "EsmForTokenClassification",
            "EsmForSequenceClassification",
        )
    }
)
_IGNORED = (r"(.*\.)?position_ids", r"contact_head\..*", r"pooler\..*")
# Tables of versions of the authors' code that make them for rotary models as well, without use.
_UNUSED_TABLE = r"embeddings\.position_embeddings\.weight"


def is_gated_esm(document: Document) -> bool:
    """Return True for Nucleotide Transformer version 2."""
    return document.get("model_type", "esm") == "esm" and (
        "add_bias_fnn" in document or _names_esm_code(document)
    )


def is_esm(document: Document) -> bool:
    """Return True for ESM itself."""
    return document.get("model_type") == "esm" and not is_gated_esm(document)


def _names_esm_code(document: Document) -> bool:
    auto_map = document.get("auto_map")
    references = auto_map.values() if isinstance(auto_map, Mapping) else ()
    return any(str(item).rpartition("--")[2].startswith("modeling_esm.") for item in references)


def read_esm_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a model of the stock form."""
    check_auto_map(document, (), "esm")
    reader = ConfigReader(document, "esm")
    config = EncoderConfig(**_read_esm(reader, frame), activation="gelu")
    reader.finish()
    return config


def read_gated_esm_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a model of version 2."""
    check_auto_map(document, _GATED_CODE, "nucleotide-transformer-v2")
    reader = ConfigReader(document, "nucleotide-transformer-v2")
    has_bias = reader.take("add_bias_fnn", bool, default=True)
    config = EncoderConfig(
        **_read_esm(reader, frame),
        gated=True,
        activation="silu",
        mlp_up_bias=has_bias,
        mlp_out_bias=has_bias,
    )
    reader.finish()
    return config


def _read_esm(reader: ConfigReader, frame: Frame) -> dict[str, Any]:
    require_plain_encoder(reader)
    reader.ignore(HARMLESS_KEYS | {"hidden_act", "vocab_list", "type_vocab_size"})
    reader.flag("is_folding_model", is_on=False)
    reader.require("esmfold_config", None)
    reader.require("rope_theta", 10_000.0, 10_000)
    kind = reader.require("position_embedding_type", "absolute", "rotary")
    # Positions count from the id of padding: the rows of the table up to it are never used.
    first = reader.take("pad_token_id", int) + 1
    max_positions = reader.take("max_position_embeddings", int) - first
    return read_sizes(reader) | {
        "context": max_positions - frame.size,
        "frame": frame,
        "positions": "learned" if kind == "absolute" else "rotary",
        "max_positions": max_positions,
        "norm": "pre",
        "embedding_norm": reader.take("emb_layer_norm_before", bool, default=False),
        "final_norm": True,
        "norm_eps": reader.take("layer_norm_eps", float, 1e-12),
        "token_dropout": reader.take("token_dropout", bool, default=False),
        "mask_id": reader.take("mask_token_id", int),
        "tied": reader.take("tie_word_embeddings", bool, default=True),
    }


def convert_esm(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename the tensors of a model of either form.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    frequencies = [name for name in tensors if name.endswith("rotary_embeddings.inv_freq")]
    reader = TensorReader(modern_names(tensors), "esm")
    _check_frequencies(reader, frequencies, config)
    reader.drop_prefix("esm.")
    reader.ignore(*_IGNORED)
    state = {"embedding.weight": reader.take("embeddings.word_embeddings.weight")}
    if config.positions == "learned":
        table = reader.take("embeddings.position_embeddings.weight")
        state["position.weight"] = table[len(table) - config.max_positions :]
    else:
        reader.ignore(_UNUSED_TABLE)
    if config.embedding_norm:
        state |= take_pair(reader, "embeddings.layer_norm", "embedding_norm")
    for index in range(config.depth):
        old, new = f"encoder.layer.{index}", f"blocks.{index}"
        inputs = (f"{old}.attention.self.{part}" for part in ("query", "key", "value"))
        up_bias, out_bias = config.mlp_up_bias, config.mlp_out_bias
        state |= take_pair(reader, f"{old}.attention.LayerNorm", f"{new}.attention_norm")
        state |= take_fused(reader, inputs, f"{new}.attention.qkv")
        state |= take_pair(reader, f"{old}.attention.output.dense", f"{new}.attention.out")
        state |= take_pair(reader, f"{old}.LayerNorm", f"{new}.mlp_norm")
        state |= take_pair(reader, f"{old}.intermediate.dense", f"{new}.mlp.up", bias=up_bias)
        state |= take_pair(reader, f"{old}.output.dense", f"{new}.mlp.out", bias=out_bias)
    state |= take_pair(reader, "encoder.emb_layer_norm_after", "final_norm")
    if has_any(reader, "lm_head", ("dense.weight", "layer_norm.weight", "bias")):
        state |= take_pair(reader, "lm_head.dense", "head.dense")
        state |= take_pair(reader, "lm_head.layer_norm", "head.norm")
        state["head.bias"] = reader.take("lm_head.bias")
        name = "lm_head.decoder.weight"
        state |= take_decoder(reader, config, state["embedding.weight"], name)
    reader.finish()
    return state


def _check_frequencies(reader: TensorReader, names: Iterable[str], config: EncoderConfig) -> None:
    """Check stored rotary frequencies: the authors' code uses these rather than the formula.

    Raises:
        CheckpointError: They are not those of the formula.
    """
    for name in names:
        stored_R = reader.take(name)
        if stored_R.is_meta:
            continue
        expected_R = rotary_frequencies(config.width // config.num_heads, config.rotary_base)
        if stored_R.shape != expected_R.shape or not torch.allclose(stored_R.float(), expected_R):
            raise CheckpointError(
                f"the tensor `{name}` holds other frequencies than rotary positions of base "
                f"{config.rotary_base:g}",
                hint="this model needs a port that this version does not have",
            )
