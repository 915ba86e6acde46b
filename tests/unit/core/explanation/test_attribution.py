"""Attributions: gradients against finite differences, completeness, substitutions by definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.explanation.attribution import (
    Answer,
    BaseAnswer,
    Method,
    TaskAnswer,
    attribute,
    attribute_all,
)
from genomeformer_cli.core.finetuning.checkpoint import SavedTask
from genomeformer_cli.core.finetuning.head import attach_head, get_head
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.sequence import encode_bases
from tests.corpora import random_dna
from tests.unit.core.explanation.test_dependencies import load

CODES = encode_bases(random_dna(8, 5) + "N" + random_dna(4, 6))
KNOWN = np.flatnonzero(CODES < 4)


def task_answer(
    direction: str, strands: str, kind: TaskKind, patch: int = 1, *, beside: str = ""
) -> TaskAnswer:
    loaded = load("char", direction, patch)
    motifs = MotifOptions(num_filters=8, both_strands=strands != "given", length=13)
    task = SavedTask(
        name="x",
        targets=LabelSpace(kind=kind, names=("a", "b"), means=(1.0, 2.0), spreads=(3.0, 0.5)),
        pool="attention",
        strands=strands,  # type: ignore[arg-type]
        window=64,
        motifs=motifs if beside == "motifs" else None,
        network=motifs if beside == "network" else None,
    )
    head = task.build_head(loaded.model)
    if head.network is not None:
        head.stack_2.copy_(torch.tensor([0.7, 0.6]))
    with torch.no_grad():
        head.out.weight.normal_(generator=torch.Generator().manual_seed(1))
    attach_head(loaded.model, head)
    return TaskAnswer(task.predictor(loaded.model, loaded.tokenizer, 512), 1)


CASES: list[Answer] = [
    task_answer("two-stack", "average", TaskKind.CLASSIFICATION, patch=4),
    task_answer("bidirectional", "average", TaskKind.REGRESSION),
    task_answer("causal", "given", TaskKind.MULTI_LABEL),
    task_answer("two-stack", "average", TaskKind.CLASSIFICATION, beside="motifs"),
    task_answer("bidirectional", "given", TaskKind.CLASSIFICATION, beside="motifs"),
    task_answer("two-stack", "average", TaskKind.MULTI_LABEL, beside="network"),
    *(
        BaseAnswer(load("char", direction), 4, int(CODES[4]), every=5)
        for direction in ("bidirectional", "causal", "two-stack")
    ),
]


def numbers(answer: Answer, mixture_BPR: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        dtype = next(answer.model.parameters()).dtype
        return answer.soft_values(CODES, torch.tensor(mixture_BPR, dtype=dtype)).numpy()


@pytest.mark.parametrize("answer", CASES, ids=range(len(CASES)))
def test_gradients_and_their_integral(answer: Answer) -> None:
    real = np.eye(4)[CODES[KNOWN]]
    value = float(answer.values([CODES])[0])
    # The maxima of a motif scanner have kinks, also on the path of the integral.
    head = get_head(answer.model) if isinstance(answer, TaskAnswer) else None
    has_kinks = head is not None and (head.motifs is not None or head.network is not None)
    slack = 10 if has_kinks else 1
    step = 1e-3
    steps = step * np.eye(real.size).reshape(-1, *real.shape)
    mixtures = np.concatenate(([real, np.full_like(real, 0.25)], real + steps, real - steps))
    at_real, at_equal, *moved = numbers(answer, mixtures)
    assert at_real == pytest.approx(value, abs=1e-5)
    gradient = attribute(answer, CODES, Method.GRAD)
    up, down = np.reshape(moved, (2, *real.shape))
    slopes = (up - down) / (2 * step)
    expected = slopes - slopes.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient.effect_LR[KNOWN], expected, atol=2e-3 * slack)
    assert np.isnan(gradient.base_L[8])
    assert np.abs(expected).max() > 1e-2
    path = attribute(answer, CODES, Method.IG)
    assert np.nansum(path.base_L) == pytest.approx(value - at_equal, abs=1e-4 * slack**2)


@pytest.mark.parametrize("method", Method)
def test_threads_change_no_attribution(method: Method) -> None:
    answer = CASES[0]
    rows = [encode_bases(random_dna(4 + number, number)) for number in range(6)]
    expected = [attribute(answer, row, method) for row in rows]
    num_threads, done = torch.get_num_threads(), list[int]()
    try:
        for workers in (1, 3):
            torch.set_num_threads(workers)
            found = attribute_all([answer] * len(rows), rows, method, done.append)
            assert torch.get_num_threads() == workers
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one.effect_LR, other.effect_LR, rtol=1e-9, atol=1e-12)
    finally:
        torch.set_num_threads(num_threads)
    assert sum(done) == 2 * sum(row.size for row in rows)
    assert not any(module._forward_hooks for module in answer.model.modules())


@pytest.mark.parametrize("answer", CASES, ids=range(len(CASES)))
def test_substitutions(answer: Answer) -> None:
    result = attribute(answer, CODES, Method.ISM)
    value = answer.values([CODES])[0]
    for position in (0, 6):
        changes = []
        for base in range(4):
            mutant = CODES.copy()
            mutant[position] = base
            changes.append(answer.values([mutant])[0] - value)
        np.testing.assert_allclose(result.effect_LR[position], changes, atol=1e-5)
        assert result.base_L[position] == pytest.approx(-sum(changes) / 3, abs=1e-5)


def test_tokens_of_several_bases_have_no_gradients() -> None:
    answer = BaseAnswer(load("3-mers", "bidirectional"), 4, int(CODES[4]), every=5)
    with pytest.raises(ConfigError, match="single bases"):
        attribute(answer, CODES, Method.GRAD)
    assert np.isfinite(attribute(answer, CODES, Method.ISM).base_L[0])
