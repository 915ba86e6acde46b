"""ProkBERT: MegatronBERT with a table of relative distances in every block.

Older files say `megatron-bert`, newer ones `prokbert`; the tensors are the same. The stock class of
`transformers` ignores the distances.
"""

from __future__ import annotations

from collections.abc import Mapping

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

_NAME = "prokbert"
_CLASSES = (
    "ProkBertConfig",
    "ProkBertModel",
    "ProkBertForMaskedLM",
    "ProkBertForSequenceClassification",
)
_MODULES = ("models", "megatronbert", "modeling_prokbert", "configuration_prokbert")
_CODE = frozenset(f"{module}.{name}" for module in _MODULES for name in _CLASSES)
# Tokenization, and heads of classification.
_HARMLESS_KEYS = frozenset(
    {
        "kmer",
        "shift",
        "bert_base_model",
        "classification_dropout_rate",
        "classifier_head_type",
        "classifier_mlp_hidden_size",
        "classifier_pooling",
        "curricular_embedding_size",
        "curricular_face_m",
        "curricular_face_s",
        "curricular_margin",
        "curricular_num_labels",
        "curricular_scale",
        "curriculum_hidden_size",
        "num_class_labels",
    }
)


def is_prokbert(document: Document) -> bool:
    """Return True for ProkBERT in either form."""
    return document.get("model_type") in ("prokbert", "megatron-bert")


def read_prokbert_config(document: Document, frame: Frame) -> EncoderConfig:
    """Read the configuration of a MegatronBERT model."""
    check_auto_map(document, _CODE, _NAME)
    reader = ConfigReader(document, _NAME)
    require_plain_encoder(reader)
    reader.ignore(HARMLESS_KEYS | _HARMLESS_KEYS)
    kind = reader.require("position_embedding_type", "absolute", "relative_key_query")
    reader.take("type_vocab_size", int, 2)
    activation = read_activation(reader)
    max_positions = reader.take("max_position_embeddings", int)
    config = EncoderConfig(
        **read_sizes(reader),
        context=max_positions - frame.size,
        frame=frame,
        positions="learned" if kind == "absolute" else "relative-key-query",
        max_positions=max_positions,
        segment=True,
        norm="pre",
        embedding_norm=False,
        final_norm=True,
        norm_eps=reader.take("layer_norm_eps", float, 1e-12),
        activation=activation,
        head_activation=activation,
        tied=reader.take("tie_word_embeddings", bool, default=True),
    )
    reader.finish()
    return config


def convert_prokbert(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename the tensors of a MegatronBERT model."""
    reader = open_bert_tensors(tensors, _NAME)
    state = take_bert_embeddings(reader, config)
    has_distances = config.positions == "relative-key-query"
    if has_distances:
        # The authors' code makes this table without use.
        reader.ignore(r"embeddings\.position_embeddings\.weight")
    for index in range(config.depth):
        old, new = f"encoder.layer.{index}", f"blocks.{index}"
        inputs = (f"{old}.attention.self.{part}" for part in ("query", "key", "value"))
        state |= take_pair(reader, f"{old}.attention.ln", f"{new}.attention_norm")
        state |= take_fused(reader, inputs, f"{new}.attention.qkv")
        state |= take_pair(reader, f"{old}.attention.output.dense", f"{new}.attention.out")
        if has_distances:
            table = f"{old}.attention.self.distance_embedding"
            state |= take_pair(reader, table, f"{new}.attention.distances", bias=False)
        state |= take_pair(reader, f"{old}.ln", f"{new}.mlp_norm")
        state |= take_pair(reader, f"{old}.intermediate.dense", f"{new}.mlp.up")
        state |= take_pair(reader, f"{old}.output.dense", f"{new}.mlp.out")
    state |= take_pair(reader, "encoder.ln", "final_norm")
    state |= take_bert_head(reader, config, state["embedding.weight"])
    reader.finish()
    return state
