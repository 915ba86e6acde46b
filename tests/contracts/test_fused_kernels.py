"""Fused kernels equal the plain path of their mechanisms, values and gradients.

Tolerances: 1e-10 in float64, in which the rules are compared; 1e-5 in float32 with the numbers of
flash-linear-attention's own kernels. `tests/gpu` compares on a GPU.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import Layout
from genomeformer_cli.core.attention.kernels.fused import using_kernels
from genomeformer_cli.core.attention.kernels.masked_attention import (
    MaskRule,
    _block_mask,
    document_rule,
    in_window,
)
from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.attention.ops import gated_delta, gated_linear, linear
from genomeformer_cli.core.attention.streaming import StreamingAttention
from tests import fused_kernels
from tests.fused_kernels import FUSED, HEADS, LENGTH, computed, layouts, make_layer

DATA = Path(__file__).parents[1] / "data" / "fla"
HEAD_WIDTH = 8


@pytest.fixture
def _kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    fused_kernels.install(monkeypatch)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("rows", ["whole", "padded", "holes", "packed"])
@pytest.mark.parametrize("which", FUSED, ids="-".join)
def test_a_layer_computes_the_same_in_both_kernels(which: tuple[str, str], rows: str) -> None:
    assert_equal_kernels(make_layer(which), layouts()[rows])


@pytest.mark.slow
@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("which", [pair for pair in FUSED if "linear" not in pair[0]], ids="-".join)
def test_a_layer_computes_the_same_in_flex_attention(
    which: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fused_kernels.install_flex_attention(monkeypatch)
    for layout in layouts().values():
        assert_equal_kernels(make_layer(which), layout)


def assert_equal_kernels(layer: AttentionLayer, layout: Layout) -> None:
    for fused, plain in zip(
        computed(layer, layout, "fused"), computed(layer, layout, "plain"), strict=True
    ):
        limit = 1e-10 * max(float(plain.detach().abs().max()), 1.0)
        assert float((fused - plain).detach().abs().max()) <= limit


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("name", ["linear", "gated-linear", "gated-delta"])
def test_fused_slices_carry_the_state_of_the_plain_path(name: str) -> None:
    mechanism = make_layer((name, "causal")).mechanism
    assert isinstance(mechanism, StreamingAttention)
    generator = torch.Generator().manual_seed(3)
    shape = (2, HEADS, LENGTH, HEAD_WIDTH)
    qkv = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    num_gates = getattr(mechanism, "num_gates", 0)
    gates = torch.randn(*shape[:3], num_gates, generator=generator, dtype=torch.float64)

    def outputs(choices: tuple[str, str]) -> list[Tensor]:
        state, found = mechanism.start(2, HEADS, qkv[0]), []
        for choice, part in zip(choices, (slice(0, 17), slice(17, LENGTH)), strict=True):
            with using_kernels("fused" if choice == "fused" else "plain"):
                q, k, v = (x[:, :, part] for x in qkv)
                last = gates[:, :, part] if num_gates else None
                out, state = mechanism.step(q, k, v, None, last, state)
            found.append(out)
        return [*found, *state]

    plain = outputs(("plain", "plain"))
    for choices in (("fused", "fused"), ("plain", "fused")):
        for found, wanted in zip(outputs(choices), plain, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    return load_file(DATA / "numbers.safetensors")


def test_stand_ins_have_the_parameters_of_the_real_kernels() -> None:
    recorded = json.loads((DATA / "signatures.json").read_text())["parameters"]
    for name, parameters in recorded.items():
        assert list(inspect.signature(getattr(fused_kernels, name)).parameters) == parameters


@pytest.mark.parametrize("name", ["chunk_simple_gla", "chunk_gated_delta_rule"])
def test_stand_ins_compute_the_numbers_of_the_real_kernels(
    name: str, numbers: dict[str, Tensor]
) -> None:
    names = ["q", "k", "v", "g", "initial_state"] + ["beta"] * (name != "chunk_simple_gla")
    leaves = {one: numbers[one].clone().requires_grad_() for one in names}
    out, state = getattr(fused_kernels, name)(**leaves, scale=0.5, output_final_state=True)
    loss = (out * numbers["weight"]).sum() + (state * numbers["state_weight"]).sum()
    found = {"out": out, "state": state}
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    found |= {f"d_{one}": gradient for one, gradient in zip(leaves, gradients, strict=True)}
    for one, tensor in found.items():
        torch.testing.assert_close(tensor, numbers[f"{name}.{one}"], rtol=1e-5, atol=2e-5)


def test_the_plain_path_computes_the_numbers_of_the_real_kernels(
    numbers: dict[str, Tensor],
) -> None:
    q, k, v = (numbers[name].transpose(1, 2) for name in ("q", "k", "v"))
    g, beta = (numbers[name].transpose(1, 2) for name in ("g", "beta"))
    gain, state = torch.ones(1, q.shape[-1]), numbers["initial_state"]
    # The output is normalised in both; the scale of theirs is 0.5, ours D^(-1/2) and 1.
    for name, (out, after), scale in (
        (
            "chunk_simple_gla",
            gated_linear.gated_linear_attention((q, k, v, g), None, state, gain),
            0.25 / 0.5,
        ),
        (
            "chunk_gated_delta_rule",
            gated_delta.gated_delta_attention((q, k, v, g, beta), None, state, gain),
            1 / 0.5,
        ),
    ):
        theirs = numbers[f"{name}.out"].transpose(1, 2) * scale
        theirs = theirs * (theirs.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()
        torch.testing.assert_close(out, theirs, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(after, numbers[f"{name}.state"], rtol=1e-4, atol=1e-4)


def test_padding_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    fused_kernels.install(monkeypatch)
    mask = torch.arange(30) < torch.tensor([30, 7])[:, None]
    shape = (2, HEADS, 30, HEAD_WIDTH)
    padding = ~mask[:, None, :, None]
    q, k, v = (torch.randn(shape).masked_fill(padding, torch.nan) for _ in range(3))
    module = linear.CausalLinearAttention(head_width=HEAD_WIDTH)
    local = make_layer(("local", "bidirectional")).mechanism
    with using_kernels("fused"):
        for mechanism in (module, local):
            out = mechanism(q, k, v, mask, None)
            assert torch.isfinite(out.masked_fill(padding, 0)).all()


@st.composite
def rules(draw: st.DrawFn) -> tuple[MaskRule, int]:
    size = draw(st.sampled_from([2, 4, 8]))
    length = size * draw(st.integers(1, 6))
    limit = st.none() | st.integers(0, length)
    before, after = draw(limit), draw(limit)
    rows = draw(st.integers(1, 2))
    cell = st.integers(-1, 2)
    numbers = draw(st.lists(st.lists(cell, min_size=length, max_size=length), min_size=rows))
    documents = torch.tensor(numbers[:rows])
    if draw(st.booleans()):
        runs = documents.repeat_interleave(size, dim=1)[:, :length]
        num_global = draw(st.integers(0, 2))
        rule = document_rule(runs, before=before, after=after, num_global=num_global)
    else:
        real = documents >= 0
        first = real & (real.cumsum(dim=1) <= 1)
        rule = MaskRule(
            before=before,
            after=after,
            real_BL=draw(st.sampled_from([None, real])),
            global_BL=draw(st.sampled_from([None, first])),
        )
    return rule, size


def pairs(rule: MaskRule, rows: int, length: int) -> Tensor:
    """Every pair of the rule, (R, L, L)."""
    sizes = (rows, length, length)
    return rule.sees(*torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij"))


@given(rules())
def test_listed_blocks_hold_every_visible_pair(drawn: tuple[MaskRule, int]) -> None:
    rule, size = drawn
    tensors = [x for x in (rule.real_BL, rule.global_BL, rule.document_BL) if x is not None]
    rows, length = tensors[0].shape if tensors else (1, 3 * size)
    touched, whole = rule.blocks(length, size, torch.device("cpu"))
    seen = pairs(rule, rows, length).unflatten(2, (-1, size)).unflatten(1, (-1, size))  # type: ignore[no-untyped-call]
    assert bool((touched | ~seen.any(dim=4).any(dim=2)).all())
    assert bool((~whole | seen.all(dim=4).all(dim=2)).all())
    if not tensors:
        assert torch.equal(touched[0], seen.any(dim=4).any(dim=2)[0])
        assert torch.equal(whole[0], seen.all(dim=4).all(dim=2)[0])


def test_blocks_are_those_of_torchs_own_search() -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    documents = torch.cat((torch.zeros(300), torch.ones(50), torch.full((130,), 2))).long()
    documents = torch.nn.functional.pad(documents, (0, 32), value=-1)[None]
    for rule in (
        document_rule(documents, before=None, after=None),
        document_rule(documents, before=None, after=0),
        MaskRule(before=130, after=20),
    ):

        def mask(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return rule.sees(row, query, key)  # noqa: B023

        theirs = create_block_mask(mask, 1, None, 512, 512, device="cpu", BLOCK_SIZE=128)
        ours = _block_mask(rule, 512, torch.device("cpu"))
        assert torch.equal(ours.to_dense(), theirs.to_dense())
        seen = fused_kernels.visible_pairs(ours)
        assert torch.equal(seen, pairs(rule, 1, 512))


def test_a_window_without_limits_holds_everything() -> None:
    assert bool(in_window(torch.arange(-5, 6), None, None).all())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of its own functions
def test_compiled_flex_attention_skips_blocks_and_equals_the_rule() -> None:
    """On a processor torch compiles the forward pass alone; rows of many lengths share kernels."""
    from genomeformer_cli.core.attention.kernels.masked_attention import masked_attention

    generator = torch.Generator().manual_seed(0)
    for length in (130, 300, 257, 515, 700):
        q, k, v = (torch.randn(2, 2, length, 16, generator=generator) for _ in range(3))
        documents = (torch.rand(2, length, generator=generator) < 0.01).cumsum(dim=1)
        rule = document_rule(documents, before=100, after=60, num_global=1)
        scores = q @ k.mT / 4
        scores = scores.masked_fill(~pairs(rule, 2, length)[:, None], float("-inf"))
        with torch.no_grad():
            out = masked_attention(q, k, v, rule)
        torch.testing.assert_close(out, scores.softmax(dim=-1) @ v, rtol=1e-4, atol=1e-5)
