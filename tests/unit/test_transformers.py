"""Bundles in the automatic classes of transformers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.errors import (
    CheckpointError,
    ConfigError,
    CorruptError,
    MissingExtraError,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, write_model
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release.storage import Storage
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.bundles import make_bundle
from tests.published_tokenizers import read

transformers = pytest.importorskip("transformers")
SEQUENCES = ["ACGTTGCATTACGNACG", "ggatca"]
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
SIZES: dict[str, Any] = {"context": 32, "width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24}
CONFIGS = {
    "masked": ModelConfig(**SIZES, conv_width=3),
    "causal": ModelConfig(**SIZES, direction="causal", attention=AttentionConfig(name="linear")),
    "two stacks": ModelConfig(**SIZES, direction="two-stack", complement=COMPLEMENT, patch=4),
    "both strands": ModelConfig(**SIZES, strands="both", complement=COMPLEMENT),
}


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    import genomeformer_cli.transformers  # noqa: F401


def rows_of(folder: Path) -> Any:
    """Return the padded batch of the tokenizer of a bundle."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer(SEQUENCES, padding=True, return_tensors="pt", return_token_type_ids=False)


def expected(loaded: LoadedModel, sequence: str, layer: int) -> torch.Tensor:
    """Return the features of one sequence, without padding."""
    ids = loaded.tokenizer.encode(encode_bases(sequence)).astype("int64")
    return loaded.model.hidden_layers(torch.from_numpy(ids)[None], None, (layer,))[0][0]


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_features_and_logits_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    loaded = make_bundle(tmp_path / "bundle", config=CONFIGS[name])
    rows = rows_of(tmp_path / "bundle")
    model = transformers.AutoModel.from_pretrained(tmp_path / "bundle")
    output = model(**rows, output_hidden_states=True)
    assert len(output.hidden_states) == 3
    causal = name == "causal"
    auto = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    headed = auto.from_pretrained(tmp_path / "bundle")
    for number, sequence in enumerate(SEQUENCES):
        for layer in (0, 1, 2):
            features_LE = expected(loaded, sequence, layer)
            found_LE = output.hidden_states[layer][number, : len(sequence)]
            torch.testing.assert_close(found_LE, features_LE, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            headed(**rows).logits[number, : len(sequence)],
            loaded.model.logits(features_LE),
            atol=1e-5,
            rtol=1e-5,
        )


def test_losses_are_those_of_the_labels(tmp_path: Path) -> None:
    for name in ("masked", "causal"):
        make_bundle(tmp_path / name, config=CONFIGS[name])
    ids = torch.randint(5, 9, (2, 12), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.arange(12) % 3 > 0, -100)
    masked = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "masked")
    output = masked(ids, labels=labels)
    wanted = torch.nn.functional.cross_entropy(
        output.logits[:, ::3].flatten(0, 1), ids[:, ::3].flatten()
    )
    torch.testing.assert_close(output.loss, wanted)
    causal = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "causal")
    output = causal(ids, labels=ids)
    wanted = torch.nn.functional.cross_entropy(
        output.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    )
    torch.testing.assert_close(output.loss, wanted)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in causal.parameters())


@torch.no_grad()
def test_tokens_around_a_sequence_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = read("byte pairs, bytes", tmp_path / "authors")
    frame = Frame(pad_id=tokenizer.pad_id, prefix=tokenizer.prefix_ids, suffix=tokenizer.suffix_ids)
    config = DecoderConfig(frame=frame, vocabulary_size=len(tokenizer.tokens))
    loaded = LoadedModel(model=build_model(config).eval(), tokenizer=tokenizer, folder=tmp_path)
    write_model(loaded.model, tokenizer, tmp_path)
    seal(tmp_path)
    rows = rows_of(tmp_path)
    assert rows.input_ids[0, 0] == frame.prefix[0]
    found = transformers.AutoModel.from_pretrained(tmp_path)(**rows).last_hidden_state
    features_LE = expected(loaded, SEQUENCES[0], 2)
    torch.testing.assert_close(found[0, 1 : 1 + len(features_LE)], features_LE)


def test_eight_bits_and_other_types_are_read(tmp_path: Path) -> None:
    loaded = make_bundle(
        tmp_path / "bundle",
        config=ModelConfig(context=32, width=64),
        storage=Storage(quantize="int8"),
    )
    model = transformers.AutoModel.from_pretrained(tmp_path / "bundle")
    assert all(
        torch.equal(tensor, model.network.state_dict()[name])
        for name, tensor in loaded.model.state_dict().items()
    )
    half = transformers.AutoModel.from_pretrained(tmp_path / "bundle", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_a_saved_model_is_a_folder_of_ours(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    model = transformers.AutoModel.from_pretrained(tmp_path / "bundle")
    with torch.no_grad():
        model.network.head.weight.add_(1)
    model.save_pretrained(tmp_path / "saved")
    again = read_model(tmp_path / "saved")
    assert isinstance(again.tokenizer, CharTokenizer)
    assert torch.equal(again.model.state_dict()["head.weight"], model.network.head.weight)
    with pytest.raises(ConfigError, match="`push_to_hub`"):
        model.save_pretrained(tmp_path / "saved", push_to_hub=True)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "bundle")
    with pytest.raises(CheckpointError, match="without a tokenizer"):
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "other")


def test_a_configuration_has_the_sizes_of_transformers(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", config=CONFIGS["masked"])
    config = transformers.AutoConfig.from_pretrained(tmp_path / "bundle")
    assert config.model_type == "genomeformer-encoder"
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (16, 2, 10)
    config.save_pretrained(tmp_path / "config")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "config").model == config.model


def test_what_cannot_be_computed_is_refused(tmp_path: Path) -> None:
    for name in ("masked", "causal"):
        make_bundle(tmp_path / name, config=CONFIGS[name])
    with pytest.raises(ConfigError, match="is causal"):
        transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "causal")
    with pytest.raises(ConfigError, match="not causal"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "masked")
    with pytest.raises(ConfigError, match="`device_map`"):
        transformers.AutoModel.from_pretrained(tmp_path / "masked", device_map="cpu")
    model = transformers.AutoModel.from_pretrained(tmp_path / "masked")
    with pytest.raises(ConfigError, match="padding stands before"):
        model(torch.tensor([[0, 5]]), attention_mask=torch.tensor([[0, 1]]))


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    path = tmp_path / "bundle" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        transformers.AutoModel.from_pretrained(tmp_path / "bundle")


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "genomeformer_cli.transformers", raising=False)
    with pytest.raises(MissingExtraError, match="`transformers`") as caught:
        importlib.import_module("genomeformer_cli.transformers")
    assert "pip install" in str(caught.value.hint)
