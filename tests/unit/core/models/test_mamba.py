"""Mamba and Caduceus: padding, slices, gradients and initial weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models import mamba
from genomeformer_cli.core.models.caduceus import Caduceus, CaduceusConfig
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.mamba import Mamba, MambaConfig
from genomeformer_cli.core.models.registry import build_model

COMPLEMENT = (0, 1, 2, 6, 5, 4, 3, 7)
SIZES = {"vocabulary_size": 8, "width": 12, "depth": 3, "inner_width": 24, "state_size": 4}
ONE = CaduceusConfig(**SIZES, context=64)  # type: ignore[arg-type]
BOTH = replace(ONE, strands="both", complement=COMPLEMENT)
CONFIGS: dict[str, MambaConfig | CaduceusConfig] = {
    "causal": MambaConfig(**SIZES, context=64, bias=True, tied=False),  # type: ignore[arg-type]
    "one strand": ONE,
    "both strands": BOTH,
    "both strands, plain norms": replace(BOTH, exchange=False, conv_bias=False),
    "framed": replace(BOTH, frame=Frame(pad_id=0, suffix=(1,))),
}
LENGTHS = (1, 2, 9, 40)


@pytest.fixture(params=CONFIGS, scope="module")
def model(request: pytest.FixtureRequest) -> Mamba | Caduceus:
    built = build_model(CONFIGS[request.param], seed=5).double()
    assert isinstance(built, Mamba | Caduceus)
    return built


def random_rows(lengths: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens_BL = torch.randint(3, 8, (len(lengths), max(lengths)), generator=generator)
    mask_BL = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return tokens_BL, mask_BL


@torch.no_grad()
def test_padding_and_other_rows_change_no_feature(model: Mamba | Caduceus) -> None:
    layers = tuple(range(model.config.depth + 1))
    tokens_BL, mask_BL = random_rows(LENGTHS)
    batch = model.hidden_layers(tokens_BL, mask_BL, layers)
    for row, length in enumerate(LENGTHS):
        alone = model.hidden_layers(tokens_BL[row : row + 1, :length], None, layers)
        for layer in layers:
            assert batch[layer].shape[-1] == model.layer_width(layer)
            torch.testing.assert_close(batch[layer][row : row + 1, :length], alone[layer])


@torch.no_grad()
def test_slices_give_the_features_of_whole_rows(
    model: Mamba | Caduceus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens_BL, mask_BL = random_rows(LENGTHS)
    whole = model.hidden(tokens_BL, mask_BL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model.float().hidden(tokens_BL, mask_BL)
        monkeypatch.setattr(mamba, "_SLICE", 7)
        torch.testing.assert_close(model.hidden(tokens_BL, mask_BL), low, rtol=0.05, atol=0.05)
    torch.testing.assert_close(model.double().hidden(tokens_BL, mask_BL), whole)


def test_recomputed_blocks_have_the_same_gradients(model: Mamba | Caduceus) -> None:
    tokens_BL, mask_BL = random_rows(LENGTHS)
    gradients = []
    for enabled in (False, True):
        model.set_checkpointing(enabled=enabled)
        total = model.logits(model.hidden(tokens_BL, mask_BL))[mask_BL].square().sum()
        gradients.append(torch.autograd.grad(total, list(model.parameters())))
    model.set_checkpointing(enabled=False)
    assert all(bool((one != 0).any()) for one in gradients[0])
    torch.testing.assert_close(gradients[0], gradients[1])


@torch.no_grad()
def test_the_reverse_complement_swaps_the_strands(model: Mamba | Caduceus) -> None:
    tokens_BL, mask_BL = random_rows((40, 40))
    opposite_BL = torch.tensor(COMPLEMENT)[tokens_BL.flip(1)]
    features, other = (model.hidden(rows, mask_BL) for rows in (tokens_BL, opposite_BL))
    reads_both = isinstance(model, Caduceus) and model.reads_both
    assert model.is_equivariant == (reads_both and not model.config.frame.size)
    swapped = model.swap_strands(other.flip(1))
    assert torch.allclose(swapped, features, atol=1e-9) == model.is_equivariant
    if model.is_equivariant:
        logits, other_logits = (model.logits(one) for one in (features, other))
        torch.testing.assert_close(other_logits.flip(1)[..., COMPLEMENT], logits)


def test_initial_weights_follow_the_seed() -> None:
    first, again, second = (build_model(BOTH, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], second["embedding.weight"])
    rates, steps = (
        first[f"blocks.0.mixer.ahead.{name}"] for name in ("log_rate", "step_size.bias")
    )
    torch.testing.assert_close(rates.exp()[0], torch.tensor([1.0, 2.0, 3.0, 4.0]))
    sizes = torch.nn.functional.softplus(steps)
    assert 1e-3 <= float(sizes.min()) < float(sizes.max()) <= 1e-1


@pytest.mark.parametrize("complement", [(), (0, 1), (1, 2, 0, 3, 4, 5, 6, 7), (9,) * 8])
def test_complements_are_pairs(complement: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="complements"):
        replace(ONE, strands="both", complement=complement)


def test_sizes_are_positive() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        replace(ONE, state_size=0)
