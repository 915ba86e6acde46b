"""Contract of all architectures: numbers, gradients, padding, layers, files, adapters and ONNX.

Shape letters: B rows, L length, V vocabulary.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.product_weights import (
    Factor,
    ProductType,
    ProductWeight,
)
from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.finetuning.lora import LoraLinear, add_lora, merge_lora
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, write_model
from genomeformer_cli.core.model_io.quantize import dequantize_tensors, quantize_tensors
from genomeformer_cli.core.model_io.skeleton import build_unloaded
from genomeformer_cli.core.models.framed import FramedModel
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import ARCHITECTURES, build_model, model_type
from genomeformer_cli.core.release.onnx_export import export_onnx
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.architecture_cases import CASES, Case
from tests.published_models import draw_rows, randomise

LENGTHS = (9, 5, 1, 9, 8)
# Linear layers of a head.
MOST_HEAD_LAYERS = 2
every_case = pytest.mark.parametrize("name", CASES)


def random_model(name: str) -> Model:
    """Return a model in float64 whose norms and biases have random values."""
    model = build_model(CASES[name].config, seed=3)
    randomise(model)
    return model.double().eval()


def pad_id_of(model: Model) -> int:
    return model.config.frame.pad_id if isinstance(model, FramedModel) else 0


def rows_of(case: Case, model: Model) -> tuple[Tensor, Tensor]:
    return draw_rows(LENGTHS, case.token_ids, pad_id_of(model))


def loss_of(model: Model, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Return a random linear function of all logits at real positions."""
    logits = model(tokens_BL, mask_BL)[mask_BL]
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(7))
    return (logits * weights.to(logits)).sum() / len(logits)


def test_every_architecture_has_a_case() -> None:
    assert {model_type(case.config) for case in CASES.values()} == ARCHITECTURES.keys()


@every_case
@torch.no_grad()
def test_a_model_to_be_loaded_draws_no_parameters(name: str) -> None:
    drawn = build_model(CASES[name].config, seed=3).eval()
    state = torch.get_rng_state()
    loaded = build_unloaded(CASES[name].config).eval()
    assert torch.equal(state, torch.get_rng_state())
    loaded.load_state_dict(drawn.state_dict())
    tokens_BL, mask_BL = rows_of(CASES[name], drawn)
    assert torch.equal(drawn(tokens_BL, mask_BL), loaded(tokens_BL, mask_BL))


@every_case
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    torch.autograd.backward(loss_of(model, tokens_BL, mask_BL))
    generator, step = torch.Generator().manual_seed(1), 1e-6
    for key, parameter in model.named_parameters():
        if key in CASES[name].unused:
            assert parameter.grad is None, key
            continue
        direction = torch.randn(parameter.shape, generator=generator).to(parameter)
        assert parameter.grad is not None, key
        analytic = float((parameter.grad * direction).sum())
        with torch.no_grad():
            losses = []
            for shift in (step, -2 * step):
                parameter.add_(direction, alpha=shift)
                losses.append(float(loss_of(model, tokens_BL, mask_BL)))
            parameter.add_(direction, alpha=step)
        numeric = (losses[0] - losses[1]) / (2 * step)
        assert numeric == pytest.approx(analytic, rel=2e-5, abs=2e-7), key


@every_case
def test_recomputed_blocks_have_the_same_gradients(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        model.set_checkpointing(enabled=enabled)
        torch.autograd.backward(loss_of(model, tokens_BL, mask_BL))
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@every_case
@pytest.mark.parametrize("product_type", ["int8", "bf16"])
@torch.inference_mode()
def test_products_of_reduced_precision(
    name: str, product_type: ProductType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(name).float()
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    exact = model.hidden(tokens_BL, mask_BL)[mask_BL]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    products: list[int] = []
    compute = ProductWeight.put_product

    def count(weight: ProductWeight, left: Factor, out_NM: Tensor) -> Tensor:
        products.append(weight.numel())
        return compute(weight, left, out_NM)

    monkeypatch.setattr(ProductWeight, "put_product", count)
    num_layers = convert_linear_layers(model, product_type, smallest=1)
    rounded = model.hidden(tokens_BL, mask_BL)[mask_BL]
    alone = model.hidden(tokens_BL[:1], mask_BL[:1])[0]
    # Every layer but the head, on both calls.
    assert len(products) >= 2 * (num_layers - MOST_HEAD_LAYERS)
    cosines = torch.nn.functional.cosine_similarity(exact, rounded, dim=-1)
    assert cosines.mean() > 0.99
    torch.testing.assert_close(alone, rounded[: LENGTHS[0]], rtol=1e-3, atol=1e-3)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


@every_case
@torch.no_grad()
def test_rows_do_not_depend_on_padding_or_on_their_mates(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    together_BLE = model.hidden(tokens_BL, mask_BL)
    for row, size in enumerate(mask_BL.sum(dim=1).tolist()):
        alone_LE = model.hidden(tokens_BL[row : row + 1, :size], None)[0]
        torch.testing.assert_close(together_BLE[row, :size], alone_LE)
    longer_BL = torch.nn.functional.pad(tokens_BL, (0, 6), value=pad_id_of(model))
    longer_mask_BL = torch.nn.functional.pad(mask_BL, (0, 6), value=False)
    other_BLE = model.hidden(longer_BL.flip(0), longer_mask_BL.flip(0)).flip(0)
    torch.testing.assert_close(other_BLE[:, : mask_BL.shape[1]][mask_BL], together_BLE[mask_BL])


@every_case
@torch.no_grad()
def test_rows_beyond_the_positions_of_a_model_are_refused(name: str) -> None:
    model = random_model(name)
    if not isinstance(model, FramedModel) or model.max_positions is None:
        return
    longest = model.max_positions - model.config.frame.size
    tokens_BL, _ = draw_rows([longest], CASES[name].token_ids, pad_id_of(model))
    assert model.hidden(tokens_BL, None).isfinite().all()
    with pytest.raises(ConfigError, match=f"has {model.max_positions:,} positions") as failure:
        model.hidden(torch.cat((tokens_BL, tokens_BL[:, :1]), dim=1), None)
    assert f"at most {longest:,} tokens" in str(failure.value.hint)


@every_case
@torch.no_grad()
def test_ids_at_padding_do_not_matter(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    filled_BL = tokens_BL.where(mask_BL, torch.full_like(tokens_BL, CASES[name].token_ids[0]))
    expected, found = model.hidden(tokens_BL, mask_BL), model.hidden(filled_BL, mask_BL)
    torch.testing.assert_close(found[mask_BL], expected[mask_BL])


@every_case
@torch.no_grad()
def test_every_token_matters(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    first, second = CASES[name].token_ids[:2]
    changed_BL = tokens_BL.clone()
    changed_BL[0, 3] = first if int(tokens_BL[0, 3]) != first else second
    plain_BLV, other_BLV = model(tokens_BL, mask_BL), model(changed_BL, mask_BL)
    assert not torch.allclose(plain_BLV[0, :9], other_BLV[0, :9], atol=1e-3)
    torch.testing.assert_close(plain_BLV[1:][mask_BL[1:]], other_BLV[1:][mask_BL[1:]])


@every_case
@torch.no_grad()
def test_layers_have_their_width_and_the_last_is_hidden(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    layers = tuple(range(model.config.depth + 1))
    features = model.hidden_layers(tokens_BL, mask_BL, layers)
    assert [x_BLE.shape[-1] for x_BLE in features] == [model.layer_width(one) for one in layers]
    torch.testing.assert_close(features[-1][mask_BL], model.hidden(tokens_BL, mask_BL)[mask_BL])
    for layer in layers:
        (alone,) = model.hidden_layers(tokens_BL, mask_BL, (layer,))
        torch.testing.assert_close(alone[mask_BL], features[layer][mask_BL])
    for row, size in enumerate(mask_BL.sum(dim=1).tolist()):
        rows = model.hidden_layers(tokens_BL[row : row + 1, :size], None, layers)
        for alone, together in zip(rows, features, strict=True):
            torch.testing.assert_close(alone[0], together[row, :size])


@every_case
@torch.no_grad()
def test_packed_documents_have_the_features_of_rows_of_their_own(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    packed_1L = torch.cat((tokens_BL[0, :9], tokens_BL[1, :5], tokens_BL[2, :1]))[None]
    documents_1L = torch.tensor([0] * 9 + [1] * 5 + [2])[None]
    packed_LE = model.hidden(packed_1L, None, documents_1L)[0]
    expected = model.hidden(tokens_BL[:3], mask_BL[:3])[mask_BL[:3]]
    torch.testing.assert_close(packed_LE, expected)


@every_case
@torch.no_grad()
def test_selected_positions_have_the_features_of_whole_rows(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    selected = SelectedPositions.from_mask((tokens_BL == CASES[name].token_ids[1]) & mask_BL)
    features_TE = model.hidden_at(tokens_BL, mask_BL, None, selected)
    torch.testing.assert_close(features_TE, selected.gather(model.hidden(tokens_BL, mask_BL)))


@every_case
def test_initial_weights_are_those_of_the_seed(name: str) -> None:
    first, again, other = (build_model(CASES[name].config, seed=seed) for seed in (1, 1, 2))
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
        assert bool(tensor.isfinite().all()), key
    for key, module in first.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            drawn = f"{key}.weight"
            assert not torch.equal(module.weight, other.state_dict()[drawn]), drawn


@every_case
def test_configurations_survive_a_file(name: str) -> None:
    config: Any = CASES[name].config
    plain = json.loads(json.dumps(to_plain(config)))
    assert from_plain(type(config), plain, where="config.json") == config


@every_case
@torch.no_grad()
def test_a_saved_model_is_the_same_model(name: str, tmp_path: Path) -> None:
    model = random_model(name).float()
    write_model(model, CharTokenizer(), tmp_path)
    seal(tmp_path)
    loaded = read_model(tmp_path).model
    assert loaded.config == model.config
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    expected, found = model(tokens_BL, mask_BL), loaded(tokens_BL, mask_BL)
    assert torch.equal(expected[mask_BL], found[mask_BL])


@every_case
@torch.no_grad()
def test_8_bit_weights_are_close(name: str) -> None:
    model = random_model(name).float()
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    expected = model(tokens_BL, mask_BL)[mask_BL]
    tensors = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    names = {key for key, _ in model.named_parameters()}
    # Tiny matrices are not worth it by themselves: several copies of their rows are.
    many = {
        key: tensor.repeat(1_024, *[1] * (tensor.dim() - 1)) if tensor.dim() > 1 else tensor
        for key, tensor in tensors.items()
    }
    stored = quantize_tensors(many, names)
    assert sum(item.dtype == torch.int8 for item in stored.values()) > model.config.depth
    restored = {
        key: item[: len(tensors[key])] if tensors[key].dim() > 1 else item
        for key, item in dequantize_tensors(stored).items()
    }
    model.load_state_dict(restored)
    found = model(tokens_BL, mask_BL)[mask_BL]
    assert float((found - expected).norm() / expected.norm()) < 0.1


@every_case
@torch.no_grad()
def test_half_precision_is_close(name: str) -> None:
    model = random_model(name).float()
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    expected = model(tokens_BL, mask_BL)[mask_BL]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(tokens_BL, mask_BL)[mask_BL]
    assert float((found.float() - expected).norm() / expected.norm()) < 0.15


@every_case
def test_lora_starts_at_the_model_and_merges_into_it(name: str) -> None:
    model = random_model(name)
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    names = list(model.state_dict())
    before = model(tokens_BL, mask_BL)[mask_BL].detach()
    count = add_lora(model, 2, 4.0, seed=1)
    assert count >= model.config.depth
    torch.testing.assert_close(model(tokens_BL, mask_BL)[mask_BL], before)
    torch.autograd.backward(loss_of(model, tokens_BL, mask_BL))
    updates = [module for module in model.modules() if isinstance(module, LoraLinear)]
    assert all(module.up.grad is not None for module in updates)
    with torch.no_grad():
        for module in updates:
            module.up.normal_(generator=torch.Generator().manual_seed(2))
    adapted = model(tokens_BL, mask_BL)[mask_BL].detach()
    assert not torch.allclose(adapted, before, atol=1e-3)
    merge_lora(model)
    assert sorted(model.state_dict()) == sorted(names)
    torch.testing.assert_close(model(tokens_BL, mask_BL)[mask_BL], adapted)


@dataclass(frozen=True)
class IdsOfBases:
    """Part of a tokenizer that the export needs."""

    pad_id: int
    is_real: np.ndarray[Any, Any]


@pytest.mark.slow
@every_case
def test_onnx_files_have_the_numbers_of_the_model(name: str, tmp_path: Path) -> None:
    case, model = CASES[name], random_model(name).float()
    is_real = np.isin(np.arange(model.config.vocabulary_size), case.token_ids)
    tokenizer: Any = IdsOfBases(pad_id_of(model), is_real)
    loaded = LoadedModel(model=model, tokenizer=tokenizer, folder=tmp_path)
    file = tmp_path / "model.onnx"
    if case.onnx_refusal is None:
        export_onnx(loaded, file)  # compares the file with the model
        assert file.stat().st_size > 1_000
    else:
        with pytest.raises(CheckpointError, match=case.onnx_refusal):
            export_onnx(loaded, file)


@every_case
def test_blocks_above_the_wanted_layer_are_not_computed(name: str) -> None:
    model = random_model(name)
    depth = model.config.depth
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    assert stacks
    if not model.has_one_stream or depth < 2:
        return
    calls: list[int] = []
    for stack in stacks:
        for number, block in enumerate(stack, start=1):
            block.register_forward_hook(lambda *_, number=number: calls.append(number))
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    with torch.inference_mode():
        model.hidden_layers(tokens_BL, mask_BL, (1,))
        assert set(calls) == {1}
        calls.clear()
        model.hidden_layers(tokens_BL, mask_BL, (depth,))
    assert set(calls) == set(range(1, depth + 1))


@every_case
def test_workers_compute_the_bits_of_one(name: str) -> None:
    model = build_model(CASES[name].config, seed=3).eval()
    tokens_BL, mask_BL = rows_of(CASES[name], model)
    tasks = [slice(row, row + 2) for row in range(len(LENGTHS) - 1)] * 4

    def features(rows: slice) -> Tensor:
        return model.hidden(tokens_BL[rows], mask_BL[rows])

    num_threads, results = torch.get_num_threads(), []
    try:
        for num_workers in (1, 4):
            torch.set_num_threads(num_workers)
            results.append(run_tasks(features, tasks, device=torch.device("cpu")))
    finally:
        torch.set_num_threads(num_threads)
    for rows, one, several in zip(tasks, *results, strict=True):
        assert torch.equal(one[mask_BL[rows]], several[mask_BL[rows]])
