"""Decoders against the stock classes of transformers: every hidden state and the logits.

Shape letters: B rows, L length, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

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

LONGEST = 130
# At, below and above windows, and the longest.
LENGTHS = (1, 2, 8, 9, 10, 11, 12, 13, 33, 64, LONGEST - 1, LONGEST)
# Every length up to that of short windows, then every fourth.
ALL_LENGTHS = (*range(1, 18), *range(20, LONGEST, 4), LONGEST)
SIZES: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "initializer_range": 0.12,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
GPT2: dict[str, Any] = {
    "vocab_size": 23,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 132,
    "initializer_range": 0.12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@dataclasses.dataclass(frozen=True)
class Oracle:
    """Stock class and settings of a tiny random model."""

    family: ModuleType  # Module of the family.
    name: str  # Prefix of the stock classes.
    settings: dict[str, Any]  # Settings of the configuration.
    head: str = "ForCausalLM"  # Suffix of the class with the head.

    def build(self) -> Any:
        """Return a random model."""
        config = getattr(transformers, f"{self.name}Config")(**self.settings)
        torch.manual_seed(5)
        model = getattr(transformers, f"{self.name}{self.head}")(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # Gains of 1 and biases of 0 would hide that they are exchanged.
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
                assert parameter.abs().sum() > 0, name
        return model


ORACLES = {
    "llama": Oracle(llama, "Llama", SIZES),
    "llama-one-group": Oracle(llama, "Llama", {**SIZES, "num_key_value_heads": 1}),
    "llama-all-heads": Oracle(
        llama, "Llama", {**SIZES, "num_key_value_heads": 6, "rms_norm_eps": 1e-2}
    ),
    "llama-biases-tied": Oracle(
        llama,
        "Llama",
        {**SIZES, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "llama-wide-heads": Oracle(llama, "Llama", {**SIZES, "head_dim": 10}),
    "llama-base": Oracle(
        llama, "Llama", {**SIZES, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    ),
    "llama-linear": Oracle(
        llama, "Llama", {**SIZES, "rope_parameters": {"rope_type": "linear", "factor": 3.0}}
    ),
    "llama-llama3": Oracle(
        llama,
        "Llama",
        {**SIZES, "head_dim": 32, "rope_parameters": {**LLAMA3, "rope_theta": 100.0}},
    ),
    "llama-yarn": Oracle(llama, "Llama", {**SIZES, "head_dim": 32, "rope_parameters": YARN}),
    "llama-yarn-settings": Oracle(
        llama,
        "Llama",
        {
            **SIZES,
            "head_dim": 32,
            "rope_parameters": {
                **YARN,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "attention_factor": 1.3,
                "truncate": False,
            },
        },
    ),
    "mistral": Oracle(mistral, "Mistral", {**SIZES, "sliding_window": None}),
    "mistral-window": Oracle(mistral, "Mistral", {**SIZES, "sliding_window": 9}),
    "mistral-window-1": Oracle(mistral, "Mistral", {**SIZES, "sliding_window": 1}),
    "mixtral": Oracle(mixtral, "Mixtral", {**SIZES, "num_local_experts": 4}),
    "mixtral-window": Oracle(
        mixtral,
        "Mixtral",
        {**SIZES, "num_local_experts": 3, "num_experts_per_tok": 1, "sliding_window": 12},
    ),
    "qwen3": Oracle(qwen3, "Qwen3", {**SIZES, "head_dim": 8}),
    "qwen3-windows": Oracle(
        qwen3,
        "Qwen3",
        {
            **SIZES,
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 11,
            "max_window_layers": 1,
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    ),
    "gemma": Oracle(gemma, "Gemma", {**SIZES, "head_dim": 8}),
    "gemma-biases": Oracle(
        gemma,
        "Gemma",
        {**SIZES, "head_dim": 6, "attention_bias": True, "tie_word_embeddings": False},
    ),
    "eurobert": Oracle(eurobert, "EuroBert", {**SIZES, "mask_token_id": 4}, "ForMaskedLM"),
    "eurobert-all-heads": Oracle(
        eurobert,
        "EuroBert",
        {**SIZES, "num_key_value_heads": 6, "attention_bias": True, "tie_word_embeddings": True},
        "ForMaskedLM",
    ),
    "gpt2": Oracle(gpt2, "GPT2", GPT2, "LMHeadModel"),
    "gpt2-inner-untied": Oracle(
        gpt2,
        "GPT2",
        {**GPT2, "n_inner": 50, "layer_norm_epsilon": 1e-2, "tie_word_embeddings": False},
        "LMHeadModel",
    ),
}


def published(model: Any, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return `config.json` and the tensors as the stock class writes them."""
    model.save_pretrained(tmp_path)
    document: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    return document, load_file(tmp_path / "model.safetensors")


def port(family: ModuleType, model: Any, tmp_path: Path, frame: Frame | None = None) -> Decoder:
    """Return our model with the numbers of a stock one."""
    document, tensors = published(model, tmp_path)
    config: DecoderConfig = family.read_config(document, frame or Frame())
    ours = Decoder(config)
    ours.load_state_dict(family.FAMILY.convert(tensors, config))
    return ours.eval()


def random_rows(lengths: tuple[int, ...], vocabulary: int) -> tuple[Tensor, Tensor]:
    """Return token ids of rows padded at the end, and their mask."""
    longest = max(lengths)
    generator = torch.Generator().manual_seed(longest)
    tokens_BL = torch.randint(1, vocabulary, (len(lengths), longest), generator=generator)
    mask_BL = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return tokens_BL.masked_fill(~mask_BL, 0), mask_BL


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param(LENGTHS, id="few lengths"),
        pytest.param(ALL_LENGTHS, id="all lengths", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", ORACLES)
@torch.no_grad()
def test_hidden_states_and_logits_are_those_of_the_stock_class(
    name: str, lengths: tuple[int, ...], tmp_path: Path
) -> None:
    oracle = ORACLES[name]
    stock = oracle.build()
    model = port(oracle.family, stock, tmp_path)
    layers = tuple(range(model.config.depth + 1))
    tokens_BL, mask_BL = random_rows(lengths, model.config.vocabulary_size)
    expected = stock(input_ids=tokens_BL, attention_mask=mask_BL.long(), output_hidden_states=True)
    found = model.hidden_layers(tokens_BL, mask_BL, layers)
    for features_BLE, stock_BLE in zip(found, expected.hidden_states, strict=True):
        torch.testing.assert_close(features_BLE[mask_BL], stock_BLE[mask_BL], atol=1e-5, rtol=1e-5)
    logits_BLV = model.logits(found[-1])
    torch.testing.assert_close(logits_BLV[mask_BL], expected.logits[mask_BL], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "mistral-window", "mixtral", "eurobert", "gpt2"])
@torch.no_grad()
def test_special_tokens_surround_every_row(name: str, tmp_path: Path) -> None:
    oracle = ORACLES[name]
    stock = oracle.build()
    model = port(oracle.family, stock, tmp_path, Frame(pad_id=0, prefix=(1, 3), suffix=(2,)))
    tokens_BL, mask_BL = random_rows((40, 39, 20, 1), model.config.vocabulary_size)
    found_BLE = model.hidden(tokens_BL, mask_BL)
    for row, real_L in enumerate(mask_BL):
        alone_L = tokens_BL[row, real_L]
        framed = torch.cat((torch.tensor([1, 3]), alone_L, torch.tensor([2])))
        expected = stock(input_ids=framed[None], output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(found_BLE[row, real_L], expected[0, 2:-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["llama-llama3", "mistral-window", "mixtral", "qwen3", "eurobert", "gpt2"]
)
def test_gradients_are_those_of_the_stock_class(name: str, tmp_path: Path) -> None:
    oracle = ORACLES[name]
    stock = oracle.build()
    model = port(oracle.family, stock, tmp_path)
    tokens_BL, mask_BL = random_rows((33, 32, 16, 1), model.config.vocabulary_size)
    stock_BLV = stock(input_ids=tokens_BL, attention_mask=mask_BL.long()).logits
    weight_BLV = torch.randn(stock_BLV.shape, generator=torch.Generator().manual_seed(3))
    weight_BLV = weight_BLV * mask_BL[..., None]
    (stock_BLV * weight_BLV).sum().backward()
    (model(tokens_BL, mask_BL) * weight_BLV).sum().backward()
    published = {name: parameter.grad for name, parameter in stock.named_parameters()}
    expected = published_embedding(published)
    assert model.embedding.weight.grad is not None
    scale = expected.abs().max()
    torch.testing.assert_close(
        model.embedding.weight.grad / scale, expected / scale, atol=1e-5, rtol=1e-4
    )
    for checkpointed in (True, False):
        model.set_checkpointing(enabled=checkpointed)
        model.zero_grad()
        (model(tokens_BL, mask_BL) * weight_BLV).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        torch.testing.assert_close(
            model.embedding.weight.grad / scale, expected / scale, atol=1e-5, rtol=1e-4
        )


def published_embedding(tensors: dict[str, Tensor]) -> Tensor:
    """Return the tensor of the embedding, which has one of two names."""
    return next(
        tensor
        for name, tensor in tensors.items()
        if name.endswith(("embed_tokens.weight", "wte.weight"))
    )
