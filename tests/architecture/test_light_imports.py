"""Commands that compute nothing start fast: a fresh process that has run them holds no torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import run_python

# Runs command lines one after another; the last line of stderr then says for each how it ended,
# and which of the named modules were imported by then.
PROBE = """
import json, sys
from genomeformer_cli.app import main
heavy, found = json.loads(sys.argv[1]), []
for line in json.loads(sys.argv[2]):
    sys.argv, code = ["genomeformer", *line], 0
    try:
        main()
    except SystemExit as finished:
        code = finished.code
    found.append([" ".join(line), code or 0, sorted(set(heavy) & set(sys.modules))])
sys.stderr.write("\\n" + json.dumps(found))
"""
HEAVY = ("torch", "matplotlib", "safetensors", "tokenizers", "transformers")


# What no help needs.
ALL_HEAVY = (*HEAVY, "httpx", "numpy", "pyfastx")
# Each of these costs milliseconds, and a help text needs none.
UNUSED_IN_HELP = (
    *("filelock", "importlib.metadata", "msgspec", "platformdirs", "tomllib", "tomli_w"),
    *("asyncio", "email", "hashlib", "socket", "unittest", "zipfile"),
    *("pydantic", "markdown_it", "pygments", "rich.markdown", "rich.traceback"),
    *(
        f"genomeformer_cli.core.{name}"
        for name in ("configuration", "documents", "known_models", "plugins", "store.layout")
    ),
)
# `embed` with the default model needs none of these. torch itself imports asyncio and unittest.
UNUSED_IN_EMBED = (
    *("httpx", "huggingface_hub", "matplotlib", "pandas", "scipy", "sklearn", "transformers"),
    *("h5py", "onnx", "pyarrow", "umap", "torch._dynamo", "torch._inductor", "sympy"),
    *(f"genomeformer_cli.commands.{name}" for name in ("evaluate", "fetch", "pretrain", "release")),
    *("markdown_it", "pygments", "genomeformer_cli.core.workflows.pretrain"),
    *(
        f"genomeformer_cli.core.{name}"
        for name in (
            *("evaluation", "finetuning", "known_models", "model_io.published", "release"),
            *("models.decoder", "models.dilated", "models.encoder", "models.hyena"),
            *("models.caduceus", "models.mamba", "models.families.bert", "models.families.llama"),
        )
    ),
)
COMMANDS = (
    *("", "fetch", "tokenize", "windows", "pretrain", "compare", "embed", "evaluate", "score"),
    *("release", "finetune", "predict", "cache", "cache ls", "models", "doctor"),
)


def check_light(*lines: tuple[str, ...], heavy: tuple[str, ...] = HEAVY) -> None:
    """Run command lines in one fresh process; none may fail or import a heavy module."""
    done = run_python("-c", PROBE, json.dumps(heavy), json.dumps(lines))
    assert done.exit_code == 0, done.err
    found = json.loads(done.err.splitlines()[-1])
    assert found == [[" ".join(line), 0, []] for line in lines], done.err


def test_help_is_light() -> None:
    check_light(*((*command.split(), "--help") for command in COMMANDS), heavy=ALL_HEAVY)


def test_the_list_of_commands_imports_little() -> None:
    check_light(("--help",), heavy=(*ALL_HEAVY, *UNUSED_IN_HELP))


def test_embedding_imports_only_the_default_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.fa").write_text(">a\nACGTACGTTGCA\n")
    check_light(("embed", "x.fa", "--device", "cpu", "-o", "x.npy"), heavy=UNUSED_IN_EMBED)


def test_fetching_and_tokenizing_run_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_light(
        ("fetch", "--sample"),
        ("tokenize", "--genome", "NC_001422.1", "--name", "phage"),
        ("tokenize", "--inspect", "ACGTN"),
        ("cache", "ls"),
        ("cache", "verify"),
        heavy=("torch", "matplotlib", "transformers"),
    )
    check_light(("tokenize", "--stats", "--name", "phage"), heavy=("torch",))


def test_version_is_light() -> None:
    check_light(("--version",), ("--version", "--json"), heavy=ALL_HEAVY)
