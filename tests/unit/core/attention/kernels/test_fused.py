"""Choice between plain and fused kernels: setting, device, dtype, width, length."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernel_choice import describe_kernels, first_failure
from genomeformer_cli.core.attention.kernels import fused, masked_attention
from genomeformer_cli.core.attention.kernels.fused import (
    FLASH_LINEAR,
    FLEX,
    FusedKernel,
    KernelChoice,
    Workload,
    fused_dtype,
    use_fused,
    using_kernels,
)
from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.forecast import Step
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.precision import ComputeConfig, Trial, choose_compute
from genomeformer_cli.core.workflows.devices import choose_device
from tests import fused_kernels
from tests.reporters import Listening

WORK = Workload(device_type="cuda", dtype=torch.bfloat16, head_width=64, length=8192)
CUDA, BF16 = torch.device("cuda"), torch.bfloat16


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All packages are installed."""
    for kernel in (FLASH_LINEAR, FLEX):
        monkeypatch.setitem(vars(kernel), "missing", "")


@pytest.mark.parametrize(
    ("kernel", "change", "reason"),
    [
        (FLASH_LINEAR, {}, ""),
        (FLEX, {}, ""),
        (FLEX, {"dtype": torch.float32}, ""),
        (FLASH_LINEAR, {"dtype": torch.float32}, "not in float32"),
        (FLEX, {"dtype": torch.float64}, "not in float64"),
        (FLEX, {"device_type": "cpu"}, "not on `cpu`"),
        (FLASH_LINEAR, {"head_width": 8}, "a head has 8 features"),
        (FLASH_LINEAR, {"head_width": 512}, "from 16 to 256"),
    ],
)
def test_an_obstacle_is_named(kernel: FusedKernel, change: dict[str, object], reason: str) -> None:
    obstacle = kernel.obstacle(replace(WORK, **change))  # type: ignore[arg-type]
    assert reason in obstacle
    assert bool(obstacle) == bool(reason)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "find_spec", lambda name: None if name == "fla" else name)
    assert "genomeformer[gpu]" in fused._lacks("fla", "triton")
    monkeypatch.setattr(fused, "find_spec", lambda name: None)
    assert "wheels for CUDA" in fused._lacks("fla", "triton")
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    assert "too old" in fused._lacks_flex()


@pytest.mark.parametrize(("choice", "used"), [("auto", False), ("plain", False)])
def test_a_processor_computes_in_plain_torch(choice: KernelChoice, used: bool) -> None:
    with using_kernels(choice):
        assert use_fused(FLEX, "local", torch.zeros(1, 1, 512, 64)) is used


def test_a_forced_kernel_is_an_error_where_it_is_impossible() -> None:
    q = torch.zeros(1, 1, 512, 64)
    with using_kernels("fused"):
        with pytest.raises(ConfigError, match="`local` attention cannot: FlexAttention") as failure:
            use_fused(FLEX, "local", q)
        assert "`auto`" in (failure.value.hint or "")
        assert use_fused(FLEX, "local", q[:, :, :0]) is False
    assert use_fused(FLEX, "local", q) is False


def on_gpu(length: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Properties of queries on a GPU."""
    device = SimpleNamespace(type="cuda")
    return cast("Tensor", SimpleNamespace(shape=(1, 1, length, 64), dtype=dtype, device=device))


def test_auto_takes_the_fused_kernel_of_a_gpu_where_it_can() -> None:
    shortest = FLASH_LINEAR.shortest
    assert use_fused(FLASH_LINEAR, "linear", on_gpu(shortest)) is True
    assert use_fused(FLASH_LINEAR, "linear", on_gpu(shortest - 1)) is False
    assert use_fused(FLASH_LINEAR, "linear", on_gpu(shortest, torch.float32)) is False
    with using_kernels("plain"):
        assert use_fused(FLASH_LINEAR, "linear", on_gpu(shortest)) is False
    with using_kernels("fused"):
        assert use_fused(FLASH_LINEAR, "linear", on_gpu(shortest - 1)) is True
        with pytest.raises(ConfigError, match="not in float32"):
            use_fused(FLASH_LINEAR, "linear", on_gpu(shortest, torch.float32))


def test_shapes_without_numbers_are_computed_in_plain_torch() -> None:
    with using_kernels("fused"):
        assert use_fused(FLEX, "local", torch.zeros(1, 1, 512, 64, device="meta")) is False


def test_products_take_the_type_of_autocast_or_of_the_setting() -> None:
    x = torch.zeros(1)
    assert fused_dtype(x) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert fused_dtype(x) == torch.bfloat16
    with using_kernels("auto", torch.float16):
        assert fused_dtype(x) == torch.float16
    assert fused_dtype(x) == torch.float32


def test_the_environment_sets_the_kernels_of_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOMEFORMER_KERNELS", "fused")
    with using_kernels("auto"):
        choose_device("cpu")
        with pytest.raises(ConfigError, match="`local` attention cannot"):
            use_fused(FLEX, "local", torch.zeros(1, 1, 8, 64))
    monkeypatch.setenv("GENOMEFORMER_KERNELS", "fast")
    with pytest.raises(ConfigError, match="invalid choice `fast`"):
        choose_device("cpu")


def test_the_setting_holds_in_other_threads() -> None:
    """A backward pass on a GPU recomputes blocks in a thread of its own."""
    failures: list[ConfigError] = []

    def work() -> None:
        try:
            use_fused(FLEX, "local", torch.zeros(1, 1, 512, 64))
        except ConfigError as failure:
            failures.append(failure)

    with using_kernels("fused"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert failures


def small_model(name: str, direction: str = "bidirectional") -> Model:
    config = ModelConfig(
        width=64,
        num_heads=2,
        depth=2,
        attention=AttentionConfig(name=name),
        direction=direction,  # type: ignore[arg-type]
    )
    return build_model(config)


def describe(name: str, choice: KernelChoice, *, packed: bool = False, **change: object) -> str:
    model = small_model(name, str(change.pop("direction", "bidirectional")))
    options = {"device": CUDA, "dtype": BF16, "length": 512} | change
    return describe_kernels(model, choice, packed=packed, **options)  # type: ignore[arg-type]


def test_every_mechanism_is_described() -> None:
    assert describe("gated-delta", "auto") == "gated-delta: flash-linear-attention"
    assert describe("local+performer", "auto") == (
        "local: FlexAttention, performer: plain (it has no fused kernel for this direction)"
    )
    assert describe("local", "plain") == "local: plain"
    assert "shorter than 128" in describe("local", "auto", length=100)
    assert "this direction" in describe("linear", "auto")
    assert describe("linear", "auto", direction="causal") == "linear: flash-linear-attention"
    assert describe("softmax", "fused") == "softmax: torch's fused softmax"
    assert describe("softmax", "fused", packed=True) == "softmax: FlexAttention"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["local+gated-delta", "softmax+performer"])
def test_kernels_are_tried_forward_and_backward(
    name: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused_kernels.install(monkeypatch)
    model = small_model(name)
    assert first_failure(model, torch.float32, packed=packed) == ""
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_kernel_that_fails_is_named_and_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> Tensor:
        raise RuntimeError("no such instruction\nat line 5")

    fused_kernels.install(monkeypatch)
    monkeypatch.setattr(masked_attention, "_flex_attention", fail)
    model = small_model("local")
    assert first_failure(model, torch.float32) == "FlexAttention: no such instruction"
    trial = Trial(
        model=model,
        step=Step(batch=2, length=64, real_ids=range(5, 9)),
        memory=MemoryConfig(plan="full"),
        steps=1,
        packed=False,
    )
    compute, reporter = ComputeConfig(precision="fp32", compile="off"), Listening()
    usable = choose_compute(compute, trial, tmp_path / "trials.json", reporter)
    assert usable == replace(compute, kernels="plain")
    assert "continuing without it: FlexAttention: no such" in reporter.warnings[0]
    forced = replace(compute, kernels="fused")
    assert choose_compute(forced, trial, tmp_path / "trials.json", reporter) == forced


@pytest.mark.parametrize("name", ["performer", "local+reformer", "linear"])
def test_fused_is_refused_for_what_has_no_fused_kernel(name: str) -> None:
    with pytest.raises(ConfigError, match="no fused kernel"):
        describe(name, "fused")
    with pytest.raises(ConfigError, match="not on `cpu`"):
        describe("local", "fused", device=torch.device("cpu"))
