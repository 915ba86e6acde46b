"""Whole fine-tunings in this process: what is learned, killed and gone on with, kept and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli.core.configuration import overlay
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.finetuning.batches import TaskBatches
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned, write_finetuned
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.config import FinetuneConfig, SplitRule, TuningConfig
from genomeformer_cli.core.finetuning.dataset import (
    LabelledRows,
    LabelledTable,
    class_weights,
    label_rows,
)
from genomeformer_cli.core.finetuning.head import TaskHead, attach_head
from genomeformer_cli.core.finetuning.kmer_baseline import select_features
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.run import (
    FinetuningRun,
    load_best_model,
    prepare_run,
    select_motifs,
    train_seed,
)
from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH, SeedResult
from genomeformer_cli.core.finetuning.task import FinetuningTask
from genomeformer_cli.core.formats.labelled import Example
from genomeformer_cli.core.model_io.int8_record import Int8Record
from genomeformer_cli.core.model_io.model_folder import write_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import SINGLE_PROCESS
from genomeformer_cli.core.training.metrics import read_rows
from tests.reporters import Listening

MODEL = ModelConfig(context=48, width=16, depth=2, num_heads=2, mlp_width=16, conv_width=3)
DIALS: dict[str, dict[str, Any]] = {
    "full": {"tuning": {"dropout": 0.2, "strands": "augment", "layer_decay": 0.8}},
    "lora": {"tuning": {"method": "lora", "rank": 2, "pool": "attention", "strands": "average"}},
    "average": {
        "tuning": {"mutation": 0.1, "shift": 3, "smoothing": 0.1, "pool": "mean-max"},
        "training": {"ema": 0.9},
    },
    "linear": {"tuning": {"linear": "both", "kmer": 3}},
    "motifs": {"tuning": {"motif_filters": 8, "strands": "average", "pool": "mean-max"}},
    "head": {"tuning": {"method": "head", "pool": "max", "class_weights": "balanced"}},
}
RESULT = "result.json"


class KilledError(Exception):
    """Error that ends a run in these tests."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    write_model(build_model(MODEL, seed=1), CharTokenizer(), folder)
    record = Int8Record(cosine=1, bits_per_base_fp32=2, bits_per_base_int8=2, probes={})
    described = {**read_json(folder / "config.json"), "inference": {"int8": asdict(record)}}
    write_json(folder / "config.json", described)
    seal(folder)
    return folder


def examples(number: int = 96) -> list[Example]:
    """GC-rich or AT-rich, of many lengths."""
    generator = np.random.default_rng(0)
    rows = []
    for n in range(number):
        rich = n % 2
        chances = [0.15, 0.35, 0.35, 0.15] if rich else [0.35, 0.15, 0.15, 0.35]
        letters = generator.choice(list("ACGT"), int(generator.integers(12, 90)), p=chances)
        rows.append(Example(str(n), "".join(letters), ("at", "gc")[rich]))
    return rows


def rows_of(some: list[Example], **changes: Any) -> LabelledRows:
    table = LabelledTable(name="task", examples=some, columns=("label",))
    settings = {"kind": None, "split": SplitRule(), "reporter": SilentReporter(), **changes}
    return label_rows(table, **settings)


def tuning_of(
    base: Path, dials: Mapping[str, Any], rows: LabelledRows | None = None
) -> FinetuningRun:
    rows = rows or rows_of(examples())
    plain = {
        "training": {"steps": 12, "batch_size": 8, "validate_every": 3, "checkpoint_every": 3},
        "compute": {"precision": "fp32"},
        "network": "off",
    }
    config = overlay(FinetuneConfig(), plain, where="test")
    config = overlay(config, {"tuning": {"metric": "mcc", "window": 48}}, where="test")
    config = overlay(config, dials, where="test")
    pool = "none" if rows.label_space.is_per_base else config.tuning.pool
    task = SavedTask(
        name=rows.name,
        targets=rows.label_space,
        pool=pool,
        strands=config.tuning.strands,
        window=config.tuning.window,
        linear=select_features(rows, config.tuning),
        motifs=select_motifs(rows, config.tuning),
    )
    return FinetuningRun(rows=rows, task=task, config=config, base=base, device=torch.device("cpu"))


@pytest.mark.parametrize("dials", DIALS.values(), ids=DIALS)
def test_a_killed_run_resumes_to_the_same_bits(
    base: Path, tmp_path: Path, dials: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = tuning_of(base, dials)
    whole = train_seed(tuning, tmp_path / "whole", "pretrained", 5, Listening())
    gradients = FinetuningTask.gradients
    for stop in (2, 5, 4):
        left = [stop]

        def killed(self: FinetuningTask, *given: Any, left: list[int] = left) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return gradients(self, *given)

        monkeypatch.setattr(FinetuningTask, "gradients", killed)
        with pytest.raises(KilledError):
            train_seed(tuning, tmp_path / "stopped", "pretrained", 5, Listening())
    monkeypatch.setattr(FinetuningTask, "gradients", gradients)
    again = train_seed(tuning, tmp_path / "stopped", "pretrained", 5, Listening())
    assert again == whole
    one, other = (tmp_path / run / "pretrained-seed-5" for run in ("whole", "stopped"))
    last = sorted((one / "checkpoints").iterdir())[-1].name
    for name in (
        *("metrics.jsonl", RESULT, "best/weights.safetensors"),
        *(f"checkpoints/{last}/{part}.safetensors" for part in ("model", "optimizer")),
    ):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.gpu
@pytest.mark.parametrize("dials", DIALS.values(), ids=DIALS)
def test_a_killed_run_resumes_on_a_gpu(
    base: Path, tmp_path: Path, dials: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    longer = {"training": {"steps": 60, "learning_rate": 3e-3}, "tuning": {"patience": 0}}
    tuning = tuning_of(base, overlaid(dials, longer))
    on_gpu = replace(tuning, device=torch.device("cuda"))
    wanted = train_seed(tuning, tmp_path / "cpu", "pretrained", 5, SilentReporter())
    gradients, left = FinetuningTask.gradients, [31]

    def killed(self: FinetuningTask, *given: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise KilledError
        return gradients(self, *given)

    monkeypatch.setattr(FinetuningTask, "gradients", killed)
    with pytest.raises(KilledError):
        train_seed(on_gpu, tmp_path / "gpu", "pretrained", 5, SilentReporter())
    found = train_seed(on_gpu, tmp_path / "gpu", "pretrained", 5, SilentReporter())
    assert found.steps == wanted.steps == 60
    assert found.test.loss == pytest.approx(wanted.test.loss, rel=0.05)


def overlaid(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {**one.get(key, {}), **other.get(key, {})} for key in {**one, **other}}


def test_composition_is_learned_and_the_twin_has_its_own_weights(
    base: Path, tmp_path: Path
) -> None:
    dials = {"training": {"steps": 60, "validate_every": 20, "learning_rate": 3e-3}}
    tuning = tuning_of(base, dials)
    origins = (PRETRAINED, SCRATCH)
    results = [
        train_seed(tuning, tmp_path / "r", origin, 0, SilentReporter()) for origin in origins
    ]
    for result in results:
        assert result.test.measures["mcc"] > 0.5
        assert result.interval.low <= result.interval.value <= result.interval.high
        assert result.test.num_rows == tuning.rows.splits["test"].size
    assert results[0].test != results[1].test
    again = train_seed(tuning, tmp_path / "r", "pretrained", 0, SilentReporter())
    assert isinstance(again, SeedResult)
    assert again == results[0], "a finished seed is read, not trained again"


def test_the_head_alone_leaves_the_model_as_it_was(base: Path, tmp_path: Path) -> None:
    tuning = tuning_of(base, DIALS["head"])
    result = train_seed(tuning, tmp_path / "r", "pretrained", 0, SilentReporter())
    assert result.num_trained == 16 * 2 + 2
    model = load_best_model(tuning, tmp_path / "r", result).model
    for name, tensor in build_model(MODEL, seed=1).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


@pytest.mark.parametrize("dials", DIALS.values(), ids=DIALS)
def test_what_is_saved_answers_as_what_was_trained(
    base: Path, tmp_path: Path, dials: Mapping[str, Any]
) -> None:
    tuning = tuning_of(base, dials)
    result = train_seed(tuning, tmp_path / "r", "pretrained", 0, SilentReporter())
    tuned = load_best_model(tuning, tmp_path / "r", result)
    (tmp_path / "b").mkdir()
    write_finetuned(tuned, tuning.task, tmp_path / "b")
    seal(tmp_path / "b")
    loaded, task = read_finetuned(tmp_path / "b")
    assert task == tuning.task
    assert (loaded.int8 is not None) == (tuning.config.tuning.method == "head")
    codes = tuning.rows.codes
    one, other = (
        np.concatenate(task.predictor(a.model, a.tokenizer, size).predict(codes))
        for a, size in ((tuned, 64), (loaded, 4_096))
    )
    np.testing.assert_allclose(one, other, atol=1e-5)
    score, _ = task.predictor(loaded.model, loaded.tokenizer, 64).evaluate(
        tuning.rows, "test", tuning.loss
    )
    assert score.measures == pytest.approx(result.test.measures)
    with pytest.raises(CheckpointError, match="no prediction head"):
        read_finetuned(base)


def test_the_average_of_the_weights_is_what_is_kept(base: Path, tmp_path: Path) -> None:
    dials = {"training": {"ema": 0.9, "learning_rate": 3e-3}}
    tuning = tuning_of(base, dials)
    result = train_seed(tuning, tmp_path / "r", "pretrained", 0, SilentReporter())
    rows = read_rows(tmp_path / "r" / "pretrained-seed-0" / "metrics.jsonl")
    (best,) = [row for row in rows if row["step"] == result.best_step]
    assert best["validation"] != best["validation_average"]
    assert result.validation.loss == best["validation_average"]["loss"]
    tuned = load_best_model(tuning, tmp_path / "r", result)
    answerer = tuning.task.predictor(tuned.model, tuned.tokenizer, 4_096)
    score, _ = answerer.evaluate(tuning.rows, "val", tuning.loss)
    assert score.loss == pytest.approx(result.validation.loss)


def test_patience_ends_a_run_and_it_stays_ended(base: Path, tmp_path: Path) -> None:
    # Steps too small to change a weight: the first validation stays the best.
    dials = {"tuning": {"patience": 2, "metric": "loss"}, "training": {"learning_rate": 1e-30}}
    tuning = tuning_of(base, dials)
    result = train_seed(tuning, tmp_path / "r", "pretrained", 0, SilentReporter())
    assert (result.best_step, result.steps) == (3, 9)
    folder = tmp_path / "r" / "pretrained-seed-0"
    rows = (folder / "metrics.jsonl").read_bytes()
    (folder / RESULT).unlink()
    assert train_seed(tuning, tmp_path / "r", "pretrained", 0, SilentReporter()) == result
    assert (folder / "metrics.jsonl").read_bytes() == rows
    assert read_rows(folder / "metrics.jsonl")[-1]["step"] == result.steps


def test_rates_fall_from_the_head_down() -> None:
    model = build_model(MODEL)
    attach_head(model, TaskHead(16, 2, "mean"))
    tuning = TuningConfig(layer_decay=0.5, head_rate=4.0)
    loss = Loss(label_space=rows_of(examples(20)).label_space, weights=(1.0, 1.0))
    learning = FinetuningTask(tuning=tuning, loss=loss, metric="mcc", seed=0)
    (optimizer,) = learning.optimizers(model, TrainingConfig())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {
        names[id(p)]: group["scale"] for group in optimizer.param_groups for p in group["params"]
    }
    assert scales["task.out.weight"] == 4.0
    assert scales["norm.weight"] == 1.0
    assert scales["blocks.1.mlp.out.weight"] == 0.5
    assert scales["blocks.0.mlp.out.weight"] == 0.25
    assert scales["embedding.weight"] == 0.125
    assert set(scales) == set(names.values())


def test_labels_of_bases_are_not_shifted(base: Path) -> None:
    some = [replace_label(one, KINDS["per-base"](one)) for one in examples(60)]
    config = FinetuneConfig(tuning=TuningConfig(shift=4))
    with pytest.raises(ConfigError, match="are not shifted"):
        prepare_run(rows_of(some), config, base, torch.device("cpu"))


def test_smoothing_shares_the_weight_of_a_class() -> None:
    targets = rows_of(examples(20)).label_space
    loss = Loss(label_space=targets, weights=(1.0, 1.0))
    said, truth = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    wanted = -(
        0.95 * said.log_softmax(1)[[0, 1], truth] + 0.05 * said.log_softmax(1)[[0, 1], 1 - truth]
    )
    torch.testing.assert_close(loss.total(said, truth, 0.1), wanted.sum())


def test_numbers_are_not_smoothed(base: Path) -> None:
    some = [replace_label(one, KINDS["regression"](one)) for one in examples(60)]
    config = FinetuneConfig(tuning=TuningConfig(smoothing=0.1))
    with pytest.raises(ConfigError, match="regression are not smoothed"):
        prepare_run(rows_of(some), config, base, torch.device("cpu"))


def test_computing_in_parts_changes_no_gradient() -> None:
    rows = rows_of(examples(60))
    weights = tuple(class_weights(rows, balanced=True))
    found = []
    for tokens in (1 << 20, 64):
        model = build_model(MODEL)
        head = TaskHead(16, 2, "mean")
        torch.nn.init.normal_(head.out.weight, generator=torch.Generator().manual_seed(0))
        attach_head(model, head)
        tuning = TuningConfig(tokens_per_batch=tokens, dropout=0.0)
        packer = Collator(tokenizer=CharTokenizer(), window=48, per_base=False)
        batch = TaskBatches(rows, packer, tuning, batch_size=16, seed=0).make(0)
        loss = Loss(label_space=rows.label_space, weights=weights)
        learning = FinetuningTask(tuning=tuning, loss=loss, metric="mcc", seed=0)
        learned = learning.gradients(model, batch, None, SINGLE_PROCESS)  # type: ignore[arg-type]
        assert learned.score.num_rows == 16
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert len(found[0]) > 10
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-5, rtol=1e-3)


def test_rare_classes_count_as_much_as_frequent_ones() -> None:
    some = [replace_label(one, "gc" if n < 8 else "at") for n, one in enumerate(examples(80))]
    rows = rows_of(some)
    weights = class_weights(rows, balanced=True)
    truth = np.concatenate([rows.targets[row] for row in rows.splits["train"]])
    counts = np.bincount(truth)
    np.testing.assert_allclose(weights * counts, truth.size / 2)
    assert class_weights(rows, balanced=False) == [1.0, 1.0]


def replace_label(one: Example, label: str) -> Example:
    return replace(one, label=label)


KINDS: dict[str, Callable[[Example], str]] = {
    "per-base": lambda one: "".join("sw"[letter in "AT"] for letter in one.sequence),
    "regression": lambda one: str(sum(map(one.sequence.count, "GC")) / len(one.sequence)),
    "multi-label": lambda one: "rich;strong" if one.label == "gc" else "poor",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_learned(kind: str, base: Path, tmp_path: Path) -> None:
    some = [replace_label(one, KINDS[kind](one)) for one in examples(120)]
    rows = rows_of(some)
    assert rows.label_space.kind.value == kind
    metric = {"per-base": "mcc", "regression": "r2", "multi-label": "auroc"}[kind]
    dials = {
        "tuning": {"metric": metric, "strands": "augment"},
        "training": {"steps": 60, "validate_every": 20, "learning_rate": 3e-3},
    }
    result = train_seed(
        tuning_of(base, dials, rows), tmp_path / "r", "pretrained", 0, SilentReporter()
    )
    assert result.test.measures[metric] > 0.6


def test_rows_without_a_base_are_left_out_with_a_message() -> None:
    listening = Listening()
    rows = rows_of([*examples(40), Example("n", "NNNN", "at")], reporter=listening)
    assert len(rows.codes) == 40
    assert (
        "41 rows read, 40 used, 1 left out (1 with a sequence of N alone)" in listening.warnings[0]
    )
