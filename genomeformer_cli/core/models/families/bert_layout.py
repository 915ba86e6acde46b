"""Settings and tensors that the published layouts of BERT and its relatives share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.families.protocol import ConfigReader, TensorReader

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

# Dropout, which evaluation leaves out; settings of text generation and of other tasks' heads.
HARMLESS_KEYS = frozenset(
    {
        "attention_probs_dropout_prob",
        "bad_words_ids",
        "begin_suppress_tokens",
        "cross_attention_hidden_size",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "eos_token_ids",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "hidden_dropout_prob",
        "length_penalty",
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "num_rnn_layer",
        "output_scores",
        "prefix",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict_in_generate",
        "rnn",
        "rnn_dropout",
        "rnn_hidden",
        "split",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "top_k",
        "top_p",
        "typical_p",
        "use_bfloat16",
    }
)
# Copies of the embedding and tables of whole numbers; heads of other tasks.
_IGNORED = (
    r"(.*\.)?position_ids",
    r"(.*\.)?token_type_ids",
    r"pooler\..*",
    r"cls\.seq_relationship\..*",
)
_HEAD = ("transform.dense.weight", "transform.LayerNorm.weight", "bias", "decoder.bias")


def read_activation(reader: ConfigReader, key: str = "hidden_act") -> Any:
    """Return the name of an activation function."""
    return ACTIVATIONS[reader.require(key, *ACTIVATIONS)]


def require_plain_encoder(reader: ConfigReader) -> None:
    """Refuse decoders, cross-attention and pruned heads."""
    reader.flag("is_decoder", is_on=False)
    reader.flag("add_cross_attention", is_on=False)
    reader.flag("is_encoder_decoder", is_on=False)
    reader.require("pruned_heads", {})


def read_sizes(reader: ConfigReader, width: str = "hidden_size") -> dict[str, Any]:
    """Return the sizes that all published encoders name alike."""
    return {
        "vocabulary_size": reader.take("vocab_size", int),
        "width": reader.take(width, int),
        "depth": reader.count("num_hidden_layers"),
        "num_heads": reader.count("num_attention_heads"),
        "mlp_width": reader.take("intermediate_size", int),
        "initial_std": reader.take("initializer_range", float, 0.02),
        "initial_out_std": reader.take("initializer_range", float, 0.02),
    }


def modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the gain and bias of norms under the names of torch.

    BERT of TensorFlow says `gamma` and `beta`, and so do ESM models saved by `transformers` 5.
    """
    return {_modern_name(name): tensor for name, tensor in tensors.items()}


def _modern_name(name: str) -> str:
    if name.endswith("LayerNorm.gamma"):
        return name.removesuffix("gamma") + "weight"
    return name.removesuffix("beta") + "bias" if name.endswith("LayerNorm.beta") else name


def open_bert_tensors(tensors: Mapping[str, Tensor], family: str) -> TensorReader:
    """Return a reader of the tensors of a BERT model, with or without the prefix `bert.`."""
    reader = TensorReader(modern_names(tensors), family)
    reader.drop_prefix("bert.")
    reader.ignore(*_IGNORED)
    return reader


def take_pair(reader: TensorReader, old: str, new: str, *, bias: bool = True) -> dict[str, Tensor]:
    """Return weight and bias of a layer under its new name."""
    names = ("weight", "bias") if bias else ("weight",)
    return {f"{new}.{name}": reader.take(f"{old}.{name}") for name in names}


def take_fused(reader: TensorReader, olds: Iterable[str], new: str) -> dict[str, Tensor]:
    """Return weights and biases of several layers as those of one layer with all their outputs."""
    pairs = [take_pair(reader, old, "") for old in olds]
    return {
        f"{new}.{name}": torch.cat([pair[f".{name}"] for pair in pairs])
        for name in ("weight", "bias")
    }


def take_bert_embeddings(reader: TensorReader, config: EncoderConfig) -> dict[str, Tensor]:
    """Return the embeddings; only the first segment is used, as in the authors' code."""
    state = {
        "embedding.weight": reader.take("embeddings.word_embeddings.weight"),
        "segment": reader.take("embeddings.token_type_embeddings.weight")[0],
    }
    if config.positions == "learned":
        state["position.weight"] = reader.take("embeddings.position_embeddings.weight")
    if config.embedding_norm:
        state |= take_pair(reader, "embeddings.LayerNorm", "embedding_norm")
    return state


def take_bert_head(
    reader: TensorReader, config: EncoderConfig, embedding_VE: Tensor
) -> dict[str, Tensor]:
    """Return the head that predicts tokens; nothing if the model was published without one.

    Raises:
        CheckpointError: Tied weights differ.
    """
    head = "cls.predictions"
    if not has_any(reader, head, _HEAD):
        return {}
    state = take_pair(reader, f"{head}.transform.dense", "head.dense")
    state |= take_pair(reader, f"{head}.transform.LayerNorm", "head.norm")
    biases = [f"{head}.{name}" for name in ("bias", "decoder.bias") if f"{head}.{name}" in reader]
    state["head.bias"] = reader.take(biases[0] if biases else f"{head}.bias")
    for name in biases[1:]:
        check_same(state["head.bias"], reader.take(name), name)
    return state | take_decoder(reader, config, embedding_VE, f"{head}.decoder.weight")


def has_any(reader: TensorReader, prefix: str, names: Iterable[str]) -> bool:
    """Return True if the model was published with a part, so that none of it may be missing."""
    return any(f"{prefix}.{name}" in reader for name in names)


def take_decoder(
    reader: TensorReader, config: EncoderConfig, embedding_VE: Tensor, name: str
) -> dict[str, Tensor]:
    """Return the matrix of the head; nothing if it is that of the embedding.

    Raises:
        CheckpointError: The matrix should be that of the embedding and is not.
    """
    if not config.tied:
        return {"head.weight": reader.take(name)}
    if name in reader:
        check_same(embedding_VE, reader.take(name), name)
    return {}


def check_same(used: Tensor, copy: Tensor, name: str) -> None:
    """Check a tensor that is stored twice.

    Raises:
        CheckpointError: The copies differ.
    """
    if used.is_meta or torch.equal(used, copy):
        return
    raise CheckpointError(
        f"the tensor `{name}` differs from the one that it is tied to",
        hint="versions of the authors' code disagree on such weights; save the model again",
    )
