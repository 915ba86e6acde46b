"""Several gloo processes on this machine have the gradients of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.gradients.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.gradients.stretches import check_stretches, stretch_gradients
from genomeformer_cli.core.model.build import Model, build_model
from tests.gradient_cases import DOCUMENTS, MASK, config, examples, gradients, sliceable, worst
from tests.processes import run_together

if TYPE_CHECKING:
    from genomeformer_cli.core.training.distributed import Team

pytestmark = pytest.mark.distributed
FULL = MemoryConfig(plan="full")
BATCHES = (examples(), examples(4, mask=MASK), examples(4, documents=DOCUMENTS))
EXACT = 1e-10
# Of each way that rows can be parted: sums, borders, states, states both ways.
FEW = [
    ("linear", "bidirectional"),
    ("linear+local", "reversible"),
    ("gated-delta", "causal"),
    ("gated-linear+local", "two-stack"),
]


def gradients_of(model: Model) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(one) if one.grad is None else one.grad
        for name, one in model.named_parameters()
    }


def rows_add_up_to_a_step(team: Team) -> None:
    model = build_model(config("performer", "bidirectional")).double()
    for asked in BATCHES:
        wanted, of_one = gradients(model, asked, FULL)
        model.zero_grad(set_to_none=True)
        rows = asked.rows(team.rows(len(asked.inputs_BL)))
        part = accumulate_gradients(model, rows, FULL, asked.total_weight)
        found = team.summed(model, part)
        of_all = gradients_of(model)
        assert worst(of_all, of_one) < EXACT
        assert float(found.loss) == pytest.approx(float(wanted.loss), rel=1e-12)
        assert (found.num_targets, float(found.num_correct)) == (
            wanted.num_targets,
            float(wanted.num_correct),
        )
    told = team.agreed(lambda: f"of {team.rank}")
    assert told == "of 0"


def stretches_add_up_to_rows(team: Team, cases: list[tuple[str, str]], per_line: int) -> None:
    team.form_lines(per_line)
    assert team.line is not None
    for attention, shape in cases:
        model = build_model(config(attention, shape)).double()
        check_stretches(model, "full")
        for asked in BATCHES:
            wanted, of_one = gradients(model, asked, FULL)
            model.zero_grad(set_to_none=True)
            rows = asked.rows(team.rows(len(asked.inputs_BL)))
            part = stretch_gradients(model, rows, FULL, asked.total_weight, team.line)
            found = team.summed(model, part)
            of_all = gradients_of(model)
            assert worst(of_all, of_one) < EXACT, (attention, shape, team.rank)
            assert float(found.loss) == pytest.approx(float(wanted.loss), rel=1e-12)
            assert found.num_targets == wanted.num_targets


def first_gives_its_weights(team: Team) -> None:
    model = build_model(config("performer", "causal"), seed=team.rank)
    team.same(model)
    first = build_model(config("performer", "causal"), seed=0).state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in model.state_dict().items())


def test_two_processes_have_the_gradients_of_one() -> None:
    run_together(2, do_all)


def do_all(team: Team) -> None:
    """Processes start slowly, so these go through all that two can show."""
    first_gives_its_weights(team)
    rows_add_up_to_a_step(team)
    stretches_add_up_to_rows(team, FEW, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "per_line"), [(2, 2), (3, 3), (4, 2)])
def test_every_mechanism_that_can_be_parted_is(size: int, per_line: int) -> None:
    run_together(size, stretches_add_up_to_rows, sliceable(), per_line)


def test_a_mechanism_that_cannot_be_parted_says_which_can() -> None:
    with pytest.raises(ConfigError, match="rows of `softmax`") as refused:
        check_stretches(build_model(config("softmax", "bidirectional")), "full")
    assert "`linear`" in str(refused.value.hint)
    assert "`local`" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="rows of `softmax`") as refused:
        check_stretches(build_model(config("softmax", "causal")), "full")
    assert "`gated-delta`" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="--memory slim"):
        check_stretches(build_model(config("linear", "causal")), "slim")
