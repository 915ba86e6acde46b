"""A model's score against a loop that hides one base after another."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.evaluation.held_out import held_out_questions
from genomeformer_cli.core.evaluation.likelihood import answer, likelihood
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.model.encoder import Encoder
from genomeformer_cli.core.tokenizers.protocol import MASK_ID
from tests.corpora import build_corpus, random_dna


@torch.no_grad()
def test_score_equals_one_question_at_a_time(tmp_path: Path) -> None:
    split = SplitConfig(by=SplitBy.RECORD, holdout=("b",))
    sequences = {"a": random_dna(200), "b": random_dna(150, 2)}
    corpus = build_corpus(tmp_path / "c", sequences, split=split)
    questions = held_out_questions(corpus, length=50, max_windows=9, passes=12)
    model = Encoder(ModelConfig(context=50, width=16, depth=1, num_heads=2, mlp_width=16), seed=1)
    bits, right = [], []
    for hidden_WL in questions.hidden_PWL:
        for tokens_L, hidden_L in zip(questions.tokens_WL, hidden_WL, strict=True):
            for position in hidden_L.nonzero()[0]:
                inputs = torch.from_numpy(tokens_L.copy())[None]
                inputs[0, position] = MASK_ID
                probability = torch.softmax(model(inputs, None)[0, position, 5:9].double(), dim=0)
                truth = int(tokens_L[position]) - 5
                bits.append(-math.log2(float(probability[truth])))
                right.append(int(probability.argmax()) == truth)
    score = likelihood(model, questions)
    assert score.num_bases == len(bits) > 5
    assert score.bits_per_base == pytest.approx(sum(bits) / len(bits), abs=1e-5)
    assert score.accuracy == pytest.approx(sum(right) / len(right))
    # Passes, then windows, then places: the order in which `numpy.nonzero` finds them.
    answers = answer(model, questions)
    assert answers.bits_N == pytest.approx(bits, abs=1e-5)
    assert answers.right_N.tolist() == right
