"""Tiles that are read within longer stretches equal a plain forward pass that is cut and pooled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genomeformer_cli.core.annotation.tiles import TileCount, TileRules, tile_queries
from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.embedding.context_rows import embed_in_context
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.head import SequenceModels, TaskHead, attach_head, get_head
from genomeformer_cli.core.finetuning.inference import Predictor
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.losses import to_predictions
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.formats.sequences import Query, TileContext
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import random_dna
from tests.dna_tokenizers import TOKENIZERS

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
RULES = TileRules(width=20, step=7, context=64, both_strands=True)
SMALL = ModelConfig(
    context=64,
    width=16,
    depth=2,
    num_heads=2,
    mlp_width=16,
    attention=AttentionConfig(name="softmax"),
    complement=COMPLEMENT,
)
KINDS = {
    "bidirectional": SMALL,
    "two stacks of patches": replace(SMALL, direction="two-stack", patch=4),
    "both strands": replace(SMALL, strands="both"),
}
Floats = npt.NDArray[np.floating[Any]]


@pytest.fixture(params=KINDS)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    model = build_model(KINDS[request.param], seed=1).double().eval()
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=Path())


def queries() -> list[Query]:
    """Return the tiles of a long record with N, of one as long as a tile, and of a shorter one."""
    long = random_dna(230, 4)
    records = [long[:50] + "N" * 30 + long[80:], random_dna(20, 5), random_dna(9, 6)]
    return [
        query
        for number, record in enumerate(records)
        for query in tile_queries(Query(f"r{number}", encode_bases(record)), RULES, TileCount())
    ]


def contexts_of(tiles: list[Query]) -> list[TileContext]:
    return [tile.context for tile in tiles if tile.context is not None]


@given(
    size=st.integers(1, 400),
    width=st.integers(1, 40),
    step=st.integers(1, 40),
    more=st.integers(0, 99),
)
@settings(max_examples=25)
def test_a_tile_lies_within_its_stretch(size: int, width: int, step: int, more: int) -> None:
    codes = np.random.default_rng(size).integers(0, 4, size).astype(np.uint8)
    rules = TileRules(
        width=width, step=min(step, width), context=2 * width + more, both_strands=True
    )
    assert rules.context is not None
    stretches = set()
    for query in tile_queries(Query("r", codes), rules, TileCount()):
        context, region = query.context, query.region
        assert context is not None
        assert region is not None
        np.testing.assert_array_equal(context.codes[context.start : context.stop], query.codes)
        assert context.codes.size == min(rules.context, size)
        before, after = context.start, context.codes.size - context.stop
        if region.strand == "-":
            before, after = after, before
        margin = rules.context // 32
        assert before >= margin or region.start == before
        assert after >= margin or size - region.end == after
        stretches.add(region.start - before)
        start = region.start - before
        forward = codes[start : start + context.codes.size]
        given_strand = forward if region.strand == "+" else reverse_complement_codes(forward)
        np.testing.assert_array_equal(context.codes, given_strand)
    stride = rules.context - width - rules.context // 16
    assert len(stretches) <= 1 + -(-max(size - rules.context, 0) // stride)


def test_a_stretch_shorter_than_two_tiles_is_refused() -> None:
    with pytest.raises(UsageError, match=r"invalid `regions\.context=39`"):
        TileRules(width=20, context=39)


@torch.no_grad()
def plain_features(loaded: LoadedModel, codes: Codes, layer: int) -> Floats:
    """Return the features of one stretch, from a forward pass of its own."""
    known: dict[tuple[bytes, int], Floats] = vars(loaded.model).setdefault("plain_features", {})
    key = codes.tobytes(), layer
    if key not in known:
        ids = torch.from_numpy(loaded.tokenizer.encode(codes).astype(np.int64))
        known[key] = loaded.model.hidden_layers(ids[None], None, (layer,))[0][0].numpy()
    return known[key]


def pooled(features_LK: Floats, codes: Codes, pool: str) -> Floats:
    real_LK = features_LK[codes < 4]
    if pool == "moments":
        return np.concatenate((real_LK.mean(axis=0), real_LK.std(axis=0)))
    if pool == "mean":
        return np.asarray(real_LK.mean(axis=0))
    return real_LK.max(axis=0) if pool == "max" else real_LK[0 if pool == "first" else -1]


@pytest.mark.parametrize(
    ("pool", "rc"),
    [
        ("mean", "mean"),
        ("max", "concat"),
        ("moments", "concat"),
        ("last", "none"),
        ("first", "mean"),
    ],
)
def test_vectors_are_pooled_from_a_plain_pass(loaded: LoadedModel, pool: Any, rc: Any) -> None:
    tiles = queries()
    layer = 1 if pool == "max" else 2
    embedder = Embedder(loaded, EmbedOptions(pool=pool, rc=rc, layers=str(layer)))
    done: list[int] = []
    rows_NE = embed_in_context(embedder, contexts_of(tiles), done.append)
    assert sum(done) == sum(tile.codes.size for tile in tiles) * embedder.num_passes
    for tile, row_E in zip(tiles, rows_NE, strict=True):
        context = tile.context
        assert context is not None
        forward = plain_features(loaded, context.codes, layer)[context.start : context.stop]
        strands = [pooled(forward, tile.codes, pool)]
        turned = reverse_complement_codes(context.codes)
        stop = context.codes.size - context.start
        reverse = plain_features(loaded, turned, layer)[stop - tile.codes.size : stop]
        strands.append(pooled(reverse, reverse_complement_codes(tile.codes), pool))
        wanted = {
            "none": strands[0],
            "mean": np.mean(strands, axis=0),
            "concat": np.concatenate(strands),
        }[rc]
        np.testing.assert_allclose(row_E, wanted, atol=1e-5)


@pytest.mark.parametrize("both_strands", [False, True])
@pytest.mark.parametrize("pool", ["mean-max", "attention", "none", "max"])
@torch.no_grad()
def test_predictions_are_those_of_a_plain_pass(
    loaded: LoadedModel, pool: str, *, both_strands: bool
) -> None:
    kind = TaskKind.PER_BASE if pool == "none" else TaskKind.CLASSIFICATION
    space = LabelSpace(kind=kind, names=("a", "b"))
    beside = SequenceModels()
    if pool == "max":
        motifs = MotifOptions(num_filters=8, both_strands=both_strands, length=10)
        beside = SequenceModels(motifs=motifs)
    head = TaskHead(loaded.model.feature_width, 2, pool, beside=beside, seed=3)
    head.out.weight.normal_(generator=torch.Generator().manual_seed(5))
    attach_head(loaded.model, head)
    collator = Collator(
        tokenizer=loaded.tokenizer,
        window=12,
        per_base=pool == "none",
        with_codes=beside.motifs is not None,
    )
    predictor = Predictor(
        model=loaded.model,
        collator=collator,
        label_space=space,
        both_strands=both_strands,
        tokens_per_batch=100,
    )
    tiles = queries()
    contexts = contexts_of(tiles)
    done: list[int] = []
    answers = predictor.predict([tile.codes for tile in tiles], done.append, contexts)
    assert sum(done) == sum(tile.codes.size for tile in tiles)

    def outputs(codes: Codes, start: int, stop: int) -> torch.Tensor:
        features = torch.from_numpy(plain_features(loaded, codes, 2)[start:stop])
        counted = torch.from_numpy(collator.counted_places(codes[start:stop]))
        batch = collator.collate([codes[start:stop]])
        return torch.as_tensor(get_head(loaded.model)(features[counted], batch))

    for tile, answer in zip(tiles, answers, strict=True):
        context = tile.context
        assert context is not None
        wanted = outputs(context.codes, context.start, context.stop)
        if both_strands:
            size = context.codes.size
            turned = reverse_complement_codes(context.codes)
            reverse = outputs(turned, size - context.stop, size - context.start)
            wanted = (wanted + (reverse.flip(0) if pool == "none" else reverse)) / 2
        np.testing.assert_allclose(answer, to_predictions(space, wanted), atol=1e-5)


def test_what_has_no_context_is_refused(loaded: LoadedModel) -> None:
    contexts = contexts_of(queries())
    for options in (EmbedOptions(pool="none"), EmbedOptions(window=32)):
        with pytest.raises(ConfigError, match="is the window of tiles"):
            embed_in_context(Embedder(loaded, options), contexts)
    longer = replace(loaded, tokenizer=TOKENIZERS["3-mers"]())
    with pytest.raises(ConfigError, match="do not end where tiles do"):
        embed_in_context(Embedder(longer, EmbedOptions()), contexts)


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
@pytest.mark.parametrize("rc", ["mean", "concat"])
def test_one_pass_gives_both_strands_of_an_equivariant_model(
    loaded: LoadedModel, pool: Any, rc: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = [encode_bases(random_dna(size, size)) for size in (150, 64, 31, 1)]
    sequences[0] = sequences[0].copy()
    sequences[0][20:33] = 4
    layers = "0,2" if pool == "mean" else "last"

    def rows() -> Floats:
        embedder = Embedder(loaded, EmbedOptions(pool=pool, rc=rc, layers=layers))
        passes.append(embedder.num_passes)
        if pool != "none":
            return embedder.embed(sequences)
        out = np.empty((sum(codes.size for codes in sequences), embedder.width), np.float32)
        embedder.embed_bases(sequences, out)
        return out

    passes: list[int] = []
    shared = rows()
    is_equivariant = loaded.model.is_equivariant
    if is_equivariant:
        monkeypatch.setattr(type(loaded.model), "is_equivariant", Model.is_equivariant)
    np.testing.assert_allclose(shared, rows(), atol=1e-5)
    assert passes == [1 if is_equivariant else 2, 2]
