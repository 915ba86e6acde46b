"""BERT: DNABERT 3 to 6, GROVER, plant-dnabert; and GENA-LM, whose blocks normalise their input.

GENA-LM's configuration also says `bert`; its keys `pre_layer_norm` and `last_layer_norm` make it
another model, which the stock class of `transformers` reads without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.families.bert_layout import (
    HARMLESS_KEYS,
    open_bert_tensors,
    read_activation,
    read_sizes,
    require_plain_encoder,
    take_bert_embeddings,
    take_bert_head,
    take_fused,
    take_pair,
)
from genomeformer_cli.core.models.families.protocol import ConfigReader, Document, check_auto_map
from genomeformer_cli.core.models.framed import Frame

_BERT_CODE = frozenset(
    {"configuration_bert.BertConfig"}
    | {
        f"dnabert_layer.{name}"
        for name in (
            "BertModel",
            "BertForMaskedLM",
            "BertForPreTraining",
            "DNABertForSequenceClassification",
        )
    }
)
_GENA_CODE = frozenset(
    f"modeling_bert.{name}"
    for name in (
        "BertModel",
        "BertForMaskedLM",
        "BertForPreTraining",
        "BertForSequenceClassification",
        "BertForTokenClassification",
    )
)


def is_gena(document: Document) -> bool:
    """Return True for GENA-LM in the form of BERT."""
    return document.get("model_type") == "bert" and "pre_layer_norm" in document


def is_bert(document: Document) -> bool:
    """Return True for BERT itself: neither GENA-LM nor MosaicBERT."""
    foreign_keys = ("pre_layer_norm", "last_layer_norm", "alibi_starting_size")
    return document.get("model_type") == "bert" and not any(key in document for key in foreign_keys)


def read_bert_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a BERT model."""
    check_auto_map(document, _BERT_CODE, "bert")
    reader = ConfigReader(document, "bert")
    config = EncoderConfig(**_read_bert(reader, frame), norm="post")
    reader.finish()
    return config


def read_gena_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a GENA-LM model; a missing `last_layer_norm` means a final norm."""
    check_auto_map(document, _GENA_CODE, "gena-lm")
    reader = ConfigReader(document, "gena-lm")
    settings = _read_bert(reader, frame)
    if reader.take("pre_layer_norm", bool, default=False):
        # The authors draw the matrices that add to the stream from a narrower distribution.
        settings["initial_out_std"] = settings["initial_std"] / (2 * settings["depth"]) ** 0.5
        final_norm = reader.take("last_layer_norm", bool, default=True)
        config = EncoderConfig(**settings, norm="pre", final_norm=final_norm)
    else:
        reader.flag("last_layer_norm", is_on=False)
        config = EncoderConfig(**settings, norm="post")
    reader.finish()
    return config


def _read_bert(reader: ConfigReader, frame: Frame) -> dict[str, Any]:
    reader.require("position_embedding_type", "absolute")
    require_plain_encoder(reader)
    reader.ignore(HARMLESS_KEYS)
    reader.take("type_vocab_size", int, 2)
    activation = read_activation(reader)
    max_positions = reader.take("max_position_embeddings", int)
    return read_sizes(reader) | {
        "context": max_positions - frame.size,
        "frame": frame,
        "positions": "learned",
        "max_positions": max_positions,
        "segment": True,
        "norm_eps": reader.take("layer_norm_eps", float, 1e-12),
        "activation": activation,
        "head_activation": activation,
        "tied": reader.take("tie_word_embeddings", bool, default=True),
    }


def convert_bert(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename the tensors of a BERT or GENA-LM model."""
    is_pre = config.norm == "pre"
    reader = open_bert_tensors(tensors, "gena-lm" if is_pre else "bert")
    state = take_bert_embeddings(reader, config)
    for index in range(config.depth):
        old, new = f"encoder.layer.{index}", f"blocks.{index}"
        inputs = (f"{old}.attention.self.{part}" for part in ("query", "key", "value"))
        norms = ("pre_attention_ln", "post_attention_ln")
        if not is_pre:
            norms = ("attention.output.LayerNorm", "output.LayerNorm")
        state |= take_fused(reader, inputs, f"{new}.attention.qkv")
        state |= take_pair(reader, f"{old}.attention.output.dense", f"{new}.attention.out")
        state |= take_pair(reader, f"{old}.intermediate.dense", f"{new}.mlp.up")
        state |= take_pair(reader, f"{old}.output.dense", f"{new}.mlp.out")
        state |= take_pair(reader, f"{old}.{norms[0]}", f"{new}.attention_norm")
        state |= take_pair(reader, f"{old}.{norms[1]}", f"{new}.mlp_norm")
    if config.final_norm:
        state |= take_pair(reader, "encoder.last_layer_ln", "final_norm")
    state |= take_bert_head(reader, config, state["embedding.weight"])
    reader.finish()
    return state
