"""DNABERT-2 and DNABERT-S: MosaicBERT, with ALiBi, a gated MLP and one matrix for q, k and v."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.families.bert_layout import (
    HARMLESS_KEYS,
    open_bert_tensors,
    read_sizes,
    require_plain_encoder,
    take_bert_embeddings,
    take_bert_head,
    take_pair,
)
from genomeformer_cli.core.models.families.protocol import ConfigReader, Document, check_auto_map
from genomeformer_cli.core.models.framed import Frame

_NAME = "dnabert2"
_CODE = frozenset(
    {"configuration_bert.BertConfig"}
    | {
        f"bert_layers.{name}"
        for name in ("BertModel", "BertForMaskedLM", "BertForSequenceClassification")
    }
)


def is_dnabert2(document: Document) -> bool:
    """Return True for MosaicBERT; the published files of DNABERT-2 name no model type."""
    return document.get("model_type", "bert") == "bert" and "alibi_starting_size" in document


def read_dnabert2_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a MosaicBERT model."""
    check_auto_map(document, _CODE, _NAME)
    reader = ConfigReader(document, _NAME)
    require_plain_encoder(reader)
    reader.ignore(HARMLESS_KEYS)
    # Size of the first table of biases, which grows with the rows.
    reader.take("alibi_starting_size", int)
    # The authors' code has no table of positions in spite of this setting.
    reader.require("position_embedding_type", "absolute")
    reader.require("hidden_act", "gelu")
    reader.flag("tie_word_embeddings", is_on=True)
    reader.take("type_vocab_size", int, 2)
    config = EncoderConfig(
        **read_sizes(reader),
        context=reader.take("max_position_embeddings", int) - frame.size,
        frame=frame,
        positions="alibi",
        segment=True,
        norm="post",
        norm_eps=reader.take("layer_norm_eps", float, 1e-12),
        gated=True,
        activation="gelu",
        mlp_up_bias=False,
    )
    reader.finish()
    return config


def convert_dnabert2(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename the tensors of a MosaicBERT model."""
    reader = open_bert_tensors(tensors, _NAME)
    state = take_bert_embeddings(reader, config)
    for index in range(config.depth):
        old, new = f"encoder.layer.{index}", f"blocks.{index}"
        state |= take_pair(reader, f"{old}.attention.self.Wqkv", f"{new}.attention.qkv")
        state |= take_pair(reader, f"{old}.attention.output.dense", f"{new}.attention.out")
        state |= take_pair(reader, f"{old}.attention.output.LayerNorm", f"{new}.attention_norm")
        state |= take_pair(reader, f"{old}.mlp.gated_layers", f"{new}.mlp.up", bias=False)
        state |= take_pair(reader, f"{old}.mlp.wo", f"{new}.mlp.out")
        state |= take_pair(reader, f"{old}.mlp.layernorm", f"{new}.mlp_norm")
    state |= take_bert_head(reader, config, state["embedding.weight"])
    reader.finish()
    return state
