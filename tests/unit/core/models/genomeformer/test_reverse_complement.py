"""Models that read both strands: turning the strand turns the answer."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
MECHANISMS = [*ATTENTIONS]


def reader(attention: str) -> Model:
    config = ModelConfig(
        context=64,
        width=16,
        depth=2,
        num_heads=2,
        mlp_width=24,
        conv_width=3,
        attention=AttentionConfig(name=attention, num_features=8, window=4, num_projected=6),
        strands="both",
        complement=COMPLEMENT,
    )
    return build_model(config).double()


def tokens(batch: int = 2, length: int = 30) -> torch.Tensor:
    return torch.randint(5, 9, (batch, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("attention", MECHANISMS)
def test_the_other_strand_gets_the_same_answer(attention: str) -> None:
    model = reader(attention)
    complement = torch.tensor(COMPLEMENT)
    there = model(tokens(), None)
    back = model(complement[tokens().flip(1)], None)
    torch.testing.assert_close(back.flip(1)[..., complement], there)
    assert float(there.std(dim=-1).min().detach()) > 0


def test_padding_and_documents_change_nothing() -> None:
    model = reader("performer")
    rows = tokens()
    mask = torch.arange(30) < torch.tensor([30, 17])[:, None]
    padded = model(rows.masked_fill(~mask, 0), mask)
    alone = model(rows[1:, :17], None)
    torch.testing.assert_close(padded[1:, :17], alone)
    documents = torch.tensor([[0] * 30, [1] * 17 + [2] * 13])
    packed = model.logits(model.hidden(rows, None, documents))
    torch.testing.assert_close(packed[1:, :17], alone)


def test_invalid_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="no reverse complement"):
        build_model(ModelConfig(strands="both"))
    with pytest.raises(ConfigError, match="cannot read both strands"):
        ModelConfig(strands="both", direction="causal")
    with pytest.raises(ConfigError, match="no reverse complement"):
        build_model(ModelConfig(direction="two-stack"))
