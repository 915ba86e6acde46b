"""Releases of other weights, and what becomes of a bundle: archives, signatures, the Hub, ONNX."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tomli_w
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from genomeformer_cli.core.model_io.model_folder import read_model, whole_tensors
from genomeformer_cli.core.model_io.tensors import write_tensors
from genomeformer_cli.core.model_io.training_state import AVERAGE_FILE
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.workflows import release_publish
from tests.bundles import make_bundle
from tests.cli import RunCommand, run_fresh, run_python
from tests.failures import assert_failure
from tests.files import everything_in, flip_a_byte
from tests.mini_hub import TOKEN, Hub, running_hub
from tests.models import RELEASED, RUN, WIDTH

FASTA = b">a\nACGTACGTTTGACA\n>b\nGGGNCC\n"
STEP = "step-00000004"
# Runs command lines in one fresh process.
ONE_BY_ONE = """
import json, sys
from genomeformer_cli.app import main
for line in json.loads(sys.argv[1]):
    sys.argv = ["genomeformer", *line]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""
Floats = npt.NDArray[np.float32]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle").folder


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    private.write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def embedded(run_cli: RunCommand, model: str, folder: Path) -> Floats:
    (folder / "x.fa").write_bytes(FASTA)
    output = folder / "x.npy"
    done = run_cli("embed", str(folder / "x.fa"), "--model", model, "-o", str(output))
    assert done.exit_code == 0, done.err
    vectors: Floats = np.load(output)
    return vectors


@pytest.mark.usefixtures("one_process")
def test_eight_bits_are_measured_and_load_like_any_model(
    run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    line = ["release", RUN, "--name", "small", "--dtype", "int8", "--json"]
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    result = json.loads(done.out)
    assert abs(result["cost"]["stored"]["bits_per_base"] - result["cost"]["exact"]["bits_per_base"])
    assert result["largest_difference"] <= 1e-5
    folder = trained / "weights" / "small"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["quantization"] == {"method": "int8-rows", "bits": 8}
    assert "int8" in (folder / "README.md").read_text(encoding="utf-8")
    small, whole = (embedded(run_cli, name, tmp_path) for name in ("small", RELEASED))
    assert small.shape == whole.shape == (2, WIDTH)
    assert 0 < np.abs(small - whole).max() < 0.1


@pytest.mark.usefixtures("one_process")
def test_the_average_is_released_if_better_or_requested(run_cli: RunCommand, trained: Path) -> None:
    checkpoint = trained / "runs" / RUN / "checkpoints" / STEP
    assert_failure(
        run_cli("release", RUN, "--weights", "average"), "no moving average", hint="training.ema"
    )
    loaded = read_model(checkpoint)
    names = [name for name, _ in loaded.model.named_parameters()]
    tensors = {name: whole_tensors(loaded.model)[name] for name in names}
    averaged = {name: tensor * 1.5 for name, tensor in tensors.items()}
    write_tensors(averaged, checkpoint / AVERAGE_FILE)
    seal(checkpoint)
    for which, words in (
        ("average", "the moving average of the weights at step 4"),
        ("last", "the weights after step 4"),
    ):
        done = run_cli("release", RUN, "--weights", which, "--name", which, "--json")
        assert done.exit_code == 0, done.err
        assert json.loads(done.out)["weights"].startswith(words)
        assert words in (trained / "weights" / which / "README.md").read_text(encoding="utf-8")
    done = run_cli("release", RUN, "--name", "auto", "--json")
    bits = {
        which: json.loads((trained / "weights" / which / "eval_results.json").read_text())["score"]
        for which in ("average", "last", "auto")
    }
    best = min(bits["average"]["bits_per_base"], bits["last"]["bits_per_base"])
    assert bits["auto"]["bits_per_base"] == best


@pytest.mark.usefixtures("one_process")
def test_a_checkpoint_of_a_run_that_continues_can_be_released(
    run_cli: RunCommand, trained: Path
) -> None:
    run = trained / "runs" / RUN
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    assert config["training"]["steps"] == 4
    (run / "summary.json").unlink()
    done = run_cli(
        "release", str(run / "checkpoints" / "step-00000002"), "--name", "early", "--json"
    )
    assert done.exit_code == 0, done.err
    summary = json.loads(done.out)["summary"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert summary["num_steps"] == 2
    assert summary["num_bases_seen"] == sum(row["num_bases"] for row in rows[:2])
    expected = rows[1]["validation"]["bits_per_base"]
    assert summary["model"]["bits_per_base"] == pytest.approx(expected, abs=1e-6)
    assert tomli_w.dumps(config)


@pytest.mark.usefixtures("one_process")
def test_an_evaluation_is_on_the_card_and_another_models_does_not(
    run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    line = [
        "evaluate",
        RUN,
        "--set",
        "prediction.windows=4",
        "--set",
        "prediction.passes=1",
        "-o",
        str(found),
    ]
    assert run_cli(*line).exit_code == 0
    done = run_cli("release", RUN, "--name", "told", "--evaluation", str(found))
    assert done.exit_code == 0, done.err
    text = (trained / "weights" / "told" / "README.md").read_text(encoding="utf-8")
    results = json.loads((found / "eval_results.json").read_text(encoding="utf-8"))
    assert f"{results['predictions'][0]['rows'][0]['bits']['value']:.4f} [" in text
    assert str(tmp_path) not in json.dumps(text)
    results["weights_digest"] = "0" * 64
    (found / "eval_results.json").write_text(json.dumps(results), encoding="utf-8")
    done = run_cli("release", RUN, "--name", "lied", "--evaluation", str(found))
    assert_failure(done, "other weights", hint="--replace")
    assert not (trained / "weights" / "lied").exists()


@pytest.mark.usefixtures("one_process")
def test_notes_with_a_private_path_are_refused(
    run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("trained in /home/somebody/work\n", encoding="utf-8")
    done = run_cli("release", RUN, "--name", "told", "--notes", str(notes))
    assert_failure(done, "/home/somebody", "README.md", hint="paths")
    assert not (trained / "weights" / "told").exists()


@pytest.mark.usefixtures("one_process")
def test_a_bundle_is_signed_packed_and_checked(
    run_cli: RunCommand, bundle: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    archive = tmp_path / "gf.tar.gz"
    line = ["release", str(bundle), "--sign", str(private), "--archive", str(archive), "--json"]
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    fingerprint = json.loads(done.out)["signed_by"]
    done = run_cli("release", "--verify", str(archive), "--key", str(public), "--json")
    assert done.exit_code == 0, done.err
    checked = json.loads(done.out)
    assert checked["signed_by"] == fingerprint
    assert checked["num_files"] == len(everything_in(bundle)) - 2
    expected = embedded(run_cli, str(bundle), tmp_path)
    assert (embedded(run_cli, str(archive), tmp_path) == expected).all()
    flip_a_byte(bundle / "LICENSE")
    done = run_cli("release", "--verify", str(bundle), "--key", str(public))
    assert_failure(done, "LICENSE", "checksum", hint="restore")


def test_options_that_do_not_go_together_are_refused(
    run_cli: RunCommand, bundle: Path, tmp_path: Path
) -> None:
    for line, word in (
        ([], "no run is given"),
        ([RUN, "--verify", "x"], "no run is given"),
        ([RUN, "--key", "x"], "no run is given"),
        ([str(bundle)], "a bundle already"),
        ([str(bundle), "--public"], "--push"),
        ([str(bundle), "--archive", str(tmp_path / "x.zip")], "x.zip"),
        ([str(bundle), "--push", "nobody"], "invalid Hub repository `nobody`"),
    ):
        done = run_cli("release", *line)
        assert done.exit_code == 2, (line, done.err)
        assert word in done.err


def test_the_name_of_the_default_is_taken(run_cli: RunCommand, trained: Path) -> None:
    done = run_cli("release", RUN, "--name", "default")
    assert_failure(done, "`default`", hint="name", exit_code=2)
    assert not (trained / "weights" / "default").exists()


@pytest.mark.usefixtures("one_process")
def test_processes_find_the_hub_where_the_environment_says(
    run_cli: RunCommand, bundle: Path, tmp_path: Path
) -> None:
    sequences = tmp_path / "x.fa"
    sequences.write_bytes(FASTA)
    ours = run_cli("embed", str(sequences), "--model", str(bundle), "--workers", "1")
    with running_hub() as hub:
        known = hub.environment(str(tmp_path / "home"))
        push = ["release", str(bundle), "--push", "org/gf", "--json"]
        line = ["embed", str(sequences), "--model", "hf://org/gf", "--workers", "1"]
        lines = json.dumps([push, [*line, "-o", str(tmp_path / "x.npy")]])
        done = run_python("-c", ONE_BY_ONE, lines, environment=known)
        assert done.exit_code == 0, done.err
        address = json.JSONDecoder().raw_decode(done.out)[0]["pushed"]["address"]
        assert (tmp_path / "x.npy").read_bytes() == ours.stdout
        assert address in done.err
        assert TOKEN not in done.out + done.err
        assert (tmp_path / "home" / "hub").is_dir()
        before = len(hub.asked)
        again = run_fresh(*line, environment={**known, "HF_HUB_OFFLINE": "1"})
        assert (again.exit_code, again.stdout) == (0, ours.stdout), again.err
        assert hub.asked[before:] == []


def test_a_model_that_was_never_fetched_is_not_found_offline(
    run_cli: RunCommand, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = run_cli("embed", "-", "--model", "hf://org/no", stdin=FASTA)
    assert_failure(done, "HF_HUB_OFFLINE", hint="unset", exit_code=75)
    assert hub.asked == []


@pytest.mark.usefixtures("one_process")
def test_a_rehearsed_push_sends_nothing_and_needs_no_token(
    run_cli: RunCommand, hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    done = run_cli("release", str(bundle), "--push", "org/gf", "--dry-run")
    assert done.exit_code == 0, done.err
    assert "would send" in done.out
    assert "model.safetensors" in done.out
    assert hub.asked == []


@pytest.mark.usefixtures("one_process")
def test_a_release_of_a_run_goes_all_the_way(
    run_cli: RunCommand, trained: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    shutil.rmtree(trained / "weights")
    private, public = keys
    output, archive = tmp_path / "out", tmp_path / "gf.tar.gz"
    line = ["release", RUN, "--name", "gf", "-o", str(output), "--sign", str(private)]
    done = run_cli(*line, "--archive", str(archive), "--author", "A. Author", "--json")
    assert done.exit_code == 0, done.err
    assert run_cli("release", "--verify", "gf", "--key", str(public)).exit_code == 0
    assert everything_in(output) == everything_in(trained / "weights" / "gf")
    assert "A. Author" in (output / "CITATION.cff").read_text(encoding="utf-8")
    first = archive.read_bytes()
    done = run_cli("release", "weights/gf", "--archive", str(archive))
    assert done.exit_code == 0, done.err
    assert archive.read_bytes() == first


@pytest.mark.usefixtures("one_process")
def test_a_bundle_is_verified_in_place(
    run_cli: RunCommand, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli("release", f"weights/{RELEASED}", "-o", "here").exit_code == 0
    for bundle in ("here", "./here"):
        done = run_cli("release", "--verify", bundle)
        assert done.exit_code == 0, done.err


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("is_exported", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_bundle_is_copied_with_an_onnx_file_and_stays_as_it_is(
    run_cli: RunCommand,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_exported: bool,
) -> None:
    if not is_exported:
        # Tests of `core/release/onnx_export.py` export models.
        monkeypatch.setattr(
            release_publish, "export_onnx", lambda loaded, path: path.write_bytes(b"graph")
        )
    before, output = everything_in(trained), tmp_path / "with"
    done = run_cli("release", f"weights/{RELEASED}", "--onnx", "-o", str(output), "--json")
    assert done.exit_code == 0, done.err
    assert everything_in(trained) == before
    assert run_cli("release", "--verify", str(output)).exit_code == 0
    changed = {"README.md", "SHA256SUMS"}
    source, copy = everything_in(trained / "weights" / RELEASED), everything_in(output)
    assert copy.keys() - source.keys() == {"model.onnx"}
    assert {name for name in source if copy[name] != source[name]} == changed
    card = (output / "README.md").read_text(encoding="utf-8")
    assert card.index("## Use") < card.index("model.onnx") < card.index("## Held-out results")
    plain = tmp_path / "plain"
    assert run_cli("release", f"weights/{RELEASED}", "-o", str(plain)).exit_code == 0
    assert everything_in(plain) == source


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        (["--dtype", "int8"], "`--dtype`", "when you release the run"),
        (["--name", "other"], "`--name`", "when you release the run"),
        (["--onnx"], "not changed in place", "`-o FOLDER`"),
        ([], "is a bundle already", "-o"),
    ],
)
def test_options_of_a_run_are_refused_for_a_bundle(
    run_cli: RunCommand, bundle: Path, options: list[str], what: str, hint: str
) -> None:
    before = everything_in(bundle)
    done = run_cli("release", str(bundle), *options)
    assert_failure(done, what, hint=hint, exit_code=2)
    assert everything_in(bundle) == before
