"""Published encoders: every key and tensor matters, is known not to, or the model is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.families.bert_layout import HARMLESS_KEYS
from genomeformer_cli.core.models.families.protocol import GENERAL_KEYS
from genomeformer_cli.core.models.framed import Frame
from tests.published_models import ENCODERS, RECORDED, find_encoder, read_recorded

FRAME = Frame(pad_id=1, prefix=(2,), suffix=(3,))
MODERNBERT: dict[str, Any] = {
    "model_type": "modernbert",
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "max_position_embeddings": 64,
    "global_attn_every_n_layers": 2,
    "global_rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0,
    "local_attention": 16,
}
# Settings of other tasks, and of tables whose size the tensors show.
UNUSED_KEYS = (
    GENERAL_KEYS | HARMLESS_KEYS | {"alibi_starting_size", "type_vocab_size", "kmer", "shift"}
)
UNUSED_KEYS |= {"curricular_margin", "curricular_scale"}


def read(document: dict[str, Any]) -> EncoderConfig:
    """Read a configuration by the one family that recognises it."""
    config = ENCODERS[find_encoder(document)].read_config(document, FRAME)
    assert isinstance(config, EncoderConfig)
    return config


@pytest.fixture(params=[*RECORDED, "modernbert"])
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "modernbert":
        return dict(MODERNBERT)
    return read_recorded(request.param)[0]


def test_every_number_changes_the_configuration_or_is_known_not_to(
    document: dict[str, Any],
) -> None:
    config = read(document)
    numbers = {
        key: value
        for key, value in document.items()
        if isinstance(value, int | float) and key not in UNUSED_KEYS
    }
    assert len(numbers) >= 5
    for key, value in numbers.items():
        changed = not value if isinstance(value, bool) else value * 2
        try:
            assert read({**document, key: changed}) != config, key
        except ConfigError:
            continue


def test_an_unknown_key_is_refused_by_name(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="unknown key `sparse_attention`"):
        read({**document, "sparse_attention": {"block": 64}})


def test_code_that_is_not_ported_is_refused_by_name(document: dict[str, Any]) -> None:
    name = next(iter((document.get("auto_map") or {"AutoModel": "x"}).values()))
    auto_map = {"AutoModel": name, "AutoModelForMaskedLM": "modeling_new.NewModel"}
    if name == "x":
        auto_map.pop("AutoModel")
    with pytest.raises(ConfigError, match=r"modeling_new\.NewModel"):
        read({**document, "auto_map": auto_map})


def test_decoders_and_other_positions_are_refused(document: dict[str, Any]) -> None:
    if document.get("model_type") == "modernbert":
        with pytest.raises(ConfigError, match="`rope_scaling` is"):
            read({**document, "rope_scaling": {"rope_type": "yarn"}})
        return
    for key, value in (("is_decoder", True), ("position_embedding_type", "relative_key")):
        with pytest.raises(ConfigError, match=f"`{key}` is `{value}`"):
            read({**document, key: value})


@pytest.mark.parametrize("name", RECORDED)
def test_every_tensor_is_used_or_known_not_to_matter(name: str) -> None:
    document, tensors = read_recorded(name)
    layout, config = ENCODERS[find_encoder(document)], read(document)
    whole = layout.convert(tensors, config)
    used: list[str] = []
    for missing in tensors:
        rest = {key: item for key, item in tensors.items() if key != missing}
        try:
            assert layout.convert(rest, config).keys() == whole.keys()
        except CheckpointError:
            used.append(missing)
    unused = {key.split(".")[-2] for key in tensors.keys() - set(used)}
    copies = {"decoder", "predictions", "position_embeddings", "rotary_embeddings", "embeddings"}
    assert unused <= copies | {"dense", "seq_relationship"}
    with pytest.raises(CheckpointError, match=r"a tensor `.*adapter"):
        layout.convert({**tensors, "encoder.layer.0.adapter.weight": torch.zeros(1)}, config)


def test_a_tied_matrix_that_differs_is_refused() -> None:
    document, tensors = read_recorded("dnabert2")
    tensors["cls.predictions.decoder.weight"] = tensors["cls.predictions.decoder.weight"] + 1
    with pytest.raises(CheckpointError, match="differs from the one that it is tied to"):
        ENCODERS["dnabert2"].convert(tensors, read(document))


def test_other_rotary_frequencies_are_refused() -> None:
    document, tensors = read_recorded("nucleotide-transformer-v2")
    name = next(key for key in tensors if key.endswith("inv_freq"))
    tensors[name] = tensors[name] * 2
    with pytest.raises(CheckpointError, match="holds other frequencies"):
        ENCODERS["nucleotide-transformer-v2"].convert(tensors, read(document))


@pytest.mark.parametrize("name", ["dnabert2", "gena-lm", "nucleotide-transformer", "prokbert"])
def test_a_model_without_a_head_has_its_other_tensors(name: str) -> None:
    document, tensors = read_recorded(name)
    layout, config = ENCODERS[find_encoder(document)], read(document)
    prefixes = ("cls.", "lm_head.")
    body = {
        key.removeprefix("bert.").removeprefix("esm."): item
        for key, item in tensors.items()
        if not key.startswith(prefixes)
    }
    whole: dict[str, Tensor] = layout.convert(tensors, config)
    converted = layout.convert(body, config)
    assert converted.keys() == {key for key in whole if not key.startswith("head.")}


def test_gena_without_the_key_has_a_final_norm() -> None:
    document, _ = read_recorded("gena-lm-final-norm")
    assert "last_layer_norm" not in document
    assert read(document).final_norm
    assert not read({**document, "last_layer_norm": False}).final_norm
    assert read({**document, "pre_layer_norm": False}).norm == "post"


def test_modernbert_of_both_versions_has_equal_blocks() -> None:
    old = read(MODERNBERT)
    assert old.local_blocks == (2, 4)
    assert (old.local_window, old.rotary_base, old.local_rotary_base) == (8, 160_000.0, 10_000.0)
    new = {
        key: value
        for key, value in MODERNBERT.items()
        if not key.startswith(("global_", "local_rope"))
    }
    assert (read(new).rotary_base, read(new).local_rotary_base) == (160_000.0, 10_000.0)
    new["layer_types"] = ["full_attention", "sliding_attention"] * 2
    new["rope_parameters"] = {
        "full_attention": {"rope_type": "default", "rope_theta": 160_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    }
    assert read(new) == old
    for changed in (
        {"layer_types": ["full_attention", "chunked_attention"] * 2},
        {"layer_types": ["full_attention"]},
        {"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2}}},
    ):
        with pytest.raises(ConfigError, match=r"layer_types|rope_parameters"):
            read({**new, **changed})


@pytest.mark.parametrize("kind", ["big_bird", "distilbert", "roberta", "deberta-v2"])
def test_other_encoders_are_not_recognised(kind: str) -> None:
    assert not any(layout.recognise({"model_type": kind}) for layout in ENCODERS.values())


# Keys and values of `config.json` as published on the Hub, without those that all of them share.
DNABERT: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "auto_map": {
        "AutoConfig": "configuration_bert.BertConfig",
        "AutoModel": "dnabert_layer.BertModel",
        "AutoModelForMaskedLM": "dnabert_layer.BertForMaskedLM",
        "AutoModelForPreTraining": "dnabert_layer.BertForPreTraining",
        "AutoModelForSequenceClassification": "dnabert_layer.DNABertForSequenceClassification",
    },
    "bos_token_id": 0,
    "do_sample": False,
    "eos_token_ids": 0,
    "finetuning_task": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "length_penalty": 1.0,
    "max_length": 20,
    "num_beams": 1,
    "num_return_sequences": 1,
    "num_rnn_layer": 1,
    "output_past": True,
    "pad_token_id": 0,
    "pruned_heads": {},
    "repetition_penalty": 1.0,
    "rnn": "lstm",
    "rnn_dropout": 0.0,
    "rnn_hidden": 768,
    "split": 10,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "torchscript": False,
    "use_bfloat16": False,
    "vocab_size": 4101,
}
BASE: dict[str, Any] = {
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "attention_probs_dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "torch_dtype": "float32",
    "transformers_version": "4.28.0",
    "use_cache": True,
}
BERT_LAYERS = {
    "AutoConfig": "zhihan1996/DNABERT-2-117M--configuration_bert.BertConfig",
    "AutoModel": "zhihan1996/DNABERT-2-117M--bert_layers.BertModel",
    "AutoModelForMaskedLM": "bert_layers.BertForMaskedLM",
    "AutoModelForSequenceClassification": "bert_layers.BertForSequenceClassification",
}
ESM: dict[str, Any] = {
    "architectures": ["EsmForMaskedLM"],
    "emb_layer_norm_before": False,
    "esmfold_config": None,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 24,
    "is_folding_model": False,
    "layer_norm_eps": 1e-12,
    "mask_token_id": 2,
    "max_position_embeddings": 1002,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "tie_word_embeddings": False,
    "token_dropout": True,
    "vocab_list": None,
    "vocab_size": 4105,
}
ESM_CODE = {
    "AutoConfig": "esm_config.EsmConfig",
    "AutoModelForMaskedLM": "modeling_esm.EsmForMaskedLM",
    "AutoModelForTokenClassification": "modeling_esm.EsmForTokenClassification",
    "AutoModelForSequenceClassification": "modeling_esm.EsmForSequenceClassification",
}
PROKBERT = {
    **BASE,
    "hidden_size": 384,
    "intermediate_size": 4096,
    "num_attention_heads": 6,
    "num_hidden_layers": 6,
    "max_position_embeddings": 2048,
    "position_embedding_type": "relative_key_query",
    "vocab_size": 4200,
}
# Configuration, family, and tokens of the context with one token before and one after a sequence.
PUBLISHED: dict[str, tuple[dict[str, Any], str, int]] = {
    "DNA_bert_6": ({**BASE, **DNABERT}, "bert", 510),
    "plant-dnabert-6mer": (
        {**BASE, "model_type": "bert", "pad_token_id": 0, "vocab_size": 4107},
        "bert",
        510,
    ),
    "DNABERT-2-117M": (
        {**BASE, "alibi_starting_size": 512, "auto_map": BERT_LAYERS, "vocab_size": 4096},
        "dnabert2",
        510,
    ),
    "DNABERT-S": (
        {
            **BASE,
            "model_type": "bert",
            "architectures": ["BertModel"],
            "alibi_starting_size": 512,
            "auto_map": BERT_LAYERS,
            "classifier_dropout": None,
            "gradient_checkpointing": False,
            "pad_token_id": 0,
            "vocab_size": 4096,
        },
        "dnabert2",
        510,
    ),
    "gena-lm-bert-base": (
        {
            **BASE,
            "model_type": "bert",
            "auto_map": {"AutoModel": "modeling_bert.BertForMaskedLM"},
            "pad_token_id": 3,
            "pre_layer_norm": True,
            "last_layer_norm": False,
            "vocab_size": 32000,
        },
        "gena-lm",
        510,
    ),
    "nucleotide-transformer-500m-human-ref": (
        {**ESM, "model_type": "esm"},
        "nucleotide-transformer",
        998,
    ),
    "nucleotide-transformer-v2-500m-multi-species": (
        {
            **ESM,
            "add_bias_fnn": False,
            "auto_map": ESM_CODE,
            "position_embedding_type": "rotary",
            "token_dropout": False,
            "max_position_embeddings": 2050,
            "vocab_size": 4107,
        },
        "nucleotide-transformer-v2",
        2046,
    ),
    "prokbert-mini-long, first": (
        {**PROKBERT, "model_type": "megatron-bert", "pad_token_id": 0},
        "prokbert",
        2046,
    ),
    "prokbert-mini-long": (
        {
            **PROKBERT,
            "model_type": "prokbert",
            "auto_map": {
                "AutoConfig": "models.ProkBertConfig",
                "AutoModel": "neuralbioinfo/prokbert-mini-long--models.ProkBertModel",
                "AutoModelForMaskedLM": "models.ProkBertForMaskedLM",
                "AutoModelForSequenceClassification": "models.ProkBertForSequenceClassification",
            },
            "classification_dropout_rate": 0.1,
            "kmer": 6,
            "shift": 2,
        },
        "prokbert",
        2046,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_configurations_of_the_hub_are_read(name: str) -> None:
    document, family, context = PUBLISHED[name]
    assert find_encoder(document) == family
    config = read(document)
    assert config.context == context
    sizes = (config.width, config.depth, config.num_heads, config.mlp_width)
    assert sizes == (
        document["hidden_size"],
        document["num_hidden_layers"],
        document["num_attention_heads"],
        document["intermediate_size"],
    )
