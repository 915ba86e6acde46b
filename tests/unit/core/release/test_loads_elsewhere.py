"""A bundle loads without us: in plain torch as the guide says, in transformers, in onnxruntime."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from genomeformer_cli import load
from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig, attention_entry
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.bundled import bundled_folder
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import has_default
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release import onnx_export
from genomeformer_cli.core.release.leak_check import check_privacy
from genomeformer_cli.core.release.onnx_export import export_onnx
from genomeformer_cli.core.release.storage import Storage
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.seal import seal
from tests.bundles import make_bundle
from tests.guide_code import code_of_the_guide, run_the_guide

CONFIG = ModelConfig(
    context=48, width=32, depth=2, num_heads=2, mlp_width=40, conv_width=5, rotary_base=500.0
)
TWO_STACKS = replace(
    CONFIG,
    conv_width=4,
    patch=4,
    direction="two-stack",
    complement=(0, 1, 2, 3, 4, 8, 7, 6, 5, 9),
)


def tokens_of(rows: int, length: int) -> torch.Tensor:
    return torch.randint(5, 10, (rows, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def said(model: Model, tokens: torch.Tensor) -> torch.Tensor:
    return model.logits(model.hidden(tokens, None))


@pytest.mark.parametrize("storage", [Storage(), Storage(dtype="bf16"), Storage(quantize="int8")])
@pytest.mark.parametrize(("conv_width", "query_key_norm"), [(0, True), (5, True), (5, False)])
def test_the_loader_of_the_guide_gives_the_same_logits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage: Storage,
    conv_width: int,
    query_key_norm: bool,
) -> None:
    config = replace(CONFIG, conv_width=conv_width, query_key_norm=query_key_norm)
    model = make_bundle(tmp_path / "bundle", config=config, storage=storage).model
    monkeypatch.chdir(tmp_path)
    _, _, loader, shared, encoder, _, _ = code_of_the_guide()
    assert len([line for line in loader.splitlines() if line.strip()]) == 10
    names = run_the_guide(loader, shared, encoder)
    tokens = tokens_of(3, 40)
    assert torch.allclose(names["logits"](tokens), said(model, tokens), atol=1e-5)


@torch.no_grad()
def test_the_guide_opens_a_bundle_with_the_automatic_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = make_bundle(tmp_path / "bundle", config=TWO_STACKS)
    monkeypatch.chdir(tmp_path)
    features = run_the_guide(code_of_the_guide()[1])["features"]
    ids = torch.tensor([loaded.tokenizer.encode(encode_bases("ACGTTGCATTACG")).tolist()])
    assert torch.allclose(features[-1][:1], loaded.model.hidden(ids, None), atol=1e-5)


@pytest.mark.parametrize("patch", [4, 12])
def test_two_stacks_of_the_guide_give_the_same_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: int
) -> None:
    config = replace(TWO_STACKS, patch=patch)
    model = make_bundle(tmp_path / "bundle", config=config, storage=Storage(quantize="int8")).model
    monkeypatch.chdir(tmp_path)
    _, _, loader, shared, _, two_stacks, _ = code_of_the_guide()
    names = run_the_guide(loader, shared, two_stacks)
    for length in (1, patch, 41):
        tokens = tokens_of(2, length)
        assert torch.allclose(names["logits"](tokens), said(model, tokens), atol=1e-5)


@pytest.mark.skipif(not has_default(), reason="no default model")
def test_the_guide_loads_the_default_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").symlink_to(bundled_folder())
    monkeypatch.chdir(tmp_path)
    _, _, loader, shared, _, two_stacks, _ = code_of_the_guide()
    names, model = run_the_guide(loader, shared, two_stacks), read_model(bundled_folder()).model
    for length in (1, 57, 300):
        tokens = tokens_of(2, length)
        with torch.no_grad():
            found = names["logits"](tokens)
        assert torch.allclose(found, said(model, tokens), atol=1e-4)


def test_transformers_reads_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = make_bundle(tmp_path / "bundle").tokenizer
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path / "bundle"))
    codes = [0, 1, 2, 3, 4, 0]
    ours = tokenizer.encode(torch.tensor(codes, dtype=torch.uint8).numpy())
    assert theirs("ACGTNA", add_special_tokens=False)["input_ids"] == ours.tolist()


def test_onnxruntime_gives_the_output_of_the_encoder_and_no_other_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = make_bundle(tmp_path / "bundle", config=replace(CONFIG, depth=1))
    path = loaded.folder / "model.onnx"
    export_onnx(loaded, path)
    check_privacy(loaded.folder)
    content = path.read_bytes()
    monkeypatch.setattr(onnx_export, "_exported", lambda _: content)
    other = replace(loaded, model=build_model(loaded.model.config, seed=1).eval())
    with pytest.raises(CheckpointError, match="differs from the model by"):
        export_onnx(other, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_the_onnx_example_of_the_guide_gives_our_vectors_of_two_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_bundle(tmp_path / "default-onnx", config=replace(TWO_STACKS, depth=1))
    described = json.loads((made.folder / "config.json").read_text(encoding="utf-8"))
    described["embedding"] = {"layers": "0,1"}
    (made.folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    seal(made.folder)
    loaded = read_model(made.folder)
    export_onnx(loaded, loaded.folder / "model.onnx")
    check_privacy(loaded.folder)
    seal(loaded.folder)
    monkeypatch.chdir(tmp_path)
    names = run_the_guide(code_of_the_guide()[-1])
    ours = load(loaded.folder).embed(["ACGTTGCATTACG", "GGGNCC"])
    assert np.allclose(names["vectors"], ours, atol=1e-5)


NOT_EXPORTED = ("reformer", "gated-delta")


@pytest.mark.parametrize("name", NOT_EXPORTED)
def test_a_mechanism_that_cannot_be_exported_is_reported(tmp_path: Path, name: str) -> None:
    loaded = make_bundle(tmp_path / "bundle")
    model = build_model(replace(CONFIG, attention=AttentionConfig(name=name))).eval()
    with pytest.raises(CheckpointError, match=f"`{name}` attention cannot be exported"):
        export_onnx(replace(loaded, model=model), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "direction"),
    [
        (name, direction)
        for name in sorted(ATTENTIONS.keys() - set(NOT_EXPORTED))
        for direction in ("bidirectional", "causal", "two-stack")
        if direction in attention_entry(name).directions
    ],
)
def test_every_other_mechanism_is_exported(
    tmp_path: Path, name: str, direction: Literal["bidirectional", "causal", "two-stack"]
) -> None:
    attention = AttentionConfig(
        name=name, num_features=16, window=8, num_projected=16, num_landmarks=8, value_conv_width=5
    )
    config = replace(TWO_STACKS, attention=attention, direction=direction, conv_width=0)
    loaded = make_bundle(tmp_path / "bundle", config=config)
    export_onnx(loaded, tmp_path / "model.onnx")
