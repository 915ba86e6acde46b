"""`models`: known models as lines, facts, JSON and a page; one of them against its checksum."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genomeformer_cli.core.known_models import known_families, known_models
from genomeformer_cli.core.workflows import models as workflow
from tests.cli import RunCommand, run_python
from tests.failures import assert_failure
from tests.mini_hub import Hub, Repository

DATA = Path(__file__).parents[1] / "data" / "architectures"
FASTA = b">a\nACGTNACGTTGCANNACGT\n>b\nACGTACCA\n"


def publish(hub: Hub, name: str) -> str:
    """Publish the files of a folder as their authors would; return the address."""
    files = {
        path.name: path.read_bytes()
        for path in (DATA / name).iterdir()
        if path.name not in ("README.md", "expected.safetensors")
    }
    repository = Repository(private=False)
    repository.commit({**files, "modeling_other.py": b"raise SystemExit('executed')"})
    hub.repositories[f"org/{name}"] = repository
    return f"hf://org/{name}"


def test_every_known_model_has_a_line(run_cli: RunCommand) -> None:
    done = run_cli("models")
    assert (done.exit_code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == [model.address for model in known_models()]
    line = next(line for line in lines if "hyenadna-large-1m-seqlen-hf" in line)
    assert "6.55 M  1,000,000 tokens  1,000,000 bases  BSD-3-Clause     code" in line
    assert any("unknown" in line for line in lines)
    assert any("not read: reads alignments" in line for line in lines)


def test_facts_of_one_model_and_of_a_family(run_cli: RunCommand) -> None:
    plain = json.loads(run_cli("models", "gpn-brassicales", "--json").out)
    assert plain["address"] == "hf://songlab/gpn-brassicales"
    assert (plain["family"], plain["parameters"], plain["pool"]) == (
        "gpn-convnet",
        65_900_000,
        "mean",
    )
    assert plain["refused"] is None
    text = run_cli("models", "songlab/gpn-brassicales").out
    assert "songlab-cal/gpn 99293f8" in text
    assert "--set rows.layers=last --pool mean" in text
    family = json.loads(run_cli("models", "caduceus", "--json").out)
    assert len(family) > 4
    assert {model["family"] for model in family} == {"caduceus"}


def test_the_page_has_all_families_and_models(run_cli: RunCommand) -> None:
    page = run_cli("models", "--markdown").out
    assert all(f"| {name} | " in page for name in known_families())
    rows = [line for line in page.splitlines() if line.startswith("| hf://")]
    assert len(rows) == len(known_models()) == len(json.loads(run_cli("models", "--json").out))


def test_mistaken_names_and_combinations_are_refused(run_cli: RunCommand) -> None:
    done = run_cli("models", "DNABERT-2")
    assert_failure(done, "no known model `DNABERT-2`", hint="`dnabert2`", exit_code=2)
    done = run_cli("models", "dnabert2", "--markdown")
    assert_failure(done, "exclude each other", exit_code=2)
    done = run_cli("models", "--verify", "no-such-model")
    assert_failure(done, "no model `no-such-model`")


def test_a_known_name_without_its_address_is_found_on_the_hub(run_cli: RunCommand) -> None:
    for name in ("gpn-brassicales", "songlab/GPN-brassicales"):
        done = run_cli("embed", "-", "--model", name, stdin=FASTA)
        assert_failure(done, f"no model `{name}`", hint="`hf://songlab/gpn-brassicales`")
    done = run_cli("embed", "-", "--model", "gpn-msa-sapiens", stdin=FASTA)
    assert "hf://" not in done.err


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys; from genomeformer_cli.app import app\n"
        "try: app(['models'])\n"
        "finally: sys.stderr.write(str('torch' in sys.modules))"
    )
    done = run_python("-c", code)
    assert done.err == "False"
    assert "hf://" in done.out


def test_a_recorded_checksum_agrees_or_the_command_fails(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(DATA / "gpn")
    first = json.loads(run_cli("models", "--verify", folder, "--json").out)
    checksum = first["result"]["checksum"]
    assert (first["recorded"], first["agrees"]) == (None, None)
    assert len(first["sequences"]) == len(first["result"]["features"]) == 4
    monkeypatch.setattr(workflow, "_recorded", lambda model: checksum)
    done = run_cli("models", "--verify", folder)
    assert (done.exit_code, done.err) == (0, "")
    assert "equal to the recorded one" in done.out
    monkeypatch.setattr(workflow, "_recorded", lambda model: "0" * 16)
    done = run_cli("models", "--verify", folder)
    assert done.exit_code == 1
    assert f"checksum  {checksum}" in done.out
    assert "differs from the recorded one" in done.out


@pytest.mark.parametrize("name", ["hyenadna", "gpn", "gpn-bytenet", "gpn-convnet"])
def test_models_of_the_hub_are_verified_and_embedded_and_then_offline(
    name: str,
    run_cli: RunCommand,
    hub: Hub,
    cache_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = publish(hub, name)
    verified = run_cli("models", "--verify", address, "--json")
    assert verified.exit_code == 0, verified.err
    local = run_cli("models", "--verify", str(DATA / name), "--json")
    assert json.loads(verified.out)["result"] == json.loads(local.out)["result"]
    assert not any("modeling_other.py" in asked for asked in hub.asked)
    vectors = run_cli("embed", "-", "--model", address, stdin=FASTA)
    assert vectors.exit_code == 0, vectors.err
    assert vectors.stdout == run_cli("embed", "-", "--model", str(DATA / name), stdin=FASTA).stdout
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = len(hub.asked)
    again = run_cli("embed", "-", "--model", address, stdin=FASTA)
    assert (again.exit_code, again.stdout) == (0, vectors.stdout), again.err
    assert hub.asked[before:] == []


def test_a_checkpoint_of_the_first_layout_is_refused_before_its_download(
    run_cli: RunCommand, hub: Hub, cache_home: Path
) -> None:
    config = {"d_model": 128, "n_layer": 2, "layer": {"_name_": "hyena", "l_max": 1026}}
    repository = Repository(private=False)
    repository.commit({"config.json": json.dumps(config).encode(), "weights.ckpt": b"pickle"})
    hub.repositories["org/hyenadna"] = repository
    done = run_cli("embed", "-", "--model", "hf://org/hyenadna", stdin=FASTA)
    assert done.exit_code != 0
    assert "error: " in done.err
    assert not any("weights.ckpt" in asked for asked in hub.asked)
