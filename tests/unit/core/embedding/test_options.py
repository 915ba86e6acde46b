"""Pools, layers, strands, windows and bases: each against what it is said to be."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.embedding import batch_runner, embedder
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.module import EmbeddingModule
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.pooling import NUM_BINS, has_vector
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.model_io.embedding_rule import EmbeddingRule
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from tests.corpora import random_dna
from tests.gradient_cases import COMPLEMENT

Array = npt.NDArray[Any]
POOLS: list[Pool] = ["mean", "max", "mean-max", "moments", "words", "bins", "first", "last"]
TEXTS = [random_dna(length, seed) for seed, length in enumerate((40, 1, 130, 64, 17, 64))]
TEXTS += ["NNACGTNN", "", "NNN"]
REAL = TEXTS[:-2]


def load(
    *, tokenizer: Tokenizer | None = None, attention: str = "performer", **settings: Any
) -> LoadedModel:
    tokenizer = tokenizer or CharTokenizer()
    config = ModelConfig(
        vocabulary_size=len(tokenizer.tokens),
        context=64,
        width=16,
        depth=3,
        num_heads=2,
        mlp_width=24,
        attention=AttentionConfig(name=attention, num_features=16),
        **settings,
    )
    model = build_model(config, seed=3).eval()
    return LoadedModel(model=model, tokenizer=tokenizer, folder=Path())


def rows(loaded: LoadedModel, texts: list[str], **choices: Any) -> Array:
    return Embedder(loaded, EmbedOptions(**choices)).embed([encode_bases(one) for one in texts])


def bases(loaded: LoadedModel, texts: list[str], **choices: Any) -> list[Array]:
    embedder = Embedder(loaded, EmbedOptions(pool="none", **choices))
    codes = [encode_bases(one) for one in texts]
    out = np.full((sum(one.size for one in codes), embedder.width), 7, dtype=np.float32)
    embedder.embed_bases(codes, out)
    return np.split(out, np.cumsum([one.size for one in codes])[:-1])


def hidden(loaded: LoadedModel, text: str) -> Array:
    ids = loaded.tokenizer.encode(encode_bases(text)).astype(np.int64)
    with torch.no_grad():
        found: Array = loaded.model.hidden(torch.from_numpy(ids)[None], None)[0].numpy()
    return found


def pooled(by_base: Array, text: str, pool: str) -> Array:
    """Return the row of a sequence from the features of its bases, in float64."""
    places = [place for place, base in enumerate(text) if base != "N"]
    real = by_base[places].astype(np.float64)
    if pool == "bins":
        size, means = len(text) / NUM_BINS, []
        for part in range(NUM_BINS):
            low, high = part * size, (part + 1) * size
            weights = np.array([max(0, min(high, p + 1) - max(low, p)) for p in places])
            weights = weights if weights.sum() > 1e-9 else np.ones(len(places))
            means.append(weights @ real / weights.sum())
        return np.concatenate(means)
    if pool == "words":
        sums = np.zeros((4, 4, 4, real.shape[1]))
        for place in range(1, len(text) - 1):
            if "N" not in (word := text[place - 1 : place + 2]):
                sums[tuple("ACGT".index(base) for base in word)] += by_base[place]
        is_empty = not any(len(part) >= 3 for part in text.split("N"))
        return np.full(sums.size, np.nan) if is_empty else sums.reshape(-1) / len(real)
    if pool in ("first", "last"):
        return real[0 if pool == "first" else -1]
    parts = {"mean-max": ("mean", "max"), "moments": ("mean", "std")}.get(pool, (pool,))
    return np.concatenate([getattr(real, part)(0) for part in parts])


@pytest.mark.parametrize("windows", [{"window": 64}, {"window": 1000}, {"window": 9, "stride": 4}])
@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_is_over_the_real_bases(
    pool: str, windows: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_STATES_PER_CHUNK", 400)
    loaded = load()
    by_base = bases(loaded, TEXTS, **windows)
    found = rows(loaded, TEXTS, pool=pool, **windows)
    for row, text in enumerate(TEXTS):
        if set(text) <= {"N"}:
            assert np.isnan(found[row]).all()
        else:
            np.testing.assert_allclose(found[row], pooled(by_base[row], text, pool), atol=1e-5)


@pytest.mark.parametrize("rc", ["none", "mean"])
@pytest.mark.parametrize("pool", POOLS)
def test_a_row_is_nan_exactly_where_nothing_is_pooled(pool: Pool, rc: str) -> None:
    loaded = load()
    texts = ["".join(letters) for size in range(5) for letters in product("ANR", repeat=size)]
    is_pooled = [has_vector(loaded.tokenizer, pool, encode_bases(text)) for text in texts]
    is_finite = np.isfinite(rows(loaded, texts, pool=pool, rc=rc))
    assert is_finite.all(axis=1).tolist() == is_finite.any(axis=1).tolist() == is_pooled


def test_a_base_has_the_features_that_the_model_gives_it() -> None:
    loaded = load()
    for text, found in zip(TEXTS, bases(loaded, TEXTS, window=200), strict=True):
        assert found.shape == (len(text), 16)
        if "A" in text or "C" in text:
            np.testing.assert_allclose(found, hidden(loaded, text), atol=1e-5)
        else:
            assert np.isnan(found).all()


@pytest.mark.parametrize(("k", "stride"), [(3, 3), (3, 1), (6, 6), (6, 4)])
def test_a_base_has_the_features_of_the_latest_token_that_covers_it(k: int, stride: int) -> None:
    loaded = load(tokenizer=KmerTokenizer(k, stride))
    codes = [encode_bases(one) for one in TEXTS]
    for window in (20, 1000):
        for text, found, code in zip(
            TEXTS, bases(loaded, TEXTS, window=window), codes, strict=True
        ):
            assert found.shape == (len(text), 16)
            offsets = loaded.tokenizer.offsets(code)
            if window < len(offsets) or not set(text) & set("ACGT"):
                continue
            expected = hidden(loaded, text)
            for place in range(len(text)):
                token = np.flatnonzero(offsets[:, 0] <= place)[-1]
                np.testing.assert_allclose(found[place], expected[token], atol=1e-5)


def test_layers_are_the_stream_after_each_block_normed_alike() -> None:
    loaded = load()
    every = rows(loaded, REAL, layers="all", window=200)
    assert every.shape == (len(REAL), 4 * 16)
    np.testing.assert_allclose(every[:, 48:], rows(loaded, REAL, window=200), atol=1e-5)
    chosen = rows(loaded, REAL, layers="2,0", window=200)
    np.testing.assert_allclose(chosen, every.reshape(-1, 4, 16)[:, [2, 0]].reshape(-1, 32), atol=0)
    mean = rows(loaded, REAL, layers="mean", window=200)
    np.testing.assert_allclose(mean, every.reshape(-1, 4, 16)[:, 1:].mean(1), atol=1e-5)
    assert (rows(loaded, REAL, layers="-1") == rows(loaded, REAL)).all()


@pytest.mark.parametrize(
    "kind",
    [
        {"direction": "two-stack", "complement": COMPLEMENT},
        {"direction": "two-stack", "complement": COMPLEMENT, "patch": 4},
        {"strands": "both", "complement": COMPLEMENT},
        {"patch": 4},
    ],
    ids=str,
)
def test_layers_of_other_models(kind: dict[str, Any]) -> None:
    loaded = load(**kind)
    width = 16 * (1 if kind == {"patch": 4} else 2)
    every = rows(loaded, REAL, layers="0,1,2,3", window=200)
    last = rows(loaded, REAL, window=200)
    np.testing.assert_allclose(every[:, 3 * width :], last, atol=1e-5)
    for number in range(3):
        one = rows(loaded, REAL, layers=str(number), window=200)
        assert one.shape == (len(REAL), width)
        np.testing.assert_allclose(one, every[:, number * width : (number + 1) * width], atol=1e-5)
        alone = [rows(loaded, [text], layers=str(number), window=200)[0] for text in REAL]
        np.testing.assert_allclose(one, alone, atol=1e-5)
        if "complement" in kind:  # turning the strand swaps the halves
            turned = [reverse_complement(text) for text in REAL]
            halves = rows(loaded, turned, layers=str(number), window=200).reshape(-1, 2, 16)
            np.testing.assert_allclose(halves[:, ::-1].reshape(-1, 32), one, atol=1e-5)
    if "patch" in kind:
        with pytest.raises(ConfigError, match="narrower"):
            Embedder(loaded, EmbedOptions(layers="mean"))


def test_a_model_names_its_recommended_layers() -> None:
    loaded = replace(load(), layers="1")
    assert (rows(loaded, REAL) == rows(load(), REAL, layers="1")).all()
    assert (rows(loaded, REAL, layers="last") == rows(load(), REAL)).all()
    whole = rows(loaded, REAL, window="whole")  # only the last can be had so
    np.testing.assert_allclose(whole, rows(load(), REAL, window="whole"), atol=0)
    module = EmbeddingModule(loaded)
    np.testing.assert_allclose(module(REAL).detach(), rows(loaded, REAL, window=200), atol=1e-5)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_of_an_equivariant_model_swaps_strands_and_parts(pool: str) -> None:
    """Compare the row that is derived with the row that the model reads."""
    loaded = load(direction="two-stack", complement=COMPLEMENT, patch=4)
    choices: dict[str, Any] = {"pool": pool, "layers": "0,2,3", "window": 40}
    both = rows(loaded, REAL, rc="concat", **choices)
    plain = rows(loaded, REAL, **choices)
    reverse = rows(loaded, [reverse_complement(text) for text in REAL], **choices)
    np.testing.assert_allclose(both, np.concatenate([plain, reverse], axis=1), atol=1e-5)


def test_a_model_recommends_vectors_by_kind_of_label() -> None:
    rules = {
        "auto": EmbeddingRule(layers="0,2", pool="mean-max"),
        "placed": EmbeddingRule(layers="1", pool="bins"),
        "motif": EmbeddingRule(layers="last", pool="median"),
    }
    plain, loaded = load(), replace(load(), layers="1", rules=rules)
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"pool": "mean-max", "layers": "0,2"}),
        ({"layers": "3"}, {"pool": "mean-max", "layers": "3"}),
        ({"pool": "auto:placed"}, {"pool": "bins", "layers": "1"}),
        ({"pool": "mean"}, {"pool": "mean", "layers": "1"}),
        ({"window": "whole"}, {"pool": "mean-max", "layers": "last", "window": "whole"}),
    ]
    for choices, same in cases:
        assert (rows(loaded, REAL, **choices) == rows(plain, REAL, **same)).all()
    assert (bases(loaded, REAL)[0] == bases(plain, REAL, layers="1")[0]).all()
    with pytest.raises(ConfigError, match="recommends no pooling `auto:composition`") as failure:
        rows(loaded, REAL, pool="auto:composition")
    assert "`auto:placed`" in str(failure.value.hint)
    with pytest.raises(ConfigError, match="unknown pooling `median`"):
        rows(loaded, REAL, pool="auto:motif")


@pytest.mark.parametrize("pool", POOLS)
def test_the_other_strand_is_averaged_or_concatenated(pool: str) -> None:
    loaded = load()
    plain = rows(loaded, REAL, pool=pool)
    turned = rows(loaded, [reverse_complement(one) for one in REAL], pool=pool)
    mean = rows(loaded, REAL, pool=pool, rc="mean")
    np.testing.assert_allclose(mean, (plain + turned) / 2, atol=1e-5)
    both = rows(loaded, REAL, pool=pool, rc="concat")
    np.testing.assert_allclose(both, np.concatenate([plain, turned], axis=1), atol=1e-5)


@pytest.mark.parametrize("tokenizer", [CharTokenizer(), KmerTokenizer(3)])
def test_the_other_strand_of_a_base_is_that_base(tokenizer: Tokenizer) -> None:
    loaded = load(tokenizer=tokenizer)
    plain = bases(loaded, TEXTS)
    turned = [one[::-1] for one in bases(loaded, [reverse_complement(one) for one in TEXTS])]
    for kind in ("mean", "concat"):
        for one, other, found in zip(plain, turned, bases(loaded, TEXTS, rc=kind), strict=True):
            both = (one + other) / 2 if kind == "mean" else np.concatenate([one, other], axis=1)
            np.testing.assert_allclose(found, both, atol=1e-5)


def test_overlapping_windows_give_a_base_the_features_of_the_window_that_owns_it() -> None:
    loaded, text = load(), random_dna(100, 5)
    (found,) = bases(loaded, [text], window=40, stride=20)
    windows = {start: hidden(loaded, text[start : start + 40]) for start in (0, 20, 40, 60)}
    for start, first, last in ((0, 0, 30), (20, 30, 50), (40, 50, 70), (60, 70, 100)):
        owned = windows[start][first - start : last - start]
        np.testing.assert_allclose(found[first:last], owned, atol=1e-5)
    pooled = rows(loaded, [text], window=40, stride=20)
    np.testing.assert_allclose(pooled[0], found.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"conv_width": 5},
        {"attention": "linear"},
        {"attention": "linear", "direction": "causal"},
        {"attention": "local"},
        {"residual": "reversible"},
        {"direction": "two-stack", "tied": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("rc", ["none", "mean"])
def test_a_whole_sequence_is_what_one_pass_over_it_gives(
    settings: dict[str, Any], rc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_runner, "SLICE", 32)
    loaded = load(**settings)
    texts = [*TEXTS, random_dna(300, 8)]
    # Both strands are averaged after pooling, in one way for all pools.
    for pool in ("mean", "moments", "words", "bins", "last") if rc == "none" else ("mean", "words"):
        whole = rows(loaded, texts, window="whole", pool=pool, rc=rc)
        once = rows(loaded, texts, window=1000, pool=pool, rc=rc)
        np.testing.assert_allclose(whole, once, atol=2e-5)
    for one, other in zip(
        bases(loaded, texts, window="whole", rc=rc),
        bases(loaded, texts, window=1000, rc=rc),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_short_memory_halves_the_batch_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load()
    expected = rows(loaded, TEXTS)
    sizes, forward = [], Embedder._forward

    def narrow(self: Embedder, tokens_BL: npt.NDArray[np.int64]) -> torch.Tensor:
        sizes.append(tokens_BL.size)
        if tokens_BL.size > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, tokens_BL)

    monkeypatch.setattr(Embedder, "_forward", narrow)
    np.testing.assert_allclose(rows(loaded, TEXTS, tokens_per_batch=10_000), expected, atol=1e-5)
    assert max(sizes) > 100
    with pytest.raises(InputError, match="130 tokens does not fit"):
        rows(loaded, TEXTS, window=200)


def test_other_failures_of_torch_are_not_mistaken_for_short_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Embedder, tokens_BL: npt.NDArray[np.int64]) -> torch.Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(Embedder, "_forward", fail)
    with pytest.raises(RuntimeError, match="multiplied"):
        rows(load(), TEXTS)


def test_batches_without_padding_have_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, masks = load(), []
    plain = loaded.model.hidden

    def watch(tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        masks.append(mask)
        return plain(tokens, mask)

    monkeypatch.setattr(loaded.model, "hidden", watch)
    rows(loaded, [random_dna(50, seed) for seed in range(9)])
    assert masks == [None]


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"pool": "cls"}, "no .CLS. token"),
        ({"pool": "median"}, "unknown pooling `median`"),
        ({"rc": "maybe"}, "`maybe`"),
        ({"layers": "4"}, "layers 0 to 3"),
        ({"layers": "top"}, "`top` is not a list of layers"),
        ({"window": 0}, "window"),
        ({"stride": 4}, "without a window"),
        ({"window": 8, "stride": 9}, "skip bases"),
        ({"window": "half"}, "`half`"),
        ({"tokens_per_batch": 0}, "tokens_per_batch"),
        ({"window": "whole", "layers": "1"}, "only the last layer"),
    ],
    ids=str,
)
def test_invalid_requests_are_refused(choices: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Embedder(load(), EmbedOptions(**choices))


def test_what_a_model_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="tokenizer of single bases"):
        Embedder(load(tokenizer=KmerTokenizer(3)), EmbedOptions(pool="words"))
    with pytest.raises(ConfigError, match="`softmax` attention has no recurrent state"):
        Embedder(load(attention="softmax"), EmbedOptions(window="whole"))
    with pytest.raises(ConfigError, match="only the last layer"):
        Embedder(load(residual="reversible"), EmbedOptions(layers="all"))


@pytest.mark.parametrize("pool", POOLS)
def test_the_module_gives_the_same_with_gradients(pool: Pool) -> None:
    loaded = load()
    module = EmbeddingModule(loaded, pool=pool, layers="mean")
    found = module(REAL)
    expected = rows(loaded, REAL, pool=pool, layers="mean", window=200)
    np.testing.assert_allclose(found.detach().numpy(), np.nan_to_num(expected), atol=1e-5)
    found.sum().backward()
    gradient = loaded.model.get_parameter("embedding.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert module.width == found.shape[1]
    assert gradient.isfinite().all()
    assert (module(["", "NN"]) == 0).all()
    assert EmbeddingModule(loaded, pool="none")(REAL).shape == (len(REAL), 130, 16)
