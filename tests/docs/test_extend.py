"""The packages of the page on extensions, installed and used as the page says."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import save_file

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from tests.cli import RunCommand
from tests.models import SMALL
from tests.plugins import install_package

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "extend.md").read_text(encoding="utf-8")
MODULES = re.findall(r"`(genomeformer_\w+)\.py`", PAGE)
CODE = dict(zip(MODULES, re.findall(r"^```py\n(.*?)^```$", PAGE, re.S | re.M), strict=True))
PROJECTS = [tomllib.loads(one) for one in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.S | re.M)]
COMMANDS = [
    shlex.split(os.path.expandvars(line))
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.S | re.M)
    for line in block.splitlines()
]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with both packages installed."""
    for module, project in zip(MODULES, PROJECTS, strict=True):
        install_package(
            tmp_path / "site",
            monkeypatch,
            name=project["project"]["name"],
            points=project["project"]["entry-points"],
            modules={module: CODE[module]},
        )
    monkeypatch.setenv("SAMPLES", str(ROOT / "genomeformer_cli" / "assets" / "sequences"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(word: str) -> list[list[str]]:
    """Commands of the page before or after the one that installs the published model."""
    found = [one for one in COMMANDS if one[0] == "genomeformer"]
    return [one[1:] for one in found if ("published" in one) == (word == "published")]


def run(command: list[str], run_cli: RunCommand, *more: str) -> str:
    done = run_cli(*map(os.path.expandvars, command), *more)
    assert done.exit_code == 0, f"{command}\n{done.err}"
    return done.out


def publish(folder: Path) -> dict[str, Any]:
    """Write a model in the layout of the page; return its tensors."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    shapes = {"embed.weight": (12, 8), "conv.0.weight": (8, 1, 3), "conv.1.weight": (8, 1, 3)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    described = {"model_type": "dna-stack", "vocab_size": 12, "hidden_size": 8, "num_layers": 2}
    (folder / "config.json").write_text(
        json.dumps({**described, "kernel_size": 3, "activation": "gelu"})
    )
    return tensors


def test_the_mechanism_trains_and_embeds(scratch: Path, run_cli: RunCommand) -> None:
    doctor, fetch, tokenize, pretrain, embed = commands("mechanism")
    listed = run(doctor, run_cli)
    for kind, name in (("attention", "distance"), ("architecture", "convolution-stack")):
        assert f"the {kind} `{name}` of the package `genomeformer-" in listed
    run(fetch, run_cli)
    run(tokenize, run_cli)
    (scratch / "small.toml").write_text(tomli_w.dumps(SMALL), encoding="utf-8")
    run(pretrain, run_cli, "--config", "small.toml", "--steps", "3", "--threads", "1")
    run(embed, run_cli)
    assert np.isfinite(np.load(scratch / "far.npy")).all()


@torch.no_grad()
@pytest.mark.parametrize("direction", ["bidirectional", "causal"])
def test_the_mechanism_keeps_its_promises(direction: Any) -> None:
    config = ModelConfig(
        width=16,
        num_heads=2,
        depth=2,
        direction=direction,
        attention=AttentionConfig(name="distance"),
    )
    model = build_model(config, seed=1).double()
    tokens_BL = torch.randint(5, 9, (2, 20), generator=torch.Generator().manual_seed(1))
    mask_BL = torch.arange(20) < torch.tensor([[20], [13]])
    whole, alone = model.hidden(tokens_BL, mask_BL), model.hidden(tokens_BL[1:, :13], None)
    torch.testing.assert_close(whole[1:, :13], alone)
    changed_BL = tokens_BL.clone()
    changed_BL[:, 10] = 5 + (changed_BL[:, 10] - 4) % 4
    before = model.hidden(changed_BL, mask_BL)[0, :10]
    assert torch.equal(before, whole[0, :10]) == (direction == "causal")


def test_the_architecture_reads_its_published_layout(scratch: Path, run_cli: RunCommand) -> None:
    tensors = publish(scratch / "published")
    (embed,) = commands("published")
    run(embed, run_cli)
    assert np.isfinite(np.load(scratch / "stack.npy")).all()
    loaded = read_model(scratch / "published")
    assert type(loaded.model) is importlib.import_module("genomeformer_stack").Stack
    with torch.no_grad():
        embedded = loaded.model.hidden_layers(torch.tensor([[7, 8, 6]]), None, (0,))[0][0]
    assert torch.equal(embedded, tensors["embed.weight"][[7, 8, 6]])


def test_the_architecture_refuses_what_it_does_not_understand(
    scratch: Path, run_cli: RunCommand
) -> None:
    publish(scratch / "published")
    path = scratch / "published" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dilation": 2}))
    (embed,) = commands("published")
    done = run_cli(*map(os.path.expandvars, embed))
    assert done.exit_code == 2
    assert "`dilation`" in done.err
