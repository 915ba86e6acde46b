"""Families of decoders: strict reading of `config.json` and of the tensors."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.models.decoder import Decoder, DecoderConfig
from genomeformer_cli.core.models.families import (
    eurobert,
    gemma,
    gpt2,
    llama,
    mistral,
    mixtral,
    qwen3,
)
from genomeformer_cli.core.models.framed import Frame

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "vocab_size": 12,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
DOCUMENTS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "llama": (llama, {**SIZES, "architectures": ["LlamaForCausalLM"]}),
    "mistral": (mistral, {**SIZES, "architectures": ["MistralForCausalLM"]}),
    "mixtral": (
        mixtral,
        {
            **SIZES,
            "architectures": ["MixtralForCausalLM"],
            "num_local_experts": 3,
            "num_experts_per_tok": 2,
        },
    ),
    "qwen3": (qwen3, {**SIZES, "architectures": ["Qwen3ForCausalLM"], "head_dim": 4}),
    "gemma": (gemma, {**SIZES, "architectures": ["GemmaForCausalLM"], "head_dim": 4}),
    "eurobert": (
        eurobert,
        {**SIZES, "architectures": ["EuroBertForMaskedLM"], "pad_token_id": 0},
    ),
    "gpt2": (
        gpt2,
        {
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": 12,
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
        },
    ),
}
LLAMA_LIKE = [name for name in DOCUMENTS if name != "gpt2"]


def document_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return a valid `config.json` of a family with some settings changed."""
    return {"model_type": name, **DOCUMENTS[name][1], **changes}


def read(name: str, **changes: Any) -> Any:
    """Read a valid `config.json` with some settings changed."""
    return DOCUMENTS[name][0].read_config(document_of(name, **changes), Frame())


def tensors_of(name: str, folder: Path) -> tuple[Any, dict[str, Tensor]]:
    """Return a configuration, and tensors on `meta` with their published names."""
    config = transformers.AutoConfig.for_model(**document_of(name))
    stock = getattr(transformers, document_of(name)["architectures"][0])
    stock(config).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    return read(name), {key: tensor.to("meta") for key, tensor in tensors.items()}


BASES = {"GPT2LMHeadModel": "GPT2Model", "EuroBertForMaskedLM": "EuroBertModel"}


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_base_class_has_the_features_of_the_whole_model(
    name: str, tmp_path: Path, is_tied: bool
) -> None:
    (architecture,) = document_of(name)["architectures"]
    base = BASES.get(architecture, architecture.replace("ForCausalLM", "Model"))
    settings = {"tie_word_embeddings": is_tied}
    stock = transformers.AutoConfig.for_model(**document_of(name, **settings))
    whole = getattr(transformers, architecture)(stock)
    features = {}
    for kind, model in {architecture: whole, base: whole.base_model}.items():
        model.save_pretrained(tmp_path / kind)
        tensors = load_file(tmp_path / kind / "model.safetensors")
        config = read(name, architectures=[kind], **settings)
        family = DOCUMENTS[name][0].FAMILY
        config = family.fit(config, tensors.keys())
        ours = Decoder(config)
        ours.load_state_dict(family.convert(tensors, config))
        tokens_1L = torch.arange(2, 12)[None]
        features[kind] = ours.eval().hidden(tokens_1L, None)[0]
        assert config.has_head == (kind == architecture or is_tied)
        if not config.has_head:
            with pytest.raises(ConfigError, match="without a head"):
                ours.logits(features[kind])
    assert torch.equal(*features.values())
    # A head that only the whole model has must not be lost unnoticed.
    if not is_tied:
        tensors = load_file(tmp_path / architecture / "model.safetensors")
        del tensors["lm_head.weight"]
        config = family.fit(read(name, **settings), tensors.keys())
        with pytest.raises(CheckpointError, match="lm_head"):
            family.convert(tensors, config)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_family_recognises_its_own_documents_alone(name: str) -> None:
    family = DOCUMENTS[name][0]
    assert [other for other in DOCUMENTS if family.FAMILY.recognise(document_of(other))] == [name]


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("logit_softcapping", 30.0),
        ("quantization_config", {"quant_method": "fbgemm_fp8"}),
        ("alibi", True),
        ("hidden_act", "relu"),
        ("activation_function", "relu"),
        ("architectures", ["OtherForCausalLM"]),
        ("architectures", ["LlamaForSequenceClassification"]),
        ("auto_map", {"AutoModelForCausalLM": "modeling_own.OwnModel"}),
    ],
)
def test_what_is_not_ported_is_refused_by_name(name: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read(name, **{key: value})
    assert f"`{key}`" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_size_is_needed_and_checked(name: str) -> None:
    document = DOCUMENTS[name][1]
    sizes = [key for key, value in document.items() if isinstance(value, int) and value]
    assert len(sizes) >= 5
    for key in sizes:
        for wrong in (0, -3, 2.5, "7", True):
            with pytest.raises(ConfigError):
                read(name, **{key: wrong})
        if key == "num_key_value_heads" and name in ("llama", "eurobert"):
            continue
        incomplete = document_of(name)
        del incomplete[key]
        with pytest.raises(ConfigError, match=key):
            DOCUMENTS[name][0].read_config(incomplete, Frame())


@pytest.mark.parametrize("name", LLAMA_LIKE)
def test_sizes_that_no_model_has_are_refused_at_once(name: str) -> None:
    for key in ("num_hidden_layers", "num_local_experts"):
        if key in document_of(name):
            with pytest.raises(ConfigError):
                read(name, **{key: 10**12})
    for key in ("rms_norm_eps", "initializer_range"):
        with pytest.raises(ConfigError):
            read(name, **{key: -1e-6})


@pytest.mark.parametrize("name", LLAMA_LIKE)
@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
        {"rope_type": "linear", "factor": 2.0, "surprise": 1},
        {"rope_type": "linear", "type": "yarn", "factor": 2.0},
        {"rope_type": "linear", "factor": 0.0},
        {"rope_type": "linear"},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0},
        {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0},
    ],
    ids=lambda scaling: "-".join(map(str, scaling.values())),
)
def test_unknown_scalings_of_rotary_positions_are_refused(
    name: str, scaling: dict[str, Any]
) -> None:
    for key in ("rope_scaling", "rope_parameters"):
        with pytest.raises(ConfigError):
            read(name, **{key: scaling})


def test_a_factor_of_yarn_that_versions_of_transformers_read_differently_is_refused() -> None:
    scaling = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}
    with pytest.raises(ConfigError, match="contradicts"):
        read("llama", rope_scaling=scaling)
    long = read("llama", rope_scaling=scaling, max_position_embeddings=128)
    assert (long.rotary.factor, long.rotary.original_context) == (2.0, 64)


@pytest.mark.parametrize("name", LLAMA_LIKE)
def test_both_layouts_of_rotary_positions_have_one_meaning(name: str) -> None:
    old = read(name, rope_theta=500.0, rope_scaling={"type": "linear", "factor": 2})
    new = read(name, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0})
    assert old == new
    assert (old.rotary.base, old.rotary.kind, old.rotary.factor) == (500.0, "linear", 2.0)
    assert read(name, rope_theta=9.0, rope_parameters={"rope_theta": 9.0}).rotary.base == 9.0
    with pytest.raises(ConfigError, match="contradict"):
        read(name, rope_theta=500.0, rope_parameters={"rope_type": "default", "rope_theta": 9.0})
    with pytest.raises(ConfigError, match="contradict"):
        read(
            name,
            rope_scaling={"rope_type": "linear", "factor": 2.0},
            rope_parameters={"rope_type": "linear", "factor": 3.0},
        )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_frame_takes_places_of_the_context(name: str) -> None:
    frame = Frame(prefix=(1,), suffix=(2, 3))
    family, _ = DOCUMENTS[name]
    assert family.read_config(document_of(name), frame).context == 61
    with pytest.raises(ConfigError):
        family.read_config(document_of(name), Frame(prefix=(1,) * 64))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_configuration_is_saved_and_read_again(name: str) -> None:
    config = DOCUMENTS[name][0].read_config(document_of(name), Frame(prefix=(1,), suffix=(2, 3)))
    plain = json.loads(json.dumps(to_plain(config)))
    assert from_plain(DecoderConfig, plain, where="config.json") == config


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tensors_are_converted_without_their_numbers(name: str, tmp_path: Path) -> None:
    config, tensors = tensors_of(name, tmp_path)
    converted = DOCUMENTS[name][0].FAMILY.convert(tensors, config)
    own = Decoder(config).state_dict()
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in own.items()
    }
    assert all(tensor.is_meta for tensor in converted.values())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_tensor_too_many_or_too_few_is_refused_by_name(name: str, tmp_path: Path) -> None:
    config, tensors = tensors_of(name, tmp_path)
    convert = DOCUMENTS[name][0].FAMILY.convert
    with pytest.raises(CheckpointError, match="surprise"):
        convert({**tensors, "model.surprise": torch.zeros(1)}, config)
    for missing in tensors:
        with pytest.raises(CheckpointError, match=missing.removeprefix("transformer.")):
            convert({key: item for key, item in tensors.items() if key != missing}, config)


def test_tables_of_old_versions_are_not_read(tmp_path: Path) -> None:
    config, tensors = tensors_of("llama", tmp_path)
    tables = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(2)}
    assert (
        llama.FAMILY.convert({**tensors, **tables}, config).keys()
        == Decoder(config).state_dict().keys()
    )
    config, tensors = tensors_of("gpt2", tmp_path)
    masks = {"transformer.h.0.attn.bias": torch.zeros(1), "h.1.attn.masked_bias": torch.zeros(1)}
    assert (
        gpt2.FAMILY.convert({**tensors, **masks}, config).keys()
        == Decoder(config).state_dict().keys()
    )


def test_learned_positions_end() -> None:
    model = Decoder(read("gpt2"))
    with pytest.raises(ConfigError, match="64 positions, not 65"):
        model.hidden(torch.ones(1, 65, dtype=torch.long), None)


def test_initial_weights_follow_the_seed() -> None:
    config = read("gpt2")
    one, again, other = (Decoder(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["blocks.0.mlp.up.weight"], other["blocks.0.mlp.up.weight"])
    assert one["blocks.0.mlp.out.weight"].std() < 0.8 * one["blocks.0.mlp.up.weight"].std()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "linear", "yarn", "llama3", "default", "silu", "full_attention"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rope_type", "type", "factor", "rope_theta", "beta_fast", "other"]),
            inner,
        )
    ),
    max_leaves=5,
)
KEYS = (
    *("rope_scaling", "rope_parameters", "rope_theta", "layer_types", "sliding_window"),
    *("use_sliding_window", "max_window_layers", "head_dim", "attention_bias", "mlp_bias"),
    *("tie_word_embeddings", "rms_norm_eps", "layer_norm_epsilon", "auto_map", "architectures"),
    *("n_inner", "num_experts_per_tok", "hidden_act", "initializer_range"),
)


@given(name=st.sampled_from(list(DOCUMENTS)), data=st.data())
def test_any_values_are_read_or_refused(name: str, data: st.DataObject) -> None:
    keys = sorted({*document_of(name), *KEYS} - {"model_type"})
    changes = data.draw(st.dictionaries(st.sampled_from(keys), VALUES, min_size=1, max_size=3))
    with suppress(ConfigError):
        config = read(name, **changes)
        assert len(config.windows) in (0, config.depth)
        # Weights of other sizes are refused by their headers, see `model_io.skeleton`.
        if config.head_width < 1_000:
            assert config.rotary.frequencies(config.head_width).isfinite().all()
