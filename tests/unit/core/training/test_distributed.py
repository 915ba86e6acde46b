"""Several gloo processes on this machine have the gradients of one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn import ModuleList

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.mixture import SamplingConfig, open_mixture
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.masked_queries import QueryConfig, make_queries
from genomeformer_cli.core.evaluation.teacher import Teacher
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.memory_plans.sequence_parallel import (
    check_sequence_parallel,
    sequence_parallel_gradients,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.model_io.tensors import read_tensors
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import SINGLE_PROCESS, ProcessGroup
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import METRICS_FILE, read_rows
from genomeformer_cli.core.training.precision import ComputeConfig
from genomeformer_cli.core.training.spike_guard import SpikeGuard
from tests.corpora import build_corpus, random_dna
from tests.gradient_cases import (
    DOCUMENTS,
    MASK,
    config,
    examples,
    gradient_of,
    gradients,
    sliceable,
    worst,
)
from tests.processes import run_together


class KilledError(Exception):
    """Error that ends a run in these tests."""


pytestmark = pytest.mark.distributed
FULL = MemoryConfig(plan="full")
TRAINING = TrainingConfig(
    steps=12,
    batch_size=4,
    validate_every=4,
    validation_windows=4,
    checkpoint_every=3,
    redraw_every=5,
)
BATCHES = (examples(), examples(4, mask=MASK), examples(4, documents=DOCUMENTS))
EXACT = 1e-10
LENGTHS = {"long": 900, "more": 300, "held": 400}
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


def rows_add_up_to_a_step(group: ProcessGroup) -> None:
    model = build_model(config("performer", "bidirectional")).double()
    for asked in BATCHES:
        wanted, of_one = gradients(model, asked, FULL)
        model.zero_grad(set_to_none=True)
        rows = asked.rows(group.rows(len(asked.inputs_BL)))
        part = accumulate_gradients(model, rows, FULL, asked.total_weight)
        found = group.all_reduce(model, part)
        of_all = gradients_of(model)
        assert worst(of_all, of_one) < EXACT
        assert float(found.loss) == pytest.approx(float(wanted.loss), rel=1e-12)
        assert (found.num_targets, float(found.num_correct)) == (
            wanted.num_targets,
            float(wanted.num_correct),
        )
    told = group.broadcast_from_main(lambda: f"of {group.rank}")
    assert told == "of 0"


def shares_of_a_teacher_add_up(group: ProcessGroup) -> None:
    """Each process asks the teacher about its rows, and the projection has one gradient."""
    student = build_model(config("performer", "bidirectional")).double()
    wide = build_model(replace(config("performer", "bidirectional"), width=32)).double()
    loaded = LoadedModel(model=wide, tokenizer=CharTokenizer(), folder=Path())
    dials = TeacherConfig(model="wide", features=0.4, temperature=2.0)
    teacher = Teacher(loaded, student, CharTokenizer(), dials, seed=1)
    assert teacher.projection is not None
    projection = teacher.projection
    projection.double()
    for asked in BATCHES:
        wanted, of_one = gradients(student, teacher.add_targets(asked, 0), FULL)
        of_one["projection"] = gradient_of(projection)
        student.zero_grad(set_to_none=True)
        projection.zero_grad()
        rows = teacher.add_targets(asked.rows(group.rows(len(asked.inputs_BL))), 0)
        part = accumulate_gradients(student, rows, FULL, asked.total_weight)
        found = group.all_reduce(ModuleList([student, projection]), part)
        of_all = gradients_of(student) | {"projection": gradient_of(projection)}
        assert worst(of_all, of_one) < EXACT
        assert float(found.loss) == pytest.approx(float(wanted.loss), rel=1e-12)
        projection.zero_grad()


def stretches_add_up_to_rows(
    group: ProcessGroup, cases: list[tuple[str, str]], per_group: int
) -> None:
    group.form_sequence_groups(per_group)
    assert group.sequence_group is not None
    for attention, shape in cases:
        model = build_model(config(attention, shape)).double()
        check_sequence_parallel(model, "full")
        for asked in BATCHES:
            wanted, of_one = gradients(model, asked, FULL)
            model.zero_grad(set_to_none=True)
            rows = asked.rows(group.rows(len(asked.inputs_BL)))
            part = sequence_parallel_gradients(
                model, rows, FULL, asked.total_weight, group.sequence_group
            )
            found = group.all_reduce(model, part)
            of_all = gradients_of(model)
            assert worst(of_all, of_one) < EXACT, (attention, shape, group.rank)
            assert float(found.loss) == pytest.approx(float(wanted.loss), rel=1e-12)
            assert found.num_targets == wanted.num_targets


def first_gives_its_weights(group: ProcessGroup) -> None:
    model = build_model(config("performer", "causal"), seed=group.rank)
    group.broadcast_weights(model)
    first = build_model(config("performer", "causal"), seed=0).state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in model.state_dict().items())


def run_of(
    folder: Path, group: ProcessGroup = SINGLE_PROCESS, *, shard: bool = False
) -> TrainingRun:
    corpus = Corpus(folder / "corpus")
    model = config("performer+softmax", "bidirectional")
    questions = make_queries(corpus, QueryConfig(length=64, max_windows=4, passes=2))
    shares = SamplingConfig(mix={"long": 2.0, "rest": 1.0})
    mixture = open_mixture(corpus, shares, Store(folder), SilentReporter())
    return TrainingRun(
        folder=folder / "run",
        model=build_model(model, seed=TRAINING.seed),
        tokenizer=corpus.tokenizer,
        batches=Batches(corpus, model, MaskingConfig(), TRAINING, mixture),
        config=TRAINING,
        memory=FULL,
        compute=ComputeConfig(precision="fp32", compile="off"),
        validate=lambda trained: likelihood(trained, questions),
        process_group=group,
        shard=shard,
    )


def train_until(group: ProcessGroup, folder: Path, steps: int, shard: bool = False) -> None:
    """Train, and end as if killed when so many steps are taken."""
    takes, left = SpikeGuard.takes, [steps]

    def killed(self: SpikeGuard, norm: float) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return takes(self, norm)

    SpikeGuard.takes = killed  # type: ignore[method-assign]
    with suppress(KilledError):
        train(run_of(folder, group, shard=shard), SilentReporter())


def new_run(folder: Path) -> Path:
    (folder / "run").mkdir(parents=True)
    split = SplitConfig(by=SplitBy.RECORD, holdout=("held",))
    sequences = {name: random_dna(length, length) for name, length in LENGTHS.items()}
    build_corpus(folder / "corpus", sequences, split=split)
    return folder


def assert_as_one(folder: Path, alone: Path) -> None:
    """The stated bound: a relative difference of 1e-4 in the loss of every step, in float32."""
    found, wanted = (read_rows(one / "run" / METRICS_FILE) for one in (folder, alone))
    assert [row["step"] for row in found] == [row["step"] for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["num_bases"] == other["num_bases"]
        assert one["training"]["num_bases"] == other["training"]["num_bases"]
        assert one["training"]["bits_per_base"] == pytest.approx(
            other["training"]["bits_per_base"], rel=1e-4
        )
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)
    last = f"checkpoints/step-{TRAINING.steps:08d}/model.safetensors"
    ours, theirs = (read_tensors(one / "run" / last) for one in (folder, alone))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = new_run(tmp_path_factory.mktemp("alone"))
    train(run_of(folder), SilentReporter())
    return folder


def test_two_processes_do_what_one_does(tmp_path: Path, alone: Path) -> None:
    """Starting processes takes long, so these go through all that two can show."""
    folder = new_run(tmp_path)
    run_together(2, do_all, folder)
    rows = read_rows(folder / "run" / METRICS_FILE)
    assert [row["step"] for row in rows] == list(range(1, 9)), "one of them writes, each step once"
    train(run_of(folder), SilentReporter())
    assert_as_one(folder, alone)


def do_all(group: ProcessGroup, folder: Path) -> None:
    first_gives_its_weights(group)
    rows_add_up_to_a_step(group)
    shares_of_a_teacher_add_up(group)
    train_until(group, folder, 8)
    stretches_add_up_to_rows(group, FEW, 2)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_a_run_continues_with_another_number_of_processes(
    shard: bool, tmp_path: Path, alone: Path
) -> None:
    folder = new_run(tmp_path)
    run_together(2, train_until, folder, 5, shard)
    run_together(3, train_until, folder, 4, shard)
    run_together(2, train_until, folder, 99, not shard)
    assert_as_one(folder, alone)


@pytest.mark.slow
def test_processes_are_at_most_as_many_as_rows(tmp_path: Path) -> None:
    with pytest.raises(ProcessRaisedException, match="4 windows cannot be shared by 5 processes"):
        run_together(5, train_until, new_run(tmp_path), 1)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "per_group"), [(2, 2), (3, 3), (4, 2)])
def test_every_mechanism_that_can_be_parted_is(size: int, per_group: int) -> None:
    run_together(size, stretches_add_up_to_rows, sliceable(), per_group)


def test_a_mechanism_that_cannot_be_divided_names_those_that_can() -> None:
    with pytest.raises(ConfigError, match="rows of `softmax`") as refused:
        check_sequence_parallel(build_model(config("softmax", "bidirectional")), "full")
    assert "`linear`" in str(refused.value.hint)
    assert "`local`" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="rows of `softmax`") as refused:
        check_sequence_parallel(build_model(config("softmax", "causal")), "full")
    assert "`gated-delta`" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="--memory slim"):
        check_sequence_parallel(build_model(config("linear", "causal")), "slim")
