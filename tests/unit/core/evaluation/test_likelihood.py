"""A model's score against a loop that hides one base after another."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.evaluation.likelihood import likelihood, score_windows
from genomeformer_cli.core.evaluation.masked_queries import QueryConfig, make_queries
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.tokenizers.protocol import MASK_ID
from tests.corpora import build_corpus, random_dna


@torch.no_grad()
def test_score_equals_one_question_at_a_time(tmp_path: Path) -> None:
    split = SplitConfig(by=SplitBy.RECORD, holdout=("b",))
    sequences = {"a": random_dna(200), "b": random_dna(150, 2)}
    corpus = build_corpus(tmp_path / "c", sequences, split=split)
    questions = make_queries(corpus, QueryConfig(length=50, max_windows=9, passes=12))
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
    answers = score_windows(model, questions)
    assert answers.bits_N == pytest.approx(bits, abs=1e-5)
    assert answers.correct_N.tolist() == right


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 3])
def test_longer_tokens_are_predicted_one_query_at_a_time(tmp_path: Path, stride: int) -> None:
    tokenizer = build_tokenizer("kmer", k=3, stride=stride)
    corpus = build_corpus(tmp_path / "c", {"a": random_dna(3_000)}, tokenizer=tokenizer)
    questions = make_queries(corpus, QueryConfig(length=40, max_windows=9, passes=64))
    config = ModelConfig(
        vocabulary_size=len(tokenizer.tokens),
        context=40,
        width=16,
        depth=1,
        num_heads=2,
        mlp_width=16,
    )
    model = Encoder(config, seed=1)
    bits = []
    for hidden_WL, asked_WL in zip(questions.hidden_PWL, questions.is_query, strict=True):
        for window, position in zip(*asked_WL.nonzero(), strict=True):
            inputs = torch.from_numpy(questions.tokens_WL[window])[None]
            masked = inputs.masked_fill(torch.from_numpy(hidden_WL[window])[None], MASK_ID)
            logits = model(masked, None)[0, position].double()
            token = tokenizer.tokens[int(inputs[0, position])]
            if stride == 1:
                # The three others that differ in the hidden base, and the token itself.
                place = questions.base_offset
                rivals = [token[:place] + base + token[place + 1 :] for base in "ACGT"]
            else:
                rivals = [tokenizer.tokens[one] for one in questions.real_ids]
            told = torch.softmax(logits[[tokenizer.tokens.index(one) for one in rivals]], dim=0)
            bits.append(-math.log2(float(told[rivals.index(token)])))
    answers = score_windows(model, questions)
    assert len(bits) > 20
    assert answers.bits_N == pytest.approx(bits, abs=1e-4)
    assert answers.score().bits_per_token == pytest.approx(sum(bits) / len(bits), abs=1e-4)
    assert answers.score().num_bases == len(bits) * stride
