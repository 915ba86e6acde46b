"""Patches: their arithmetic beside torch's convolutions, and all that holds of a model without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients, check_plan
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.genomeformer.patches import TOKEN_WIDTH, Patches, earlier
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
SHAPES: dict[str, dict[str, Any]] = {
    "bidirectional": {},
    "causal": {"direction": "causal"},
    "two-stack": {"direction": "two-stack", "complement": COMPLEMENT},
    "two-stack-untied": {"direction": "two-stack", "tied": False},
    "both-strands": {"strands": "both", "complement": COMPLEMENT},
}
LENGTHS = (29, 16, 1, 4, 7, 28)


def config(shape: str, patch: int = 4, attention: str = "linear+local") -> ModelConfig:
    dials = AttentionConfig(
        name=attention, window=3, num_features=8, num_projected=6, num_landmarks=5, hash_chunk=4
    )
    return ModelConfig(
        context=64,
        width=16,
        depth=2,
        num_heads=2,
        mlp_width=24,
        attention=dials,
        conv_width=3,
        patch=patch,
        **SHAPES[shape],
    )


def model_of(shape: str, patch: int = 4, attention: str = "linear+local") -> Model:
    return build_model(config(shape, patch, attention)).double()


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(5, 9, (batch, length), generator=torch.Generator().manual_seed(3))


def asked(rows: torch.Tensor, **where: Any) -> Examples:
    generator = torch.Generator().manual_seed(4)
    chosen = (torch.rand(rows.shape, generator=generator) < 0.4) & (rows >= 5)
    return Examples(
        inputs_BL=rows,
        targets_BL=torch.where(chosen, rows, -100),
        weights_BL=torch.rand(rows.shape, generator=generator, dtype=torch.float64),
        real_ids=range(5, 9),
        **where,
    )


def gradients(model: Model, examples: Examples, memory: MemoryConfig) -> list[torch.Tensor]:
    model.zero_grad(set_to_none=True)
    accumulate_gradients(model, examples, memory)
    return [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for parameter in model.parameters()
    ]


@pytest.mark.parametrize("direction", ["bidirectional", "causal"])
@pytest.mark.parametrize("patch", [2, 4, 9])
def test_they_are_the_convolutions_of_torch(patch: int, direction: str) -> None:
    patches = Patches(config(direction, patch)).double()
    length = 5 * patch - 1
    generator = torch.Generator().manual_seed(2)
    drawn = torch.randn(2, length, TOKEN_WIDTH, dtype=torch.float64, generator=generator)
    embedded = patches.filled(drawn, None)
    assert embedded.shape[1] == 5 * patch
    strided = functional.conv1d(
        embedded.mT, patches.join.weight.reshape(16, patch, -1).mT, stride=patch
    )
    joined = patches.merge(embedded)
    torch.testing.assert_close(joined, strided.mT)

    spread = functional.conv_transpose1d(
        joined.mT,
        patches.spread.weight.reshape(patch, -1, 16).permute(2, 1, 0),
        stride=patch,
    )
    seen = patches.before + 1 + patches.after
    near = functional.conv1d(
        functional.pad(embedded.mT, (patches.before, patches.after)),
        patches.near.weight.reshape(patches.width, -1, seen),
    )
    x = (spread + near).mT[:, :length]
    x = x + patches.mlp(x, patches.mlp_norm)
    found = patches.apart(patches.around(embedded), joined, length)
    torch.testing.assert_close(found, patches.norm(x))


def test_each_patch_gets_the_one_before_it() -> None:
    features = torch.arange(1.0, 7.0).view(1, 3, 2)
    assert earlier(features)[0, :, 0].tolist() == [0, 1, 3]
    assert earlier(features, features[:, -1:])[0, :, 0].tolist() == [5, 1, 3]


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_a_batch_of_one_equals_a_batch_of_many(shape: str, attention: str) -> None:
    try:
        model = model_of(shape, attention=attention)
    except ConfigError:
        assert not ATTENTIONS[attention].causal or shape == "bidirectional"
        return
    rows = tokens(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        rows[row, length:] = 0
    together = model.hidden(rows, padding_mask(rows, 0))
    for row, length in enumerate(LENGTHS):
        alone = model.hidden(rows[row : row + 1, :length], None)
        torch.testing.assert_close(together[row : row + 1, :length], alone)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_documents_of_a_row_do_not_see_each_other(shape: str) -> None:
    model = model_of(shape)
    rows = tokens(1, 30)
    documents = torch.tensor([[0] * 11 + [1] * 17 + [-1] * 2])
    together = model.hidden(rows, None, documents)
    torch.testing.assert_close(together[:, :11], model.hidden(rows[:, :11], None))
    torch.testing.assert_close(together[:, 11:28], model.hidden(rows[:, 11:28], None))


@pytest.mark.parametrize("patch", [2, 4, 9])
def test_a_causal_model_does_not_see_what_comes(patch: int) -> None:
    model = model_of("causal", patch)
    rows = tokens(1, 41)
    before = model.hidden(rows, None)
    for place in (0, 3, 17, 40):
        changed = rows.clone()
        changed[0, place] = 5 + (int(rows[0, place]) - 4) % 4
        after = model.hidden(changed, None)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        moved = (after - before)[0, place:].abs().amax(dim=-1)
        assert moved[0] > 0
        assert moved.min() > 0


@pytest.mark.parametrize("shape", ["two-stack", "two-stack-untied"])
@pytest.mark.parametrize("patch", [2, 4, 9])
def test_two_stacks_see_all_but_what_they_predict(shape: str, patch: int) -> None:
    model = model_of(shape, patch)
    rows = tokens(1, 31)
    before = model(rows, None)
    for place in (0, 8, 15, 30):
        changed = rows.clone()
        changed[0, place] = 5 + (int(rows[0, place]) - 4) % 4
        moved = (model(changed, None) - before)[0].abs().amax(dim=-1)
        assert moved[place] < 1e-12
        assert moved[torch.arange(31) != place].min() > 0


@pytest.mark.parametrize("shape", ["two-stack", "both-strands"])
@pytest.mark.parametrize("length", [32, 31, 3])
def test_the_other_strand_gets_the_same_answer(shape: str, length: int) -> None:
    model = model_of(shape)
    rows = tokens(2, length)
    complement = torch.tensor(COMPLEMENT)
    back = model(complement[rows.flip(1)], None)
    torch.testing.assert_close(back.flip(1)[..., complement], model(rows, None))


@pytest.mark.parametrize("attention", ["softmax", "gated-linear"])
def test_tied_stacks_give_equal_output_together_and_in_turn(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("two-stack", attention=attention)
    rows = tokens(3, 31)
    mask = torch.arange(31) < torch.tensor([31, 17, 1])[:, None]
    wanted = [model.hidden(rows, None), model.hidden(rows, mask)]
    monkeypatch.setattr(TwoStack, "_is_launched", lambda *_: True)
    torch.testing.assert_close(model.hidden(rows, None), wanted[0])
    torch.testing.assert_close(model.hidden(rows, mask)[mask], wanted[1][mask])


@pytest.mark.parametrize("shape", ["causal", "two-stack", "two-stack-untied"])
@pytest.mark.parametrize("attention", ["linear+local", "gated-linear", "gated-delta"])
def test_features_by_slices_are_those_of_whole_rows(shape: str, attention: str) -> None:
    model = model_of(shape, attention=attention)
    assert model.can_stream
    for length in (37, 40):
        rows = tokens(2, length)
        wanted = model.hidden(rows, None)
        for chunk in (1, 4, 6, 16, 100):
            slices = model.features_by_slices(rows, chunk)
            found = torch.cat([features.clone() for _, _, features in slices], dim=1)
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("plan", "shape"),
    [("slim", "causal"), *(("checkpoint", shape) for shape in SHAPES)],
)
@pytest.mark.parametrize("attention", ["linear+local", "gated-linear"])
def test_gradients_are_those_of_autograd(plan: str, shape: str, attention: str) -> None:
    model = model_of(shape, attention=attention)
    rows = tokens(3, 37)
    rows[1, 20:] = 0
    documents = torch.tensor([[0] * 10 + [1] * 27, [2] * 20 + [-1] * 17, [3] * 36 + [-1]])
    for examples in (
        asked(tokens(2, 37)),
        asked(rows, mask_BL=rows > 0),
        asked(rows, documents_BL=documents),
    ):
        wanted = gradients(model, examples, MemoryConfig(plan="full"))
        # `checkpoint` cuts no slices.
        for chunk in (5, 8, 64, 200) if plan == "slim" else (8,):
            found = gradients(model, examples, MemoryConfig(plan=plan, chunk=chunk))
            for one, other in zip(found, wanted, strict=True):
                assert (one - other).norm() <= 1e-12 * (1 + other.norm())


def test_what_they_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="cut patches"):
        check_plan(model_of("two-stack"), "two-stack")
    with pytest.raises(ConfigError, match="patches"):
        check_plan(model_of("bidirectional"), "two-sweep")
    with pytest.raises(ConfigError, match="do not go together"):
        ModelConfig(patch=4, residual="reversible")
    with pytest.raises(ConfigError, match="patch` cannot be 0"):
        ModelConfig(patch=0)
    assert not model_of("bidirectional").can_stream


def test_under_autocast_blocks_add_to_what_has_the_bits_of_the_weights() -> None:
    model = model_of("causal").float()
    seen: list[torch.dtype] = []
    model.get_submodule("blocks.1.mlp").register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].dtype)
    )
    with torch.autocast("cpu", torch.bfloat16):
        model.hidden(torch.randint(5, 9, (2, 29)), None)
    assert seen == [torch.float32]
