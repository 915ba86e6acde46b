"""No result depends on the rows beside it: alone = in company = in another order, to 1e-5.

Every command that computes rows in batches is here, with every mechanism in every direction. Random
heads are large, so that a leak from padding or from a neighbour shows in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.embedding.embedder import Embedder, embed_tokens
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation import base_likelihood as scoring
from genomeformer_cli.core.evaluation import likelihood, tokenized_record
from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.evaluation.variants import VariantOptions, score_variants
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.head import SequenceModels, TaskHead, attach_head
from genomeformer_cli.core.finetuning.inference import Predictor
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, require_ordered
from tests.corpora import random_dna

CONTEXT, WIDTH = 32, 8
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
LENGTHS = (17, 32, 70, 23, 1)
ROWS = [encode_bases(random_dna(length, seed)).copy() for seed, length in enumerate(LENGTHS)]
ROWS[0][3:6] = 4

Floats = npt.NDArray[np.floating[Any]]
Kind = tuple[str, dict[str, Any]]


def kinds() -> list[Kind]:
    """Return every mechanism in every direction, and other shapes of models."""
    found: list[Kind] = []
    for name, entry in ATTENTIONS.items():
        for way in entry.directions:
            directions = ("causal", "two-stack") if way == "causal" else ("bidirectional",)
            found += [(name, {"direction": direction}) for direction in directions]
    found += [
        ("softmax", {"patch": 4}),
        ("gated-linear", {"patch": 4, "direction": "two-stack"}),
        ("performer", {"conv_width": 3}),
        ("softmax", {"strands": "both"}),
        ("linear", {"residual": "reversible"}),
    ]
    return found


def model_of(kind: Kind) -> LoadedModel:
    name, options = kind
    attention = AttentionConfig(
        name=name, num_features=8, window=5, num_global=2, hash_rounds=2, hash_chunk=4
    )
    turns = options.get("strands") == "both" or options.get("direction") == "two-stack"
    config = ModelConfig(
        context=CONTEXT,
        width=WIDTH,
        depth=2,
        num_heads=2,
        mlp_width=8,
        attention=attention,
        complement=COMPLEMENT if turns else (),
        **options,
    )
    model = build_model(config, seed=3).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for place, weight in model.named_parameters():
            if place.endswith("head.weight"):
                weight.normal_(generator=generator)
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=Path())


def name_of(kind: Kind) -> str:
    return f"{kind[0]}-{'-'.join(map(str, kind[1].values()))}"


@pytest.fixture(params=kinds(), ids=name_of)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model_of(request.param)


Compute = Callable[[Sequence[int]], list[Floats]]


def assert_alone_as_in_company(compute: Compute, number: int) -> None:
    """Compute rows together, in another order, and each by itself."""
    together = compute(range(number))
    order = [(3 * place + 1) % number for place in range(number)]
    assert sorted(order) == list(range(number))
    mixed = dict(zip(order, compute(order), strict=True))
    for row, values in enumerate(together):
        (alone,) = compute([row])
        np.testing.assert_allclose(values, alone, atol=1e-5, rtol=1e-5, err_msg=f"row {row}")
        np.testing.assert_allclose(mixed[row], alone, atol=1e-5, rtol=1e-5, err_msg=f"row {row}")


def test_vectors(loaded: LoadedModel) -> None:
    embedder = Embedder(loaded, EmbedOptions(rc="concat", tokens_per_batch=100))

    def compute(rows: Sequence[int]) -> list[Floats]:
        return list(embedder.embed([ROWS[row] for row in rows]))

    assert_alone_as_in_company(compute, len(ROWS))


def test_vectors_of_bases(loaded: LoadedModel) -> None:
    embedder = Embedder(loaded, EmbedOptions(pool="none", tokens_per_batch=100))

    def compute(rows: Sequence[int]) -> list[Floats]:
        codes = [ROWS[row] for row in rows]
        out = np.zeros((sum(one.size for one in codes), embedder.width), dtype=np.float32)
        embedder.embed_bases(codes, out)
        return np.split(out, np.cumsum([one.size for one in codes])[:-1])

    assert_alone_as_in_company(compute, len(ROWS))


def test_vectors_that_evaluate_learns_from(loaded: LoadedModel) -> None:
    ids = [loaded.tokenizer.encode(one) for one in ROWS]

    def compute(rows: Sequence[int]) -> list[Floats]:
        some = [ids[row] for row in rows]
        return list(
            embed_tokens(loaded, some, EmbedOptions(window=CONTEXT), reporter=SilentReporter())
        )

    assert_alone_as_in_company(compute, len(ROWS))


def test_scores_of_windows(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = ScoringOptions(window=CONTEXT, every=3)
    together = [scoring.base_log2(loaded, codes, rule) for codes in ROWS[1:3]]
    monkeypatch.setattr(tokenized_record, "_CPU_TOKENS", 1)
    for codes, values in zip(ROWS[1:3], together, strict=True):
        alone = scoring.base_log2(loaded, codes, rule)
        np.testing.assert_allclose(values, alone, atol=1e-5, rtol=1e-5)


def test_scores_of_variants(loaded: LoadedModel) -> None:
    genome: dict[str, Codes] = {"long": ROWS[2], "short": ROWS[3], "whole": ROWS[1]}

    def variant(record: str, position: int, size: int, alt: str) -> Variant:
        ref = "".join("ACGTN"[code] for code in genome[record][position - 1 : position - 1 + size])
        alt = alt.replace("*", ref) or "ACGT"[("ACGT".index(ref) + 1) % 4]
        return Variant(chromosome=record, position=position, id=".", ref=ref, alt=alt)

    variants = [
        variant("long", 40, 1, ""),
        variant("short", 7, 1, "*ACGTACGTACGTACGTACGT"),
        variant("long", 20, 9, "A"),
        variant("whole", 32, 1, ""),
        variant("long", 60, 3, "*CC"),
    ]

    def compute(rows: Sequence[int]) -> list[Floats]:
        some = [variants[row] for row in rows]
        scores = score_variants(
            loaded, some, genome, VariantOptions(window=CONTEXT), SilentReporter()
        )
        return [
            np.array(
                [
                    np.nan if value is None else value
                    for value in (score.log_odds, score.embedding_distance)
                ]
            )
            for score in scores
        ]

    assert_alone_as_in_company(compute, len(variants))


def predicting() -> list[Any]:
    """Return all mechanisms with one head, and one of each form of model with the others."""
    heads = [("mean-max", False, 0), ("max", False, 8), ("mean", True, 8)]
    forms = [kind for kind in kinds() if kind[0] in ("softmax", "gated-linear")]
    cases = [(kind, ("none", True, 0)) for kind in kinds()]
    cases += [(kind, head) for kind in forms for head in heads]
    return [pytest.param(kind, *head, id=f"{name_of(kind)}-{head[0]}") for kind, head in cases]


@pytest.mark.parametrize(
    ("loaded", "pool", "both_strands", "num_filters"), predicting(), indirect=["loaded"]
)
def test_predictions(
    loaded: LoadedModel, pool: str, num_filters: int, *, both_strands: bool
) -> None:
    kind = TaskKind.PER_BASE if pool == "none" else TaskKind.CLASSIFICATION
    motifs = (
        MotifOptions(num_filters=num_filters, both_strands=both_strands, length=20)
        if num_filters
        else None
    )
    head = TaskHead(loaded.model.feature_width, 3, pool, beside=SequenceModels(motifs=motifs))
    torch.nn.init.normal_(head.out.weight, generator=torch.Generator().manual_seed(5))
    attach_head(loaded.model, head.eval())
    answerer = Predictor(
        model=loaded.model,
        collator=Collator(
            tokenizer=loaded.tokenizer,
            window=CONTEXT,
            per_base=pool == "none",
            with_codes=bool(num_filters),
        ),
        label_space=LabelSpace(kind=kind, names=("a", "b", "c")),
        both_strands=both_strands,
        tokens_per_batch=100,
    )

    def compute(rows: Sequence[int]) -> list[Floats]:
        return list(answerer.predict([ROWS[row] for row in rows]))

    assert_alone_as_in_company(compute, len(ROWS))


def test_answers_to_held_out_questions(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [codes for codes in ROWS if 1 < codes.size <= CONTEXT]
    tokens_WL = np.full((len(rows), CONTEXT), PAD_ID, dtype=np.int64)
    for row, codes in enumerate(rows):
        tokens_WL[row, : codes.size] = loaded.tokenizer.encode(codes)
    real_ids = require_ordered(loaded.tokenizer).real_ids
    hidden_WL = (tokens_WL >= real_ids.start) & (tokens_WL < real_ids.stop)
    hidden_WL &= np.arange(CONTEXT) % 3 == 1
    questions = Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_WL[None], real_ids=real_ids)
    together = likelihood.score_windows(loaded.model, questions).bits_N
    monkeypatch.setattr(likelihood, "_CPU_TOKENS", 1)
    alone = likelihood.score_windows(loaded.model, questions).bits_N
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-5)
