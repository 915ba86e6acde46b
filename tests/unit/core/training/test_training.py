"""Whole runs in this process: every dial on, stopped and gone on with, to the same bits."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.mixture import SamplingConfig, open_mixture
from genomeformer_cli.core.errors import ConfigError, MissingExtraError, TrainingError
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.masked_queries import QueryConfig, make_queries
from genomeformer_cli.core.evaluation.teacher import Teacher
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.training.auxiliary import AUXILIARY_FILE
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.ema import WeightAverage
from genomeformer_cli.core.training.feature_redraw import redraw_features
from genomeformer_cli.core.training.loggers import TensorboardLogger, WandbLogger
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import read_rows
from genomeformer_cli.core.training.optimizer import build_optimizers
from genomeformer_cli.core.training.precision import ComputeConfig
from genomeformer_cli.core.training.spike_guard import SpikeGuard
from genomeformer_cli.core.training.task import PretrainingTask
from tests.corpora import build_corpus, random_dna
from tests.reporters import Listening

PERFORMER = {"name": "performer", "num_features": 8}
MODEL = ModelConfig(context=64, width=16, depth=2, num_heads=2, mlp_width=16)
EVERYTHING = TrainingConfig(
    steps=24,
    batch_size=2,
    tokens_per_step=256,
    start_length=32,
    optimizer="muon",
    ema=0.9,
    spike_factor=1.05,
    redraw_every=5,
    validate_every=8,
    validation_windows=4,
    checkpoint_every=7,
    both_strands=True,
)


class KilledError(Exception):
    """Error that ends a run in these tests."""


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    sequences = {f"s{n}": random_dna(20 + 3 * n, n) for n in range(9)}
    split = SplitConfig(by=SplitBy.RECORD, holdout=("held",))
    more = {"long": random_dna(900, 50), "held": random_dna(400, 51)}
    return build_corpus(tmp_path / "c", sequences | more, split=split)


def run_of(folder: Path, corpus: Corpus, config: TrainingConfig, **model: Any) -> TrainingRun:
    from genomeformer_cli.core.attention.registry import AttentionConfig

    chosen = replace(MODEL, attention=AttentionConfig(**model)) if model else MODEL
    asking = QueryConfig(length=64, max_windows=4, passes=4, both_strands=config.both_strands)
    questions = make_queries(corpus, asking)
    # Runs that average their weights train on a mixture too.
    shares = SamplingConfig(mix={"long": 2, "s1": 1, "rest": 1} if config.ema else {})
    mixture = open_mixture(corpus, shares, Store(folder), Listening())
    student, task = Encoder(chosen, seed=config.seed), PretrainingTask()
    if config.ema:
        # And they have a teacher of another width, whose projection is trained too.
        wide = Encoder(replace(MODEL, width=24), seed=7)
        loaded = LoadedModel(model=wide, tokenizer=corpus.tokenizer, folder=folder)
        distillation = TeacherConfig(model="wide", features=0.3, temperature=2.0)
        teacher = Teacher(loaded, student, corpus.tokenizer, distillation)
        task = PretrainingTask(add_targets=teacher.add_targets, auxiliary=teacher.projection)
    return TrainingRun(
        folder=folder,
        model=student,
        tokenizer=corpus.tokenizer,
        batches=Batches(corpus, chosen, MaskingConfig(span=2), config, mixture),
        config=config,
        memory=MemoryConfig(plan="full"),
        compute=ComputeConfig(precision="fp32", compile="off"),
        validate=lambda model: likelihood(model, questions),
        task=task,
        auxiliary=task.auxiliary,
    )


def test_a_run_with_every_setting_resumes_to_the_same_bits(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_of(tmp_path / "whole", corpus, EVERYTHING, **PERFORMER)
    whole.folder.mkdir()
    last = train(whole, Listening())
    rows = read_rows(whole.folder / "metrics.jsonl")
    assert any(row.get("left_out") for row in rows)
    assert "validation_average" in rows[-1]
    assert rows[-1]["validation_average"] != rows[-1]["validation"]

    folder = tmp_path / "stopped"
    folder.mkdir()
    takes = SpikeGuard.takes
    for stop in (3, 11, 9):
        left = [stop]

        def killed(self: SpikeGuard, norm: float, left: list[int] = left) -> bool:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return takes(self, norm)

        monkeypatch.setattr(SpikeGuard, "takes", killed)
        with pytest.raises(KilledError):
            train(run_of(folder, corpus, EVERYTHING, **PERFORMER), Listening())
    monkeypatch.setattr(SpikeGuard, "takes", takes)
    again = train(run_of(folder, corpus, EVERYTHING, **PERFORMER), Listening())
    assert (folder / "metrics.jsonl").read_bytes() == (whole.folder / "metrics.jsonl").read_bytes()
    files = ["model.safetensors", "optimizer.safetensors", "ema.safetensors", AUXILIARY_FILE]
    for name in files:
        assert (again / name).read_bytes() == (last / name).read_bytes()


def test_muon_takes_the_matrices_of_the_blocks_and_learns(corpus: Corpus, tmp_path: Path) -> None:
    model = Encoder(MODEL)
    adamw, muon = build_optimizers(model, EVERYTHING)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    parts = ("attention.qkv", "attention.out", "mlp.gate_and_up", "mlp.out")
    assert by_muon == {f"blocks.{b}.{part}.weight" for b in (0, 1) for part in parts}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert by_muon | by_adamw == set(names.values())
    assert not by_muon & by_adamw
    (tmp_path / "m").mkdir()
    config = TrainingConfig(
        steps=60, batch_size=8, learning_rate=0.02, optimizer="muon", reverse_complement=False
    )
    repeats = build_corpus(tmp_path / "r", {"a": "ACGGTA" * 300})
    run = run_of(tmp_path / "m", repeats, config)
    train(run, Listening())
    rows = read_rows(tmp_path / "m" / "metrics.jsonl")
    assert rows[-1]["validation"]["bits_per_base"] < 1.5


def test_the_average_is_that_of_a_loop() -> None:
    model = Encoder(MODEL)
    average = WeightAverage(model, 0.5)
    expected = model.head.weight.detach().double()
    for step in range(12):
        with torch.no_grad():
            model.head.weight.add_(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.head.weight.detach().double()
        average.update(step)
    torch.testing.assert_close(average.tensors["head.weight"].double(), expected)
    own = model.head.weight.detach().clone()
    with average.in_place():
        assert torch.equal(model.head.weight, average.tensors["head.weight"])
    assert torch.equal(model.head.weight, own)


def test_a_spike_is_left_out_and_what_is_left_out_does_not_count() -> None:
    guard = SpikeGuard(3.0, ())
    assert all(guard.takes(1.0 + 0.01 * n) for n in range(20))
    assert not guard.takes(3.5)
    assert not guard.takes(float("nan"))
    assert guard.takes(2.9)
    rows = [{"gradient_norm": 1.0}] * 20 + [{"gradient_norm": 90.0, "left_out": True}] * 3
    assert not SpikeGuard(3.0, rows).takes(4.0)
    assert SpikeGuard(0.0, ()).takes(float("inf"))
    stuck = SpikeGuard(3.0, [*rows[:20], *[{"gradient_norm": 90.0, "left_out": True}] * 16])
    with pytest.raises(TrainingError, match="in a row"):
        stuck.takes(50.0)


def test_features_are_drawn_anew_by_seed_and_step() -> None:
    from genomeformer_cli.core.attention.registry import AttentionConfig

    config = replace(MODEL, attention=AttentionConfig(name="performer", num_features=8))
    training = TrainingConfig(redraw_every=4, seed=3)
    one, other = Encoder(config), Encoder(config)

    def drawn(model: Encoder) -> list[torch.Tensor]:
        return [p for name, p in model.named_buffers() if name.endswith("projection_FD")]

    first = [p.clone() for p in drawn(one)]
    for step in (0, 1, 2, 3):
        redraw_features(one, training, step)
    assert all(torch.equal(a, b) for a, b in zip(first, drawn(one), strict=True))
    redraw_features(one, training, 4)
    redraw_features(other, training, 8)
    redraw_features(other, training, 4)
    for before, now, again in zip(first, drawn(one), drawn(other), strict=True):
        assert torch.equal(now, again)
        assert not torch.equal(before, now)
    assert not torch.equal(*drawn(one))


def test_nothing_to_redraw_is_an_error(corpus: Corpus, tmp_path: Path) -> None:
    config = TrainingConfig(steps=2, redraw_every=1)
    with pytest.raises(ConfigError, match="no random features"):
        run_of(tmp_path, corpus, config)


def test_both_strands_answer_with_the_mean_of_their_probabilities(corpus: Corpus) -> None:
    model = Encoder(MODEL, seed=4)
    with torch.no_grad():
        model.head.weight.mul_(30)
    asking = QueryConfig(length=48, max_windows=9, passes=2, both_strands=True)
    questions = make_queries(corpus, asking)
    assert questions.reverse_strand is not None
    score = likelihood(model, questions)
    bits: list[float] = []
    for hidden_WL in questions.hidden_PWL:
        for tokens_L, hidden_L in zip(questions.tokens_WL, hidden_WL, strict=True):
            inputs = torch.from_numpy(tokens_L).masked_fill(torch.from_numpy(hidden_L), 4)
            # A C G T are 5 to 8; what is hidden or N is its own complement.
            turned = torch.where((inputs >= 5) & (inputs < 9), 13 - inputs, inputs).flip(0)
            with torch.no_grad():
                ahead = model(inputs[None], None)[0, :, 5:9].double().softmax(-1)
                back = model(turned[None], None)[0, :, 5:9].double().softmax(-1).flip(0, 1)
            for place in hidden_L.nonzero()[0]:
                mean = (ahead + back)[place, tokens_L[place] - 5] / 2
                bits.append(-float(mean.log2()))
    assert score.bits_per_base == pytest.approx(sum(bits) / len(bits), abs=1e-6)


def test_tensorboard_holds_every_number(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = TrainingConfig(steps=4, batch_size=2, validate_every=2)
    run = replace(run_of(tmp_path, corpus, config), loggers=(TensorboardLogger,))
    train(run, Listening())
    rows = read_rows(tmp_path / "metrics.jsonl")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("training", "validation"):
        shown = events.Scalars(f"{name}/bits_per_base")
        expected = [(r["step"], r[name]["bits_per_base"]) for r in rows if name in r]
        assert [(one.step, one.value) for one in shown] == [
            (step, pytest.approx(value)) for step, value in expected
        ]


def test_a_missing_tensorboard_is_named(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    config = TrainingConfig(steps=1)
    run = replace(run_of(tmp_path, corpus, config), loggers=(TensorboardLogger,))
    with pytest.raises(MissingExtraError, match="TensorBoard"):
        train(run, Listening())


class SmallWandb(ModuleType):
    """Stand-in for Weights & Biases that records calls in lists."""

    class Error(Exception):
        pass

    def __init__(self, step: int = 0, *, refuses: bool = False) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0
        self.step = step
        self.refuses = refuses

    def Settings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802 - their name
        return settings

    def init(self, **arguments: Any) -> SmallWandb:
        if self.refuses:
            raise self.Error("no API key")
        self.begun.append(arguments)
        return self

    def log(self, numbers: dict[str, float], *, step: int) -> None:
        self.logged.append((step, numbers))

    def finish(self) -> None:
        self.finished += 1


def test_weights_and_biases_is_sent_every_number_once(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(steps=4, batch_size=2, validate_every=2)
    opened = partial(WandbLogger, project="genomes", config={"model": {"width": 16}})
    run = replace(run_of(tmp_path, corpus, config), loggers=(opened,))
    first = SmallWandb()
    monkeypatch.setitem(sys.modules, "wandb", first)
    train(run, Listening())
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [step for step, _ in first.logged] == [1, 2, 3, 4]
    for row, (_, numbers) in zip(rows, first.logged, strict=True):
        assert numbers["training/bits_per_base"] == row["training"]["bits_per_base"]
        assert ("validation/accuracy" in numbers) == ("validation" in row)
        assert "step" not in numbers
    (begun,) = first.begun
    assert (begun["project"], begun["config"]) == ("genomes", {"model": {"width": 16}})
    assert begun["settings"] == {"console": "off", "disable_git": True, "disable_code": True}
    assert first.finished == 1
    again = SmallWandb(step=3)
    monkeypatch.setitem(sys.modules, "wandb", again)
    other = run_of(tmp_path, corpus, config)
    (tmp_path / "metrics.jsonl").unlink()
    shutil.rmtree(tmp_path / "checkpoints")
    train(replace(other, loggers=(opened,)), Listening())
    assert again.begun[0]["id"] == begun["id"]
    assert [step for step, _ in again.logged] == [3, 4]


@pytest.mark.parametrize(
    ("module", "error", "words"),
    [
        (None, MissingExtraError, "not installed"),
        (SmallWandb(refuses=True), TrainingError, "no API key"),
    ],
)
def test_weights_and_biases_that_cannot_be_had_is_named(
    module: SmallWandb | None,
    error: type[Exception],
    words: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", module)
    run = run_of(tmp_path, corpus, TrainingConfig(steps=1))
    with pytest.raises(error, match=words):
        train(replace(run, loggers=(partial(WandbLogger, project="p", config={}),)), Listening())
