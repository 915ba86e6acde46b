"""Models of convolutions: published sizes, initial weights, and rows far longer than the tiny."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.dilated import DilatedConfig
from genomeformer_cli.core.models.families import gpn, hyena
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.hyena import HyenaConfig
from genomeformer_cli.core.models.registry import build_model

SIZES = {
    "tiny-1k": (128, 2, 1_026, 5),
    "tiny-1k-d256": (256, 2, 1_026, 3),
    "tiny-16k": (128, 2, 16_386, 5),
    "small-32k": (256, 4, 32_770, 5),
    "medium-160k": (256, 8, 160_002, 5),
    "medium-450k": (256, 8, 450_002, 5),
    "large-1m": (256, 8, 1_000_002, 5),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_published_sizes_are_read(name: str) -> None:
    width, depth, positions, features = SIZES[name]
    document = {
        "model_type": "hyenadna",
        "d_model": width,
        "n_layer": depth,
        "d_inner": 4 * width,
        "max_seq_len": positions,
        "emb_dim": features,
        "activation_freq": 1 if features == 3 else 10,
        "vocab_size": 12,
        "tie_word_embeddings": False,
    }
    config = hyena.read_config(document, Frame(pad_id=4, suffix=(1,)))
    with torch.device("meta"):
        model = build_model(config)
    assert config.context == positions - 2
    assert config.vocabulary_size == 16
    # The paper counts 0.4 M parameters in the smallest model and 6.6 M in the largest.
    expected = {(128, 2): 0.45e6, (256, 2): 1.65e6, (256, 4): 3.3e6, (256, 8): 6.6e6}
    assert model.num_parameters == pytest.approx(expected[width, depth], rel=0.05)


def test_gpn_has_its_published_size() -> None:
    config = gpn.read_first_config({"model_type": "ConvNet"}, Frame())
    with torch.device("meta"):
        model = build_model(config)
    # The file of gpn-brassicales has 264 MB.
    assert 4 * model.num_parameters == pytest.approx(264e6, rel=0.01)
    assert config.dilations[:7] == (1, 2, 4, 8, 16, 32, 1)


@pytest.mark.parametrize(
    "config",
    [
        HyenaConfig(width=8, mlp_width=16, kernel_width=8),
        DilatedConfig(width=8, kernels=(3, 3), dilations=(1, 2)),
    ],
    ids=["hyena", "dilated"],
)
def test_a_seed_decides_the_initial_weights(config: HyenaConfig | DilatedConfig) -> None:
    one, again, other = (build_model(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(tensor.equal(again[name]) for name, tensor in one.items())
    assert any(not tensor.equal(other[name]) for name, tensor in one.items())


@torch.no_grad()
def test_the_last_of_twenty_thousand_bases_depend_on_those_far_before() -> None:
    config = HyenaConfig(
        context=20_000, positions=20_002, width=16, mlp_width=32, frame=Frame(pad_id=4)
    )
    model = build_model(config, seed=2).eval()
    for name, parameter in model.named_parameters():
        # With initial weights, far distances weigh little.
        if "kernel" in name or "embedding" in name:
            parameter.mul_(20)
    generator = torch.Generator().manual_seed(0)
    tokens_BL = torch.randint(7, 11, (1, 20_000), generator=generator)
    changed_BL = tokens_BL.clone()
    changed_BL[0, 9_000] = 18 - changed_BL[0, 9_000]
    before_LE, after_LE = model.hidden(tokens_BL, None)[0], model.hidden(changed_BL, None)[0]
    difference_L = (before_LE - after_LE).abs().amax(dim=1)
    # Rounding errors of a transform reach all positions.
    assert difference_L[:9_000].max() < 1e-4
    assert difference_L[9_000:].min() > 0
    assert difference_L[-1_000:].mean() > 1e-2


def test_invalid_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="longer than the kernels"):
        HyenaConfig(context=1_026, frame=Frame(suffix=(1,)))
    with pytest.raises(ConfigError, match="3 kernel sizes, but 2 dilations"):
        DilatedConfig(kernels=(3, 3, 3), dilations=(1, 2))
