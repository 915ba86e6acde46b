"""`release --as transformers`: bundles that stock classes of transformers open."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.release import stock_check
from genomeformer_cli.core.release.stock_check import stock_outputs
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.guide_code import code_of_the_guide, run_the_guide
from tests.models import CORPUS, RUN

transformers = pytest.importorskip("transformers")

SMALL = [
    *("--set", "model.width=16", "--set", "model.depth=2", "--set", "model.num_heads=2"),
    *("--set", "model.mlp_width=24", "--context", "64", "--set", "training.validation_windows=4"),
    *("--steps", "4", "--batch-size", "4", "--set", "training.warmup_share=0.25"),
    *("--set", "training.validate_every=4", "--set", "training.checkpoint_every=4"),
]
FORMS = {
    "Qwen3ForCausalLM": ["--preset", "stock-causal"],
    "LlamaForCausalLM": ["--preset", "stock-causal", "--set", "model.query_key_norm=false"],
    "EuroBertForMaskedLM": ["--preset", "stock-masked"],
}
SEQUENCE = "ACGTTGCATTACGGAACCTAACGTTGCANTTACGGAACCTA"

pytestmark = pytest.mark.usefixtures("trained", "without_pictures")


def train(run_cli: RunCommand, *options: str) -> None:
    line = ["pretrain", "--corpus", CORPUS, "--name", "stock", "--device", "cpu", *SMALL]
    done = run_cli(*line, *options)
    assert done.exit_code == 0, done.err


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.usefixtures("one_process")
@torch.no_grad()
def test_stock_classes_compute_the_numbers_of_the_run(
    name: str, run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run_cli, *FORMS[name])
    folder = tmp_path / "stock"
    done = run_cli("release", "stock", "--as", "transformers", "-o", str(folder), "--json")
    assert done.exit_code == 0, done.err
    result = json.loads(done.out)
    assert result["stock_class"] == name
    assert result["stock_difference"] <= 1e-5
    assert result["largest_difference"] <= 1e-5
    document = json.loads((folder / "config.json").read_text())
    assert document["architectures"] == [name]
    assert "auto_map" not in document
    causal = name.endswith("ForCausalLM")
    auto = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    stock = auto.from_pretrained(folder, dtype=torch.float32).eval()
    assert type(stock).__name__ == name
    if not causal:
        monkeypatch.chdir(tmp_path)
        assert run_the_guide(code_of_the_guide()[0])["logits"].shape == (2, 13, 10)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = tokenizer([SEQUENCE, SEQUENCE[:7].lower()], padding=True, return_tensors="pt")
    features_BLE = stock(**rows, output_hidden_states=True).hidden_states[-1]
    sequences = tmp_path / "two.fa"
    sequences.write_text(f">one\n{SEQUENCE}\n>two\n{SEQUENCE[:7].lower()}\n")
    vectors = run_cli("embed", str(sequences), "--model", str(folder))
    assert vectors.exit_code == 0, vectors.err
    expected = [
        features_BLE[0][[base != "N" for base in SEQUENCE]].mean(dim=0),
        features_BLE[1, :7].mean(dim=0),
    ]
    found = np.load(io.BytesIO(vectors.stdout))
    np.testing.assert_allclose(found, torch.stack(expected), atol=1e-5)


def test_a_bundle_is_opened_in_a_fresh_process(
    run_cli: RunCommand, one_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del one_process
    train(run_cli, *FORMS["EuroBertForMaskedLM"])
    line = ["release", "stock", "--as", "transformers", "--name", "masked", "--dtype", "bf16"]
    with monkeypatch.context() as patch:
        patch.setattr(stock_check, "stock_outputs", stock_outputs)
        done = run_cli(*line, "--json")
    assert done.exit_code == 0, done.err
    assert json.loads(done.out)["stock_difference"] <= 1e-5
    assert run_cli("release", "--verify", "masked").exit_code == 0


@pytest.mark.usefixtures("one_process")
def test_an_evaluation_of_the_bundle_is_one_of_its_weights(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    train(run_cli, *FORMS["EuroBertForMaskedLM"])
    line = ["release", "stock", "--as", "transformers", "--name", "masked"]
    assert run_cli(*line).exit_code == 0
    sequences = tmp_path / "far.fa"
    sequences.write_text(">far\n" + SEQUENCE.replace("N", "A") * 8 + "\n")
    found = tmp_path / "found"
    done = run_cli("evaluate", "masked", "--held-out", str(sequences), "-o", str(found))
    assert done.exit_code == 0, done.err
    again = run_cli(*line, "--evaluation", str(found), "--replace")
    assert again.exit_code == 0, again.err


def test_a_model_of_another_form_is_refused_with_the_settings_that_differ(
    run_cli: RunCommand,
) -> None:
    done = run_cli("release", RUN, "--as", "transformers")
    assert_failure(
        done,
        "`model.attention.name` is `performer`",
        hint="genomeformer_cli.transformers",
        exit_code=2,
    )


@pytest.mark.parametrize("options", [["--dtype", "int8"], ["--layers", "0"]])
def test_what_stock_classes_cannot_read_is_refused(options: list[str], run_cli: RunCommand) -> None:
    done = run_cli("release", RUN, "--as", "transformers", *options)
    assert_failure(done, "stock classes", hint="leave", exit_code=2)


def test_a_missing_package_is_named(run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "transformers" else find(name, *rest),
    )
    done = run_cli("release", RUN, "--as", "transformers")
    assert_failure(done, "`transformers`", hint="pip install")
