"""Names that bash and zsh complete: those of the registries and of the cache, each once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from genomeformer_cli.commands import _completion as completion
from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.objectives.registry import OBJECTIVES
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.files import tokenizer_names
from genomeformer_cli.core.training.presets import PRESETS
from tests.cli import run_python

# Completes lines, each as its environment says; stderr is True if torch was imported.
PROBE = """
import json, os, sys
from genomeformer_cli.app import app
for environment in json.loads(sys.argv[1]):
    os.environ.update(environment)
    try:
        app(prog_name="genomeformer")
    except SystemExit:
        sys.stdout.write("\\x1e")
sys.stderr.write(str("torch" in sys.modules))
"""
LINES = {
    "pretrain --preset ti": ["tiny"],
    "compare demo --attention softmax,perf": ["softmax,performer"],
    "embed --model ": ["default", "demo", "trial"],
    "tokenize --genome NC": ["NC_1", "NC_2"],
    "tokenize --all --holdout NC_2": ["NC_2"],
    "embed NC_": ["NC_1", "NC_2"],
    "compare demo --variant obj": [f"objective={name}" for name in OBJECTIVES],
}


@pytest.fixture
def filled(cache_home: Path) -> Path:
    for entry in (
        *("genomes/NC_1", "genomes/NC_2", "corpora/demo", "runs/demo", "runs/trial"),
        *("weights/demo", "vocabularies/bytes", "comparisons/both"),
    ):
        (cache_home / entry).mkdir(parents=True)
    return cache_home


def environment_of(line: str, shell: str) -> dict[str, str]:
    """Return the variables with which a shell asks for the names that end a line."""
    words = f"genomeformer {line}"
    variables = {"_GENOMEFORMER_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        return {**variables, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    return {**variables, "_TYPER_COMPLETE_ARGS": words}


def complete(shell: str, *lines: str) -> list[list[str]]:
    """Complete lines in one fresh process."""
    environments = [environment_of(line, shell) for line in lines]
    done = run_python("-c", PROBE, json.dumps(environments))
    assert done.err == "False", done.err
    answers = done.out.split("\x1e")[:-1]
    if shell == "bash":
        return [answer.split() for answer in answers]
    return [re.findall(r'"([^"]+)"', answer) for answer in answers]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_names_without_torch(shell: str) -> None:
    assert dict(zip(LINES, complete(shell, *LINES), strict=True)) == LINES


@pytest.mark.usefixtures("filled")
def test_a_name_is_listed_once() -> None:
    assert completion.complete_models("") == ["default", "demo", "trial"]
    entries = completion.complete_entries("")
    assert len(entries) == len(set(entries)) == 8
    assert {"corpora/demo", "runs/demo", "weights/demo", "trial"} <= set(entries)
    assert completion.complete_entries("runs/") == ["runs/demo", "runs/trial"]
    assert completion.complete_corpora("") == completion.complete_released("") == ["demo"]
    sources = completion.complete_release_sources("")
    assert sources == ["demo", "trial", "default", "weights/demo"]
    assert completion.complete_runs("t") == ["trial"]
    assert completion.complete_vocabularies("x") == []
    assert completion.complete_comparisons("") == ["both"]


@pytest.mark.usefixtures("filled")
def test_known_models_are_completed_by_their_addresses() -> None:
    found = completion.complete_models("hf://LongSafari/hyenadna-t")
    assert len(found) == 3
    assert all(name.startswith("hf://LongSafari/hyenadna-tiny-") for name in found)
    assert completion.complete_models("d") == ["default", "demo"]
    assert completion.complete_known_models("hyena")[0] == "hyenadna"
    # A colon separates a description in zsh.
    line = "embed --model hf://songlab/gpn-b"
    assert complete("zsh", line) == [[r"hf\\://songlab/gpn-brassicales"]]
    assert complete("bash", line) == [["hf://songlab/gpn-brassicales"]]


@pytest.mark.usefixtures("filled")
def test_genomes_are_completed_beside_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "NC_reads").mkdir()
    (tmp_path / "NC_reads" / "NC_9.fa").touch()
    (tmp_path / "NC_9.fa").touch()
    assert completion.complete_sources("NC_") == ["NC_1", "NC_2", "NC_9.fa", "NC_reads/"]
    assert {"NC_1", "NC_9.fa", "NC_reads/"} <= set(completion.complete_sources(""))
    # The shell completes files by itself where no genome fits.
    assert completion.complete_sources("NC_reads/") == completion.complete_sources("x") == []


def test_settings_of_a_variant_are_completed() -> None:
    assert completion.complete_variants("fast: attention=perf") == ["fast: attention=performer"]
    assert completion.complete_variants("context=512,batch") == ["context=512,batch_size="]
    assert completion.complete_variants("model.width=6") == []
    assert len(completion.complete_variants("")) == len(ATTENTIONS) + len(OBJECTIVES) + 3


def test_names_are_those_of_the_registries() -> None:
    assert set(completion.PRESET_NAMES) == set(PRESETS)
    assert set(completion.ATTENTION_NAMES) == set(ATTENTIONS)
    assert set(completion.OBJECTIVE_NAMES) == set(OBJECTIVES)
    assert set(completion.TOKENIZER_NAMES) == set(tokenizer_names())


def test_an_unreadable_cache_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Store, "entries", refuse)
    assert completion.complete_corpora("") == []
    assert completion.complete_models("") == ["default"]
