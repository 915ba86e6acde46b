"""A bundle loads without us: in plain torch as the guide says, in transformers, in onnxruntime."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model.build import build_model
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.release.onnx_export import export_onnx
from genomeformer_cli.core.release.privacy import check_privacy
from genomeformer_cli.core.release.stored import Storage
from tests.bundles import make_bundle

GUIDE = Path(__file__).parents[4] / "docs" / "guides" / "release.md"
CONFIG = ModelConfig(
    context=48, width=32, depth=2, num_heads=2, mlp_width=40, conv_width=5, rotary_base=500.0
)


def code_of_the_guide() -> list[str]:
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("storage", [Storage(), Storage(dtype="bf16"), Storage(quantize="int8")])
@pytest.mark.parametrize("conv_width", [0, 5])
def test_the_loader_of_the_guide_gives_the_same_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: Storage, conv_width: int
) -> None:
    config = replace(CONFIG, conv_width=conv_width)
    model = make_bundle(tmp_path / "bundle", config=config, storage=storage).model
    monkeypatch.chdir(tmp_path)
    loader, forward = code_of_the_guide()
    assert len([line for line in loader.splitlines() if line.strip()]) == 10
    names: dict[str, Any] = {}
    exec(loader + forward, names)  # noqa: S102 - the guide's own code is what is tested
    tokens = torch.randint(5, 10, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.logits(model.hidden(tokens, None))
    assert torch.allclose(names["logits"](tokens), expected, atol=1e-5)


def test_transformers_reads_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = make_bundle(tmp_path / "bundle").tokenizer
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path / "bundle"))
    codes = [0, 1, 2, 3, 4, 0]
    ours = tokenizer.encode(torch.tensor(codes, dtype=torch.uint8).numpy())
    assert theirs("ACGTNA", add_special_tokens=False)["input_ids"] == ours.tolist()


def test_onnxruntime_says_the_same(tmp_path: Path) -> None:
    loaded = make_bundle(tmp_path / "bundle", config=CONFIG)
    export_onnx(loaded, loaded.folder / "model.onnx")
    check_privacy(loaded.folder)


def test_a_mechanism_that_cannot_be_exported_is_said(tmp_path: Path) -> None:
    attention = AttentionConfig(name="performer", num_features=8)
    loaded = make_bundle(tmp_path / "bundle")
    performer = build_model(replace(CONFIG, attention=attention)).eval()
    with pytest.raises(CheckpointError, match="`performer` attention cannot be exported"):
        export_onnx(replace(loaded, model=performer), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
