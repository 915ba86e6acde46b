"""Labelled sequences over several seeds: what is drawn, what is counted, what is printed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.evaluation import neighbourhood, probe_metrics
from genomeformer_cli.core.evaluation import probing as labelled
from genomeformer_cli.core.evaluation.probing import ProbingConfig, ProbingResult, evaluate_task
from genomeformer_cli.core.evaluation.tables import evaluation_tables
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.formats.labelled import Example, RowCount
from genomeformer_cli.core.model_io.embedding_rule import EmbeddingRule
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.sequence import reverse_complement
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.render.console import to_json
from tests.corpora import random_dna
from tests.reporters import Listening

NETWORK: Any = SimpleNamespace(name="model")
RULES = {"auto": EmbeddingRule(layers="0,2", pool="moments")}
MODEL = LoadedModel(
    model=NETWORK, tokenizer=CharTokenizer(), folder=Path(), layers="1", rules=RULES
)


@pytest.fixture(autouse=True)
def vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that are drawn by sequence, in place of a model's."""

    def embedded(loaded: Any, sequences: Any, *others: Any) -> Any:
        return np.array(
            [np.random.default_rng(codes).normal(size=6) for codes in sequences], dtype=np.float32
        )

    monkeypatch.setattr(labelled, "_embed", embedded)
    monkeypatch.setattr(labelled, "KS", (3, 4))
    monkeypatch.setattr(probe_metrics, "NUM_SAMPLES", 20)
    monkeypatch.setattr(neighbourhood, "NUM_PERMUTATIONS", 20)
    monkeypatch.setattr(labelled, "random_twins", lambda loaded, seed, number: {seed: None})


def task(num: int, *, split: bool) -> Task:
    names = ("train", "train", "val", "test")
    examples = tuple(
        Example(
            f"r{row}",
            random_dna(24, row) + ("TATAAT" if row % 3 else "GCGCGC"),
            "ab"[bool(row % 3)] if row % 7 else "ab"[row % 2],
            names[row % 4] if split else "",
        )
        for row in range(num)
    )
    return Task(name="t", examples=examples, count=RowCount(read=num, used=num))


def results(one: Task, most: int, num_seeds: int = 3) -> tuple[ProbingResult, Listening]:
    listening = Listening()
    config = ProbingConfig(most_training=most, num_seeds=num_seeds)
    return evaluate_task(MODEL, one, config, listening), listening


def values(result: ProbingResult, who: str) -> list[float]:
    return [row.logistic.mcc.value for row in result.rows if row.who == who]


def printed(result: ProbingResult, who: str) -> str:
    evaluation = {"predictions": [], "tasks": [to_json(result)]}
    return next(row[2] for row in evaluation_tables(evaluation)[0].rows if row[1] == who)


def test_every_seed_learns_from_rows_of_its_own() -> None:
    result, _ = results(task(160, split=True), most=20)
    assert len(set(values(result, "4-mers"))) > 1
    assert "±" in printed(result, "this model")
    assert "± 0.000" not in printed(result, "this model")


def test_the_twin_has_the_recommended_vectors_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, embedded = [], labelled._embed

    def watch(loaded: LoadedModel, *others: Any) -> Any:
        seen.append((loaded.model, loaded.layers, loaded.rules))
        return embedded(loaded, *others)

    monkeypatch.setattr(labelled, "_embed", watch)
    results(task(40, split=True), 100, num_seeds=1)
    assert seen == [(NETWORK, "1", RULES), (None, "1", RULES)]


def test_classes_of_single_rows_leave_the_neighbourhood_of_the_others() -> None:
    whole = task(41, split=False)
    lonely = Example("lonely", random_dna(30, 999), "c")
    result, _ = results(
        Task(name="t", examples=(*whole.examples, lonely), count=whole.count),
        most=1_000,
        num_seeds=1,
    )
    found = result.rows[0].neighbourhood
    assert found is not None
    assert found.num_rows == 41
    assert 0 < found.chance < 1


def test_where_no_seed_draws_anything_the_interval_is_printed() -> None:
    result, _ = results(task(160, split=True), most=1_000)
    assert len(set(values(result, "4-mers"))) == 1
    assert "±" not in printed(result, "this model")
    assert "[" in printed(result, "this model")


def test_rows_are_reported_and_those_that_were_learned_from_counted() -> None:
    whole = task(80, split=True)
    examples = list(whole.examples)
    learned, tested = examples[0].sequence, [row for row in range(80) if row % 4 == 3]
    for row, letters in zip(tested, (learned, reverse_complement(learned)), strict=False):
        old = examples[row]
        examples[row] = Example(old.id, letters, old.label, old.split)
    count = RowCount(read=82, used=80, left_out={"without a label": 2})
    result, listening = results(
        Task(name="t", examples=tuple(examples), count=count), most=1_000, num_seeds=1
    )
    found = result.duplicates
    assert (found.num_test, found.num_same, found.num_reverse) == (20, 1, 1)
    assert result.count == count
    assert any("82 rows read, 80 used, 2 left out" in one for one in listening.warnings)
    assert any("of 20 test rows 1 have" in one for one in listening.warnings)
