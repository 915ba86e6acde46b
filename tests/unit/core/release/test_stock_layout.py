"""Layout of stock classes: names, refusals, and the comparison with another program's numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.model_io.model_folder import LoadedModel, whole_tensors
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release import stock_check
from genomeformer_cli.core.release.selftest import probe_sequences
from genomeformer_cli.core.release.stock_check import check_stock, largest_difference
from genomeformer_cli.core.release.stock_layout import (
    as_loaded,
    check_form,
    complete_tokenizer,
    stock_class,
    stock_config,
    stock_tensors,
)
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.files import load_tokenizer, save_tokenizer

CAUSAL = ModelConfig(
    context=48, width=16, depth=2, num_heads=2, mlp_width=24, direction="causal", rotary_base=500.0
)
FORMS = {
    "Qwen3ForCausalLM": CAUSAL,
    "LlamaForCausalLM": replace(CAUSAL, query_key_norm=False),
    "EuroBertForMaskedLM": replace(CAUSAL, query_key_norm=False, direction="bidirectional"),
}


@pytest.mark.parametrize("name", FORMS)
@torch.no_grad()
def test_a_model_read_back_from_its_layout_has_the_same_numbers(name: str) -> None:
    config, tokenizer = FORMS[name], CharTokenizer()
    model = build_model(config, seed=2).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.add_(torch.randn_like(parameter) * 0.3)
    tensors = whole_tensors(model)
    assert stock_class(config) == name
    again = as_loaded(config, tokenizer, tensors)
    assert again.config.direction == config.direction
    assert again.num_parameters == model.num_parameters
    tokens_BL = torch.randint(5, 10, (2, 40), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again(tokens_BL, None), model(tokens_BL, None), atol=1e-5, rtol=1e-5)
    named = stock_tensors(tensors)
    assert all(tensor.is_contiguous() for tensor in named.values())
    assert sum(tensor.numel() for tensor in named.values()) == model.num_parameters


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"attention": AttentionConfig(name="linear")}, "`model.attention.name` is `linear`"),
        ({"conv_width": 4}, "`model.conv_width` is `4`, not `0`"),
        ({"patch": 2}, "`model.patch` is `2`, not `1`"),
        ({"residual": "reversible"}, "`model.residual` is `reversible`"),
        ({"direction": "two-stack"}, "`model.direction` is `two-stack`"),
        ({"direction": "bidirectional"}, "`model.query_key_norm=false`"),
    ],
)
def test_a_model_of_another_form_is_refused(changes: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_form(replace(CAUSAL, **changes))
    assert setting in caught.value.message
    assert "stock-masked" in str(caught.value.hint)


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ConfigError, match="`pretrain`"):
        check_form(DecoderConfig())


@pytest.mark.parametrize("name", FORMS)
def test_settings_are_plain_and_complete(name: str) -> None:
    plain = stock_config(FORMS[name], CharTokenizer(), "bfloat16")
    assert json.loads(json.dumps(plain)) == plain
    assert plain["architectures"] == [name]
    assert (plain["torch_dtype"], plain["rope_theta"]) == ("bfloat16", 500.0)
    assert (plain["max_position_embeddings"], plain["head_dim"]) == (48, 8)


def test_a_completed_tokenizer_is_still_ours(tmp_path: Path) -> None:
    save_tokenizer(CharTokenizer(), tmp_path)
    complete_tokenizer(tmp_path, 48)
    assert isinstance(load_tokenizer(tmp_path), CharTokenizer)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 48


def outputs_of(loaded: LoadedModel) -> dict[str, Tensor]:
    """Return what a stock class with the same numbers would give."""
    outputs: dict[str, Tensor] = {}
    for number, codes in enumerate(probe_sequences(48)):
        ids = torch.from_numpy(loaded.tokenizer.encode(codes)[:48].astype("int64"))
        outputs[f"ids {number}"] = ids
        with torch.no_grad():
            outputs[f"logits {number}"] = loaded.model(ids[None], None)[0]
    return outputs


def test_other_tokens_and_other_numbers_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = LoadedModel(
        model=build_model(CAUSAL).eval(), tokenizer=CharTokenizer(), folder=tmp_path
    )
    outputs = outputs_of(loaded)
    monkeypatch.setattr(stock_check, "stock_outputs", lambda _: outputs)
    assert check_stock(tmp_path, loaded) <= 1e-6
    for key, wrong in (("ids 1", "other tokens"), ("logits 2", "logits of 48 tokens")):
        kept = outputs[key]
        outputs[key] = kept.roll(1, 0) if key.startswith("ids") else kept + 1e-3
        with pytest.raises(CheckpointError, match=wrong):
            check_stock(tmp_path, loaded)
        outputs[key] = kept


def test_far_positions_may_differ_more() -> None:
    assert largest_difference(64) < largest_difference(4_096) < 0.01
