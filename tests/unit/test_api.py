"""The Python door: `load`, `embed`, the torch module, the scikit-learn transformer."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genomeformer_cli
from genomeformer_cli import GenomeEmbedder, load, regions
from genomeformer_cli.core.errors import (
    AlphabetError,
    ConfigError,
    InputError,
    NotInCacheError,
    UsageError,
)
from tests.annotations import genbank
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.models import RELEASED, WIDTH

TEXTS = [random_dna(length, length) for length in (30, 100, 7)]

pytestmark = pytest.mark.usefixtures("trained")


def test_sequences_become_rows() -> None:
    model = load(RELEASED)
    found = model.embed([*TEXTS, "", "nnn"], pool="mean")
    assert isinstance(found, np.ndarray)
    assert found.shape == (5, WIDTH)
    assert np.isnan(found).all(axis=1).tolist() == [False, False, False, True, True]
    np.testing.assert_allclose(model.embed(one for one in TEXTS), found[:3], atol=1e-6)
    by_base = model.embed(TEXTS, pool="none")
    assert [one.shape for one in by_base] == [(len(text), WIDTH) for text in TEXTS]
    assert isinstance(model.embed([]), np.ndarray)
    assert model.embed([], pool="none") == []


def test_a_folder_is_loaded_like_a_name(trained: Path) -> None:
    found = load(trained / "weights" / RELEASED).embed(TEXTS)
    np.testing.assert_allclose(found, load(RELEASED).embed(TEXTS), atol=0)


def test_the_model_of_the_package_reads_both_strands_alike() -> None:
    text = "ACGTTGCATTAGCATTAGCATGCATTAGCAAAACGT" * 9
    (there,), (back,) = (load("default").embed([one]) for one in (text, other_strand(text)))
    np.testing.assert_allclose(np.roll(back, back.size // 2), there, atol=1e-4)


def other_strand(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def test_invalid_requests_are_refused() -> None:
    with pytest.raises(NotInCacheError):
        load("nowhere")
    model = load(RELEASED)
    with pytest.raises(InputError, match="expected a list"):
        model.embed("ACGT")
    with pytest.raises(AlphabetError, match="sequence 1"):
        model.embed(["ACGT", "ACGJ"])
    with pytest.raises(ConfigError):
        model.embed(["ACGT"], pool="median")


@pytest.mark.parametrize("cell", [None, 5, float("nan"), ["ACGT"]], ids=repr)
def test_a_cell_that_is_not_text_is_named(cell: Any) -> None:
    model = load(RELEASED)
    for compute in (model.embed, model.score):
        with pytest.raises(InputError, match="sequence 1 is not text"):
            compute(["ACGT", cell])


@pytest.mark.parametrize("value", [0, -1, 2.5, "x"])
@pytest.mark.parametrize("name", ["every", "window", "stride", "tokens_per_batch"])
def test_a_number_that_cannot_be_is_named(name: str, value: Any) -> None:
    model = load(RELEASED)
    compute = model.score if name == "every" else model.embed
    others = {"window": 64} if name == "stride" else {}
    with pytest.raises(ConfigError, match=name):
        compute(["ACGT"], **others, **{name: value})


def test_the_module_shares_the_weights() -> None:
    model = load(RELEASED)
    module = model.module(pool="mean")
    expected = model.embed(TEXTS, window=1000)
    np.testing.assert_allclose(module(TEXTS).detach().numpy(), expected, atol=1e-5)
    assert sum(one.numel() for one in module.parameters()) == model.loaded.model.num_parameters


@pytest.mark.parametrize("texts", [[], [""], ["", ""]], ids=repr)
def test_the_module_takes_no_bases(texts: list[str]) -> None:
    model = load(RELEASED)
    assert model.module(pool="words")(texts).shape == (len(texts), 64 * WIDTH)
    assert model.module(pool="none")(texts).shape == (len(texts), 0, WIDTH)


def test_the_precision_of_a_model_is_chosen() -> None:
    exact, rounded = load("default"), load("default", precision="int8")
    assert (exact.precision, rounded.precision) == ("fp32", "int8")
    for one, other in zip(exact.embed(TEXTS), rounded.embed(TEXTS), strict=True):
        assert 0.9995 < one @ other / np.linalg.norm(one) / np.linalg.norm(other) < 1 - 1e-9
    with pytest.raises(ConfigError, match="cannot be trained"):
        rounded.module()
    embedder = GenomeEmbedder("default", precision="int8").fit(TEXTS)
    np.testing.assert_array_equal(embedder.transform(TEXTS), rounded.embed(TEXTS))


def test_the_transformer_works_without_scikit_learn() -> None:
    code = (
        "import sys, genomeformer_cli\n"
        "assert 'torch' not in sys.modules\n"
        f"rows = genomeformer_cli.GenomeEmbedder({RELEASED!r}).fit_transform(['ACGT', 'GG'])\n"
        f"assert rows.shape == (2, {WIDTH}) and 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_transformer_is_a_step_of_a_pipeline() -> None:
    pipeline: Any = pytest.importorskip("sklearn.pipeline")
    base: Any = importlib.import_module("sklearn.base")
    linear_model: Any = importlib.import_module("sklearn.linear_model")
    selection: Any = importlib.import_module("sklearn.model_selection")
    texts = [("AT" if row % 2 else "GC") * (8 + row) for row in range(24)]
    labels = [row % 2 for row in range(24)]
    embedder = GenomeEmbedder(RELEASED, pool="max")
    copy = base.clone(embedder).set_params(pool="mean", rc="mean")
    assert (embedder.pool, copy.pool, copy.rc) == ("max", "mean", "mean")
    whole = pipeline.make_pipeline(copy, linear_model.LogisticRegression())
    assert whole.fit(texts, labels).score(texts, labels) == 1
    search = selection.GridSearchCV(whole, {"genomeembedder__pool": ["mean", "max"]}, cv=2)
    assert search.fit(texts, labels).best_score_ > 0.5
    assert copy.get_feature_names_out().tolist() == [f"e{column}" for column in range(WIDTH)]
    assert "pool='mean'" in repr(copy)
    with pytest.raises(ValueError, match="no setting"):
        embedder.set_params(pol="mean")


def test_other_names_are_absent() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        genomeformer_cli.nothing  # noqa: B018


def test_regions_are_sequences_with_coordinates(tmp_path: Path) -> None:
    dna = random_dna(200, 1)
    path = tmp_path / "x.gbk"
    path.write_text(genbank(dna, "CDS 11..40 /locus_tag=A", "CDS complement(50..91) /locus_tag=B"))
    model = load(RELEASED)
    chosen = regions(path, feature="CDS", upstream=5)
    assert repr(chosen) == "Regions(2 regions, 82 bases)"
    columns = chosen.columns()
    assert columns["id"] == ["A", "B"]
    assert columns["start"].tolist() == [5, 49]
    assert (columns["strand"], columns["feature"]) == (["+", "-"], ["CDS", "CDS"])
    texts = [dna[5:40], other_strand(dna[49:96])]
    np.testing.assert_allclose(model.embed(chosen), model.embed(texts), atol=1e-6)
    bases = model.embed(chosen, pool="none")
    assert [one.shape for one in bases] == [(35, WIDTH), (47, WIDTH)]
    scores = model.score(chosen)
    assert list(scores)[:6] == ["id", "chrom", "start", "end", "strand", "feature"]
    assert len({len(column) for column in scores.values()}) == 1
    expected = model.score(texts)
    np.testing.assert_allclose(scores["bits_per_base"], expected["bits_per_base"], atol=1e-6)
    assert expected["id"] == ["0", "1"]
    assert expected["length"].tolist() == expected["scored"].tolist() == [35, 47]
    assert len(regions(path, path, tile=100, step=50)) == 6
    assert regions(path).columns() == {"id": ["X.1"]}


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"feture": "CDS"}, "unknown choice `feture`"),
        ({"files": ("x",)}, "unknown choice `files`"),
        ({"tile": 3, "feature": "CDS"}, "exclude each other"),
        ({"tile": "60"}, "`tile='60'` is not a whole number"),
        ({"tile": 6, "context": 1e3}, "`context=1000.0` is not a whole number"),
        ({"tile": 6, "max_n": "few"}, "`regions.max_n` cannot be `'few'`"),
    ],
)
def test_invalid_regions_are_refused(choices: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gbk"
    path.write_text(genbank("ACGT" * 9, "CDS 11..30 /locus_tag=A"))
    with pytest.raises(UsageError, match=words):
        regions(path, **choices)


def test_regions_of_standard_input_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fasta = "".join(f">{number}\n{text}\n" for number, text in enumerate(TEXTS))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(fasta.encode())))
    chosen = regions("-", feature=None)
    assert len([*chosen, *chosen]) == 2 * len(TEXTS)


@pytest.mark.usefixtures("short_networks")
def test_a_tuned_model_predicts_as_the_command_does(tmp_path: Path, run_cli: RunCommand) -> None:
    table = tmp_path / "t.tsv"
    rows = [f"{random_dna(20, n)}\t{'xy'[n % 2]}\n" for n in range(40)]
    table.write_text("sequence\tlabel\n" + "".join(rows))
    line = ("--name", "tuned", "--threads", "1", "--device", "cpu", "--epochs", "1")
    assert run_cli("finetune", str(table), "--model", RELEASED, *line).exit_code == 0
    found = load("tuned").predict([*TEXTS, "NNN"])
    (tmp_path / "x.fa").write_text(
        "".join(f">{n}\n{text}\n" for n, text in enumerate([*TEXTS, "NNN"]))
    )
    done = run_cli("predict", str(tmp_path / "x.fa"), "--model", "tuned")
    header, *lines = [line.split("\t") for line in done.out.splitlines()]
    assert list(found) == header
    assert found["label"] == [row[2] for row in lines[:3]] + [None]
    np.testing.assert_allclose(found["p_x"][:3], [float(row[3]) for row in lines[:3]], atol=1e-4)
    assert np.isnan(found["p_x"][3])
    assert found["note"] == ["", "", "", "only-N"]


def test_a_model_shows_its_name_size_width_and_context() -> None:
    model = load(RELEASED)
    number = f"{model.loaded.model.num_parameters:,}"
    context = model.loaded.model.config.context
    assert repr(model) == (
        f"EmbeddingModel('released', {number} parameters, width {WIDTH}, context {context} tokens)"
    )
