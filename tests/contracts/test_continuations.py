"""Continuation of rows: token by token equals whole rows, for every causal model."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.continuation import RecomputedContinuation
from genomeformer_cli.core.models.framed import FramedModel, add_frame
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from tests.architecture_cases import CASES

LENGTH = 23


def causal_models() -> list[tuple[str, ModelConfig]]:
    """Return a configuration of every mechanism that can be causal, with and without patches."""
    configs = []
    for name in [*ATTENTIONS, "linear+local"]:
        for patch, conv_width in ((1, 0), (1, 3), (4, 0)):
            try:
                config = ModelConfig(
                    context=64,
                    width=16,
                    depth=2,
                    num_heads=2,
                    mlp_width=16,
                    direction="causal",
                    attention=AttentionConfig(name=name),
                    patch=patch,
                    conv_width=conv_width,
                )
            except ConfigError:
                continue
            configs.append((f"{name}, patch {patch}, convolution {conv_width}", config))
    return configs


def check(model: Model, tokens_BL: torch.Tensor, whole_BLE: torch.Tensor) -> None:
    continuation = model.continuation(len(tokens_BL))
    features = [continuation.feed(tokens_BL[:, :6])]
    features += [continuation.feed(tokens_BL[:, place, None]) for place in range(6, LENGTH)]
    torch.testing.assert_close(torch.stack(features, dim=1), whole_BLE[:, 5:])
    at_once = model.continuation(len(tokens_BL)).feed(tokens_BL)
    torch.testing.assert_close(at_once, whole_BLE[:, -1])


@pytest.mark.parametrize(("name", "config"), causal_models())
@torch.inference_mode()
def test_states_and_caches_give_the_features_of_whole_rows(name: str, config: ModelConfig) -> None:
    model = build_model(config, seed=1).double().eval()
    tokens_BL = torch.randint(5, 9, (3, LENGTH), generator=torch.Generator().manual_seed(2))
    check(model, tokens_BL, model.hidden(tokens_BL, None))
    is_recomputed = isinstance(model.continuation(1), RecomputedContinuation)
    assert is_recomputed == name.startswith("reformer")


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.config.causal])
@torch.inference_mode()
def test_models_of_other_authors_continue_their_rows(name: str) -> None:
    case = CASES[name]
    model = build_model(case.config, seed=1).double().eval()
    if not isinstance(model, FramedModel) or model.config.direction != "causal":
        return
    frame = model.config.frame
    ids = torch.tensor(case.token_ids)
    generator = torch.Generator().manual_seed(2)
    length = min(LENGTH, model.config.context)
    tokens_BL = ids[torch.randint(len(ids), (2, length), generator=generator)]
    framed_BM, _ = add_frame(tokens_BL, None, frame)
    prefix = len(frame.prefix)
    without_suffix = framed_BM[:, : prefix + length]
    whole = model.framed_layers(without_suffix, None, (model.config.depth,))[0]
    continuation = model.continuation(2)
    assert not isinstance(continuation, RecomputedContinuation)
    # Many tokens, then several, then single ones.
    for start, stop in pairwise((0, prefix + 9, prefix + 14, *range(prefix + 15, prefix + length))):
        features = continuation.feed(without_suffix[:, start:stop])
        torch.testing.assert_close(features, whole[:, stop - 1])
