"""Readers of published files: every key and every tensor is understood, or the model is refused."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.models.families.protocol import (
    ConfigReader,
    TensorReader,
    check_auto_map,
)
from genomeformer_cli.core.models.registry import find_family


def test_a_key_that_no_one_read_is_refused_by_name() -> None:
    reader = ConfigReader({"hidden_size": 8, "use_cache": True, "parallel": 2}, "toy")
    assert reader.take("hidden_size", int) == 8
    with pytest.raises(ConfigError, match="unknown key `parallel` for `toy`"):
        reader.finish()
    reader.ignore(["parallel"])
    reader.finish()


def test_values_have_the_required_type() -> None:
    reader = ConfigReader({"size": True, "eps": 1, "rate": "high", "bias": None}, "toy")
    assert reader.take("eps", float) == 1.0
    assert reader.take("depth", int, 3) == 3
    assert reader.take("bias", bool, True) is True
    for key, kind in (("size", int), ("rate", float)):
        with pytest.raises(ConfigError, match=f"invalid `{key}`"):
            reader.take(key, kind)
    with pytest.raises(ConfigError, match="lacks `width`"):
        reader.take("width", int)


def test_a_value_that_is_not_implemented_is_refused() -> None:
    reader = ConfigReader({"norm": "batch", "pre_norm": 1}, "toy")
    assert reader.require("activation", "gelu", "relu") == "gelu"
    with pytest.raises(ConfigError, match="`norm` is `batch`, which is not implemented"):
        reader.require("norm", "layer")
    with pytest.raises(ConfigError, match="`pre_norm` is `1`"):
        reader.require("pre_norm", True)
    with pytest.raises(ConfigError, match="`form` is `None`"):
        reader.require("form", "a", missing=False)


def test_a_switch_is_as_implemented() -> None:
    reader = ConfigReader({"cross": False, "tied": None, "scaled": True, "parallel": 0}, "toy")
    for key in ("cross", "tied", "missing"):
        reader.flag(key, is_on=False)
    reader.flag("scaled", is_on=True)
    for key in ("scaled", "parallel"):
        with pytest.raises(ConfigError, match=f"`{key}` is `"):
            reader.flag(key, is_on=False)


def test_tensors_are_all_used_or_refused() -> None:
    tensors = {name: torch.zeros(2) for name in ("x.a.weight", "x.b", "x.pooler.bias", "c")}
    reader = TensorReader(tensors, "toy")
    reader.drop_prefix("x.")
    assert "a.weight" in reader
    assert list(reader.rename({"a.weight": "blocks.0.weight", "c": "head"})) == [
        "blocks.0.weight",
        "head",
    ]
    reader.ignore(r"pooler\..*")
    with pytest.raises(CheckpointError, match="a tensor `b`, unknown"):
        reader.finish()
    with pytest.raises(CheckpointError, match="lack the tensor `d`"):
        reader.take("d")


def test_code_that_is_not_ported_is_refused() -> None:
    known = {"modeling_toy.ToyModel"}
    check_auto_map({}, known, "toy")
    check_auto_map({"auto_map": {"AutoModel": "org/name--modeling_toy.ToyModel"}}, known, "toy")
    with pytest.raises(ConfigError, match=r"`modeling_new\.ToyModel`, which is not ported"):
        check_auto_map({"auto_map": {"AutoModel": "modeling_new.ToyModel"}}, known, "toy")


def test_an_unknown_architecture_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="`model_type` `evo2`"):
        find_family({"model_type": "evo2"})
