"""Configurations of decoders as their authors published them: read, and with the right meaning."""

from __future__ import annotations

from typing import Any

import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.registry import find_family

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
}
METAGENE: dict[str, Any] = {
    **LLAMA,
    "_name_or_path": "metagene-ai/METAGENE-1",
    "bos_token_id": 3,
    "eos_token_id": 4,
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "mask_token_id": 5,
    "max_position_embeddings": 512,
    "max_sequence_length": 2048,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "pad_token_id": 0,
    "rope_theta": 10000.0,
    "sep_token_id": 2,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.47.0",
    "unk_token_id": 1,
    "use_cache": False,
    "vocab_size": 1024,
}
GENERATOR: dict[str, Any] = {
    **LLAMA,
    "architectures": ["GENERatorForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_generator.GENERatorForCausalLM"},
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "max_position_embeddings": 16384,
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "rope_theta": 500000.0,
    "torch_dtype": "float32",
    "transformers_version": "4.44.0",
    "use_cache": True,
    "vocab_size": 4128,
}
PLANT_DNAGEMMA: dict[str, Any] = {
    "_name_or_path": "Plant_DNAGemma",
    "architectures": ["GemmaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 1024,
    "model_type": "gemma",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "torch_dtype": "float32",
    "transformers_version": "4.39.1",
    "use_cache": True,
    "vocab_size": 4107,
}
FRAME = Frame(prefix=(1,))


def read(document: dict[str, Any]) -> DecoderConfig:
    config = find_family(document).read_config(document, FRAME)
    assert isinstance(config, DecoderConfig)
    return config


def test_metagene() -> None:
    config = read(METAGENE)
    assert (config.context, config.width, config.depth, config.head_width) == (511, 4096, 32, 128)
    assert (config.num_key_value_heads, config.norm_epsilon) == (32, 1e-5)
    assert not config.tied_head
    with pytest.raises(ConfigError, match="quantization_config"):
        read({**METAGENE, "quantization_config": {"bits": 4, "quant_method": "awq"}})


def test_generator() -> None:
    config = read(GENERATOR)
    assert (config.context, config.num_heads, config.num_key_value_heads) == (16_383, 32, 4)
    assert (config.head_width, config.rotary.base) == (64, 500_000.0)
    assert config == read({**LLAMA, **GENERATOR, "architectures": ["LlamaForCausalLM"]})
    with pytest.raises(ConfigError, match="`auto_map`"):
        read({**GENERATOR, "auto_map": {"AutoModelForCausalLM": "modeling_generator.Other"}})


def test_plant_dnagemma() -> None:
    config = read(PLANT_DNAGEMMA)
    # Heads are wider than the residual stream divided by their number.
    assert (config.num_heads * config.head_width, config.width) == (3_072, 768)
    assert (config.num_key_value_heads, config.tied_head) == (1, True)
    assert config.embedding_scale == pytest.approx(768**0.5)


def test_defaults_of_text_generation_do_not_change_the_model() -> None:
    task = {"text-generation": {"do_sample": True, "max_length": 50}}
    document = {**METAGENE, "task_specific_params": task, "temperature": 0.7, "max_length": 20}
    assert read(document) == read(METAGENE)
