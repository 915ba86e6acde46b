"""Choice of the precision: `auto` needs a record, vectors and a processor that has the products."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest

from genomeformer_cli.core.attention.kernels.product_weights import ProductWeight
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.inference import precision as module
from genomeformer_cli.core.inference.precision import PrecisionName, set_precision
from genomeformer_cli.core.model_io.int8_record import Int8Record, ProbeScores
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.tokenizers.char import CharTokenizer

HARMLESS = Int8Record(
    cosine=0.9999,
    bits_per_base_fp32=1.9,
    bits_per_base_int8=1.9001,
    probes={"task": ProbeScores(fp32=0.5, int8=0.499, noise=0.01)},
)


class Messages(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def load(record: Int8Record | None) -> LoadedModel:
    config = ModelConfig(context=64, width=32, depth=1, num_heads=2, mlp_width=32)
    model = Encoder(config).eval()
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=Path(), int8=record)


@pytest.mark.parametrize(
    ("record", "vectors", "instructions", "expected"),
    [
        (HARMLESS, True, True, "int8"),
        (HARMLESS, False, True, "fp32"),
        (HARMLESS, True, False, "fp32"),
        (None, True, True, "fp32"),
        (dataclasses.replace(HARMLESS, cosine=0.9994), True, True, "fp32"),
        (dataclasses.replace(HARMLESS, bits_per_base_int8=1.9021), True, True, "fp32"),
        (
            dataclasses.replace(HARMLESS, probes={"t": ProbeScores(fp32=0.5, int8=0.4, noise=0.1)}),
            True,
            True,
            "int8",
        ),
        (
            dataclasses.replace(
                HARMLESS, probes={"t": ProbeScores(fp32=0.5, int8=0.39, noise=0.1)}
            ),
            True,
            True,
            "fp32",
        ),
    ],
)
def test_auto(
    record: Int8Record | None,
    vectors: bool,
    instructions: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "has_instructions", lambda _: instructions)
    loaded = load(record)
    assert set_precision(loaded, "auto", SilentReporter(), vectors=vectors) == expected
    converted = [isinstance(weight, ProductWeight) for weight in loaded.model.parameters()]
    assert any(converted) == (expected == "int8")


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_processor_without_instructions_is_reported(
    precision: PrecisionName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_instructions", lambda _: False)
    messages, loaded = Messages(), load(None)
    assert set_precision(loaded, precision, messages) == precision
    (warning,) = messages.warnings
    assert f"`--precision {precision}`" in warning
    assert isinstance(loaded.model.get_submodule("blocks.0.attention.out").weight, ProductWeight)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown precision `half`"):
        set_precision(load(None), cast("PrecisionName", "half"), SilentReporter())


def test_small_layers_and_heads_remain_in_float32() -> None:
    loaded = load(None)
    set_precision(loaded, "int8", Messages())
    assert not isinstance(loaded.model.get_submodule("head").weight, ProductWeight)
    assert isinstance(loaded.model.get_submodule("blocks.0.mlp.out").weight, ProductWeight)
