"""Precision trials: measured once, stored, and never changed without a message."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from genomeformer_cli.core.attention.kernels import sliding_window as band
from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training import precision
from genomeformer_cli.core.training.precision import ComputeConfig, Trial, choose_compute, computing
from tests.reporters import Listening

CONFIG = ModelConfig(context=64, width=16, depth=1, num_heads=2, mlp_width=16)
STEP = Step(batch=2, length=64, real_ids=range(5, 9))
tf32 = precision._tf32


def trial(**change: Any) -> Trial:
    plain = Trial(
        model=build_model(CONFIG),
        step=STEP,
        memory=MemoryConfig(plan="full"),
        steps=10,
        packed=False,
    )
    return replace(plain, **change)


def timed(monkeypatch: pytest.MonkeyPatch, times: dict[str, float]) -> list[str]:
    """Trials take these seconds; the list grows by what was tried."""
    tried: list[str] = []

    def seconds(compute: ComputeConfig, of: Trial) -> float:
        del of
        name = compute.precision + (", compiled" if compute.compile == "on" else "")
        tried.append(name)
        if name not in times:
            raise RuntimeError("no C++ compiler")
        return times[name]

    monkeypatch.setattr(precision, "_seconds", seconds)
    return tried


def test_the_faster_precision_is_chosen_and_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, {"fp32": 1.0, "bf16": 0.5})
    path, reporter = tmp_path / "trials.json", Listening()
    for _ in range(2):
        chosen = choose_compute(ComputeConfig(), trial(), path, reporter)
        assert chosen == ComputeConfig(precision="bf16", compile="off")
    assert tried == ["fp32", "bf16"]
    assert "using bf16" in reporter.notes[0]
    (known,) = json.loads(path.read_text()).values()
    assert known["seconds"] == {"fp32": 1.0, "bf16": 0.5}
    other = trial(model=build_model(replace(CONFIG, depth=2)))
    choose_compute(ComputeConfig(), other, path, reporter)
    assert tried == ["fp32", "bf16"] * 2


def test_a_gain_within_the_noise_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, {"fp32": 1.0, "bf16": 0.95})
    chosen = choose_compute(ComputeConfig(), trial(), tmp_path / "t.json", Listening())
    assert chosen.precision == "fp32"


def test_requested_settings_are_used_without_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, {})
    asked = ComputeConfig(precision="bf16", compile="off")
    assert choose_compute(asked, trial(), tmp_path / "t.json", Listening()) == asked
    assert tried == []


def test_compiling_is_tried_in_long_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, {"fp32": 1.0, "fp32, compiled": 0.5})
    asked = ComputeConfig(precision="fp32")
    short = choose_compute(asked, trial(), tmp_path / "t.json", Listening())
    assert (short.compile, tried) == ("off", ["fp32"])
    long = choose_compute(asked, trial(steps=10**6), tmp_path / "t.json", Listening())
    assert (long.compile, tried) == ("on", ["fp32", "fp32, compiled"])


@pytest.mark.parametrize(("seconds", "expected"), [(0.82, "on"), (0.95, "off")])
def test_a_long_run_is_compiled_for_a_fifth(
    seconds: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(monkeypatch, {"fp32": 1.0, "fp32, compiled": seconds})
    asked = ComputeConfig(precision="fp32")
    chosen = choose_compute(asked, trial(steps=10**6), tmp_path / "t.json", Listening())
    assert chosen.compile == expected


@pytest.mark.parametrize(
    ("batch", "length", "tried"), [(64, 4096, (2, 4096)), (3, 512, (3, 512)), (1, 2**15, (1, 8192))]
)
def test_a_trial_has_whole_rows(batch: int, length: int, tried: tuple[int, int]) -> None:
    part = precision._trial_step(trial(step=replace(STEP, batch=batch, length=length)))
    assert (part.batch, part.length) == tried


def test_a_missing_compiler_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, {"fp32": 1.0})
    reporter = Listening()
    asked = ComputeConfig(precision="fp32", compile="on")
    assert choose_compute(asked, trial(), tmp_path / "t.json", reporter).compile == "off"
    assert "no C++ compiler" in reporter.warnings[0]


@pytest.mark.parametrize("change", [{"packed": True}, {"memory": MemoryConfig(plan="slim")}])
def test_what_cannot_be_compiled_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    asked = ComputeConfig(precision="fp32", compile="on")
    with pytest.raises(ConfigError, match=r"compute\.compile=on"):
        choose_compute(asked, trial(**change), tmp_path / "t.json", Listening())
    left = replace(asked, compile="auto")
    assert choose_compute(left, trial(**change), tmp_path / "t.json", Listening()).compile == "off"


def test_a_trial_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    tried = trial()
    before = {name: tensor.clone() for name, tensor in tried.model.state_dict().items()}
    choose_compute(ComputeConfig(compile="off"), tried, tmp_path / "t.json", Listening())
    for name, tensor in tried.model.state_dict().items():
        assert torch.equal(before[name], tensor)
    assert all(parameter.grad is None for parameter in tried.model.parameters())


@pytest.mark.parametrize("name", ATTENTIONS)
def test_bfloat16_gradients_point_where_those_of_float32_do(name: str) -> None:
    attention = AttentionConfig(name=name, num_landmarks=8, num_projected=8)
    model = build_model(replace(CONFIG, conv_width=5, attention=attention))
    examples = random_examples(model, STEP)
    gradients = []
    for chosen in ("fp32", "bf16"):
        model.zero_grad()
        with computing(ComputeConfig(precision=chosen, compile="off"), model):
            accumulate_gradients(model, examples, MemoryConfig(plan="full"))
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert not torch.equal(*gradients)
    fp32, bf16 = gradients
    assert torch.cosine_similarity(fp32, bf16, dim=0) > 0.99


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_step_gives_the_same_gradients() -> None:
    model = build_model(CONFIG)
    examples = random_examples(model, STEP)
    gradients = []
    for chosen in ("off", "on"):
        model.zero_grad()
        with computing(ComputeConfig(precision="fp32", compile=chosen), model):
            accumulate_gradients(model, examples, MemoryConfig(plan="full"))
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)
    assert "hidden" not in vars(model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    "name", ["softmax", "linformer", "nystromformer", "linear", "local", "longformer"]
)
def test_the_compiler_follows_a_whole_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a CPU windows look at the mask to spare work, which no compiler can follow.
    monkeypatch.setattr(band, "_is_clean", lambda *_: lambda blocks: False)
    attention = AttentionConfig(name=name, num_landmarks=8, num_projected=8, window=8)
    model = build_model(replace(CONFIG, depth=2, conv_width=5, attention=attention))
    examples = random_examples(model, STEP)
    gradients = []
    for hidden in (
        model.hidden,
        torch.compile(model.hidden, backend="aot_eager", fullgraph=True),
    ):
        vars(model)["hidden"] = hidden
        model.zero_grad()
        with computing(ComputeConfig(precision="bf16", compile="off"), model):
            accumulate_gradients(model, examples, MemoryConfig(plan="full"))
        gradients.append([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.compiler.reset()
    eager, compiled = (torch.cat(one) for one in gradients)
    assert torch.cosine_similarity(eager, compiled, dim=0) > 0.99


@pytest.mark.parametrize(
    ("precision", "kind", "within"),
    [("bf16", "cuda", "high"), ("fp32", "cuda", "highest"), ("bf16", "cpu", "highest")],
)
def test_float32_products_of_a_gpu_run_in_tf32_beside_bf16_alone(
    precision: str, kind: str, within: str
) -> None:
    with tf32(enabled=precision == "bf16", kind=kind):
        assert torch.get_float32_matmul_precision() == within
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_failure_within_leaves_no_tf32_behind() -> None:
    with pytest.raises(RuntimeError), tf32(enabled=True, kind="cuda"):
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == "highest"
