"""Packing and pooling beside row-by-row references; low rank beside the matrices it makes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.head import (
    TaskHead,
    attach_head,
    both_strand_outputs,
    head_outputs,
    position_features,
)
from genomeformer_cli.core.finetuning.inference import Predictor
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.lora import add_lora, merge_lora
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.models.caduceus import CaduceusConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer
from tests.corpora import random_dna

WIDTH = 16
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
MODELS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "two stacks": {"direction": "two-stack", "complement": COMPLEMENT},
    "both strands": {"strands": "both", "complement": COMPLEMENT},
    "causal": {"direction": "causal"},
}


CADUCEUS = CaduceusConfig(
    vocabulary_size=len(COMPLEMENT),
    width=WIDTH,
    depth=2,
    context=64,
    strands="both",
    complement=COMPLEMENT,
)


def model_of(**changes: Any) -> Model:
    attention = AttentionConfig(name="gated-linear" if changes.get("direction") else "softmax")
    config = ModelConfig(
        context=32, width=WIDTH, depth=2, num_heads=2, mlp_width=16, attention=attention, **changes
    )
    return build_model(config, seed=3)


def tied_model(**changes: Any) -> Model:
    config = ModelConfig(context=32, width=WIDTH, depth=2, num_heads=2, mlp_width=16, **changes)
    return build_model(config, seed=3)


def rows_of(*lengths: int) -> list[Codes]:
    rows = [encode_bases(random_dna(length, length)) for length in lengths]
    rows[0] = rows[0].copy()
    rows[0][1] = 4
    return rows


def packer(**changes: Any) -> Collator:
    settings = {"tokenizer": CharTokenizer(), "window": 32, "per_base": False, **changes}
    return Collator(**settings)


@pytest.mark.parametrize("pool", ["mean", "max", "mean-max"])
def test_rows_of_one_length_are_pooled_as_among_others(pool: str) -> None:
    head = TaskHead(WIDTH, 3, pool, seed=1)
    rows = [encode_bases(random_dna(length, seed)) for seed, length in enumerate((9, 9, 9, 5))]
    even, uneven = packer().collate(rows[:3]), packer().collate(rows)
    assert even.is_rectangular
    assert not uneven.is_rectangular
    generator = torch.Generator().manual_seed(4)
    positions_PE = torch.randn(27, WIDTH, generator=generator)
    d_pooled = torch.randn(3, head.out.in_features, generator=generator)
    found = []
    for packed, others in ((even, 0), (uneven, 5)):
        features_PE = positions_PE.clone().requires_grad_()
        among_PE = torch.cat((features_PE, torch.randn(others, WIDTH, generator=generator)))
        pooled = head.pool_features(among_PE, packed)[:3]
        found.append((pooled, torch.autograd.grad(pooled, features_PE, d_pooled)[0]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("pool", ["mean", "max", "mean-max", "attention"])
def test_a_row_answers_alike_alone_and_among_others(kind: str, pool: str) -> None:
    model = model_of(**MODELS[kind])
    head = TaskHead(model.feature_width, 3, pool, seed=1)
    torch.nn.init.normal_(head.out.weight)
    attach_head(model, head)
    rows = rows_of(9, 31, 80, 5)
    with torch.no_grad():
        together = head_outputs(model, packer().collate(rows))
        for number, row in enumerate(rows):
            alone = head_outputs(model, packer().collate([row]))
            torch.testing.assert_close(together[number : number + 1], alone, atol=1e-5, rtol=1e-4)
        in_parts = head_outputs(model, packer().collate(rows), tokens_at_once=40)
    torch.testing.assert_close(in_parts, together, atol=1e-5, rtol=1e-4)


def test_pools_are_those_of_a_loop_over_rows() -> None:
    model = model_of()
    rows = rows_of(9, 31, 20)
    packed = packer().collate(rows)
    with torch.no_grad():
        found_PE = position_features(model, packed)
        for pool in ("mean", "max", "attention"):
            head = TaskHead(WIDTH, 2, pool, seed=2)
            pooled = head.pool_features(found_PE, packed)
            for number in range(3):
                own_PE = found_PE[packed.row_P == number]
                real = int((rows[number] < 4).sum())
                assert len(own_PE) == real, "N is no position that counts"
                along_P = packed.relative_position_P[packed.row_P == number]
                expected = _pooled(head, pool, own_PE, along_P)
                torch.testing.assert_close(pooled[number], expected, atol=1e-5, rtol=1e-4)


def _pooled(head: TaskHead, pool: str, own_PE: Tensor, along_P: Tensor) -> Tensor:
    if pool == "mean":
        return own_PE.mean(dim=0)
    if pool == "max":
        return own_PE.amax(dim=0)
    scores_PH = own_PE @ head.query_HE.T + head.place_AH[(along_P * 64).long()]
    return (scores_PH.softmax(dim=0).T @ own_PE).flatten()


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_base_has_the_features_of_its_token(k: int, stride: int) -> None:
    tokenizer = CharTokenizer() if k == 1 else KmerTokenizer(k, stride)
    config = ModelConfig(
        vocabulary_size=len(tokenizer.tokens), context=32, width=WIDTH, depth=1, num_heads=2
    )
    model = build_model(config)
    rows = rows_of(10, 70)
    packed = packer(tokenizer=tokenizer, per_base=True).collate(rows)
    head = TaskHead(WIDTH, WIDTH, "none")
    with torch.no_grad():
        head.out.weight.copy_(torch.eye(WIDTH))
        attach_head(model, head)
        found = head_outputs(model, packed)
        assert len(found) == 80
        torch.testing.assert_close(head_outputs(model, packed, tokens_at_once=32), found)
        ids = tokenizer.encode(rows[0])
        tokens = torch.from_numpy(ids.astype(np.int64))[None]
        hidden_LE = model.hidden(tokens, None)[0]
        firsts = tokenizer.firsts(rows[0], ids)
        for base in range(10):
            token = max(t for t in range(ids.size) if firsts[t] <= base)
            torch.testing.assert_close(found[base], hidden_LE[token], atol=1e-5, rtol=1e-4)


def test_a_row_without_a_position_that_counts_is_seen_as_zero() -> None:
    model = model_of()
    packed = packer().collate(rows_of(5, 9))
    own = packed.row_P == 1
    parts = {
        name: getattr(packed, name)[own]
        for name in ("flat_index_P", "row_P", "relative_position_P")
    }
    packed = replace(packed, **parts)
    for pool in ("mean", "max", "attention"):
        pooled = TaskHead(WIDTH, 2, pool).pool_features(position_features(model, packed), packed)
        assert not pooled[0].any()
        assert torch.isfinite(pooled[1]).all()


@pytest.mark.parametrize("per_base", [False, True])
def test_the_mean_of_both_strands_turns_with_the_strand(per_base: bool) -> None:
    model = model_of()
    kind = TaskKind.PER_BASE if per_base else TaskKind.CLASSIFICATION
    head = TaskHead(WIDTH, 2, "none" if per_base else "mean")
    torch.nn.init.normal_(head.out.weight)
    attach_head(model, head)
    answerer = Predictor(
        model=model,
        collator=packer(per_base=per_base),
        label_space=LabelSpace(kind=kind, names=("a", "b")),
        both_strands=True,
        tokens_per_batch=64,
    )
    rows = rows_of(9, 31)
    turned = [np.where(row < 4, 3 - row, 4)[::-1].astype(np.uint8) for row in rows]
    for one, other in zip(answerer.predict(rows), answerer.predict(turned), strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "mean-max", "attention", "none"])
@pytest.mark.parametrize(
    "kind",
    [
        {"direction": "two-stack", "complement": COMPLEMENT},
        {"direction": "two-stack", "complement": COMPLEMENT, "patch": 4},
        {"strands": "both", "complement": COMPLEMENT},
        {},
    ],
    ids=["two stacks", "two stacks of patches", "both strands", "caduceus"],
)
def test_a_model_that_holds_both_strands_is_read_once(kind: dict[str, Any], pool: str) -> None:
    model = model_of(**kind) if kind else build_model(CADUCEUS, seed=2).eval()
    assert model.is_equivariant
    head = TaskHead(model.feature_width, 3, pool, seed=1)
    torch.nn.init.normal_(head.out.weight)
    attach_head(model, head)
    rows, packs = rows_of(9, 31, 12, 5), packer(per_base=pool == "none")
    packed, turned = packs.collate(rows), packs.collate(rows, reverse=[True] * 4)
    with torch.no_grad():
        found = both_strand_outputs(model, packed, tokens_at_once=40 if pool == "none" else 0)
        here, there = head_outputs(model, packed), head_outputs(model, turned)
    if pool == "none":
        there = torch.cat([one.flip(0) for one in torch.split(there, [row.size for row in rows])])
    torch.testing.assert_close(found, (here + there) / 2, atol=1e-5, rtol=1e-4)


def test_rows_without_a_base_are_nan_and_keep_their_place() -> None:
    model = model_of()
    attach_head(model, TaskHead(WIDTH, 2, "none"))
    answerer = Predictor(
        model=model,
        collator=packer(per_base=True),
        label_space=LabelSpace(kind=TaskKind.PER_BASE, names=("a", "b")),
        both_strands=False,
        tokens_per_batch=64,
    )
    found = answerer.predict([encode_bases(text) for text in ("NNN", "ACGT", "", "AC")])
    assert [one.shape for one in found] == [(3, 2), (4, 2), (0, 2), (2, 2)]
    assert [bool(np.isnan(one).all()) for one in found] == [True, False, True, False]


def test_a_fresh_head_sees_standardised_features_and_prefers_nothing() -> None:
    head = TaskHead(WIDTH, 3, "mean")
    seen = torch.randn(200, WIDTH) * torch.arange(1, WIDTH + 1) + 7
    head.standardise(seen)
    scaled = (seen - head.mean_K) / head.spread_K
    assert scaled.mean().abs() < 1e-4
    assert 0.8 < scaled.std() < 1.01
    constant = torch.cat((seen, torch.full((200, 1), 2.0)), dim=1)
    wider = TaskHead(WIDTH + 1, 3, "mean")
    wider.standardise(constant)
    assert torch.isfinite((constant - wider.mean_K) / wider.spread_K).all()


@pytest.mark.parametrize("kind", MODELS)
def test_low_rank_begins_as_the_model_and_merges_without_a_trace(kind: str) -> None:
    model, twin = model_of(**MODELS[kind]), model_of(**MODELS[kind])
    names = set(model.state_dict())
    rows = packer().collate(rows_of(9, 31))
    number = add_lora(model, 2, 8.0, seed=0)
    assert number >= 2 * 4
    with torch.no_grad():
        torch.testing.assert_close(position_features(model, rows), position_features(twin, rows))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.rpartition(".")[2] in ("down", "up") for name in trained)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                torch.nn.init.normal_(parameter)
        changed = position_features(model, rows)
        assert not torch.allclose(changed, position_features(twin, rows), atol=1e-3)
        merge_lora(model)
        torch.testing.assert_close(position_features(model, rows), changed)
    assert set(model.state_dict()) == names


def test_low_rank_is_w_plus_b_a() -> None:
    model = model_of()
    before = model.get_submodule("blocks.0.attention.out").weight.detach().clone()  # type: ignore[operator]
    add_lora(model, 3, 6.0, seed=0)
    changed = model.get_submodule("blocks.0.attention.out")
    change: Any = changed.parametrizations["weight"][0]  # type: ignore[index]
    torch.nn.init.normal_(change.up)
    expected = before + 2.0 * change.up @ change.down
    torch.testing.assert_close(changed.weight, expected)


@pytest.mark.parametrize("pool", ["mean", "max", "mean-max", "attention"])
@pytest.mark.parametrize("kind", ["softmax", "tied", "both strands"])
def test_a_step_neither_mixes_devices_nor_waits_for_numbers(
    kind: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: a meta tensor refuses one in the CPU's memory, and to be looked at."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    tied = {"direction": "two-stack", "tied": True, "patch": 4, "complement": COMPLEMENT}
    model = tied_model(**tied) if kind == "tied" else model_of(**MODELS[kind])
    meta = torch.device("meta")
    head = TaskHead(model.feature_width, 2, pool)
    attach_head(model, head)
    model.to(meta)
    packed = packer().collate(rows_of(20, 20, 20)).to(meta)
    said = head_outputs(model, packed, torch.ones(3, head.out.in_features, device=meta))
    loss = Loss(
        label_space=LabelSpace(kind=TaskKind.CLASSIFICATION, names=("a", "b")), weights=(1, 1)
    )
    torch.autograd.backward(loss.total(said, torch.zeros(3, dtype=torch.long, device=meta)))
    assert all(one.grad is not None for one in head.parameters())
    assert any(one.grad is not None for name, one in model.named_parameters() if "blocks" in name)
