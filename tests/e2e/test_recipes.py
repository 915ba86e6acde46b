"""Recipes and pipelines: they name what the package is, and their commands run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml
from jinja2 import Environment
from packaging.requirements import Requirement

import genomeformer_cli
from tests.cli import run_python

ROOT = Path(__file__).parents[2]
GALAXY = ROOT / "packaging/galaxy"
MODULES = sorted((ROOT / "workflows/nextflow/modules/local/genomeformer").iterdir())
SNAKEFILE = ROOT / "workflows/snakemake/Snakefile"
GENOME = ROOT / "genomeformer_cli/assets/genomes/NC_001422.1.fa.gz"
PROMOTERS = ROOT / "genomeformer_cli/assets/sequences/ecoli_promoters.fa"
VERSION = genomeformer_cli.__version__
# Packages whose name on conda-forge or bioconda differs from that on PyPI.
CONDA_NAMES = {"isal": "python-isal", "matplotlib": "matplotlib-base", "torch": "pytorch"}


def conda_recipe() -> dict[str, object]:
    text = (ROOT / "packaging/bioconda/meta.yaml").read_text(encoding="utf-8")
    rendered = (
        Environment(autoescape=True)
        .from_string(text)
        .render(PYTHON="python", pin_subpackage=lambda name, **_: name)
    )
    recipe: dict[str, object] = yaml.safe_load(rendered)
    return recipe


def test_the_conda_recipe_requires_what_the_package_requires() -> None:
    recipe: dict[str, dict[str, object]] = conda_recipe()  # type: ignore[assignment]
    run: list[str] = recipe["requirements"]["run"]  # type: ignore[assignment]
    listed = {name: bounds for name, _, bounds in (line.partition(" ") for line in run)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = {"python": project["requires-python"]}
    for line in project["dependencies"]:
        requirement = Requirement(line)
        name = CONDA_NAMES.get(requirement.name, requirement.name.lower())
        bounds = sorted(map(str, requirement.specifier), reverse=True)
        expected[name] = ",".join(bounds)
    assert listed == expected


def test_every_recipe_names_this_version() -> None:
    recipe: dict[str, dict[str, str]] = conda_recipe()  # type: ignore[assignment]
    assert recipe["package"]["version"] == VERSION
    macros = (GALAXY / "macros.xml").read_text(encoding="utf-8")
    assert f'<token name="@TOOL_VERSION@">{VERSION}</token>' in macros
    config = (ROOT / "workflows/nextflow/nextflow.config").read_text(encoding="utf-8")
    assert f"version         = '{VERSION}'" in config
    for module in MODULES:
        environment = yaml.safe_load((module / "environment.yml").read_text(encoding="utf-8"))
        assert environment["dependencies"] == [f"bioconda::genomeformer={VERSION}"]


def test_images_install_the_pinned_torch() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for name in ("Dockerfile", "apptainer.def"):
        text = (ROOT / "packaging" / name).read_text(encoding="utf-8")
        (torch,) = re.findall(r"torch==[\d.]+", text)
        assert torch in pins.splitlines()
        assert "constraints.txt /source" in text


def script_of(module: Path) -> str:
    """Return the shell script of a module, and the command that prints the version."""
    text = (module / "main.nf").read_text("utf-8")
    (script,) = re.findall(r'script:\n(?:\s*def [^\n]*\n)*\s*"""\n(.*?)"""', text, re.DOTALL)
    (version,) = re.findall(r'eval\("(.*?)"\)', text)
    return f"{script}\n{version} > version.txt\n"


def filled(script: str, **values: object) -> str:
    """Fill the variables of a Nextflow script as Nextflow does."""
    names = {"prefix": "sample", "args": "", "task.cpus": 1, **values}
    for name, value in names.items():
        script = re.sub(
            rf"(?<!\\)\$({re.escape(name)}\b|{{{re.escape(name)}}})", str(value), script
        )
    assert not re.findall(r"(?<!\\)\$[\w{]+", script), script
    return script.replace("\\$", "$")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_modules_have_all_parts_of_the_style(module: Path) -> None:
    text = (module / "main.nf").read_text(encoding="utf-8")
    assert f"process GENOMEFORMER_{module.stem.upper()} {{" in text
    parts = ("tag ", "label ", "conda ", "val(meta)", "topic: versions", "when:", "script:")
    for part in (*parts, "stub:", "task.ext.args", "task.ext.prefix"):
        assert part in text
    facts = yaml.safe_load((module / "meta.yml").read_text(encoding="utf-8"))
    assert facts["name"] == f"genomeformer_{module.stem}"
    channels = re.findall(r"emit: (\w+)", text)
    assert list(facts["output"]) == channels
    (inputs,) = re.findall(r"input:\n(.*?)\n\n", text, re.DOTALL)
    described = [
        key
        for item in facts["input"]
        for part in ([item] if isinstance(item, dict) else item)
        for key in part
    ]
    assert described == re.findall(r"(?:val|path)[ (](\w+)", inputs)


def test_pipelines_name_the_precision_that_pieces_share() -> None:
    """`auto` depends on the processor, and pieces run on many machines."""
    config = yaml.safe_load((SNAKEFILE.parent / "config.yaml").read_text(encoding="utf-8"))
    assert "--precision" in config["embed"]
    assert "--precision" in config["predict"]
    nextflow = (ROOT / "workflows/nextflow/nextflow.config").read_text(encoding="utf-8")
    assert re.search(r"GENOMEFORMER_\(EMBED\|PREDICT\)' \{ ext.args = '--precision", nextflow)


def in_shell(script: str, folder: Path) -> None:
    """Run a script in a folder, with the `genomeformer` of these tests."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    (path / "genomeformer").write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m genomeformer_cli "$@"\n', "utf-8"
    )
    (path / "genomeformer").chmod(0o755)
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
def test_scripts_of_the_nextflow_modules_run(tmp_path: Path) -> None:
    shutil.copyfile(PROMOTERS, tmp_path / "p.fa")
    scripts = {module.stem: script_of(module) for module in MODULES}
    for piece in (1, 2):
        embed = {"sequences": "p.fa", "model": "default", "piece": piece, "pieces": 2}
        in_shell(filled(scripts["embed"], **embed), tmp_path)
    # Nextflow groups the pieces in the order in which they finish.
    in_shell(filled(scripts["merge"], vectors="sample.2.npy sample.1.npy"), tmp_path)
    in_shell(filled(scripts["score"], sequences="p.fa", model="default"), tmp_path)
    assert np.load(tmp_path / "sample.vectors.npy").shape[0] == 106
    assert len((tmp_path / "sample.scores.tsv").read_text("utf-8").splitlines()) == 107
    assert (tmp_path / "version.txt").read_text(encoding="utf-8").strip() == VERSION
    rows = [np.load(tmp_path / f"sample.{piece}.npy") for piece in (1, 2)]
    merged = np.load(tmp_path / "sample.vectors.npy")
    for piece, part in enumerate(rows):
        np.testing.assert_array_equal(merged[piece::2], part)


@pytest.mark.parametrize("name", ["embed", "predict", "score"])
def test_galaxy_tools_are_whole(name: str) -> None:
    tool = ET.parse(GALAXY / f"{name}.xml").getroot()  # noqa: S314 our own file
    assert tool.get("id") == f"genomeformer_{name}"
    parts = {child.tag for child in tool}
    assert {"macros", "command", "inputs", "outputs", "tests", "help"} <= parts
    for value in tool.iterfind(".//test/param[@name='sequences']"):
        assert (GALAXY / "test-data" / value.get("value", "")).is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("embed", {"pool": "mean", "format": "tsv"}), ("score", {"both_strands": ""})],
)
def test_commands_of_the_galaxy_tools_run(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    tool = ET.parse(GALAXY / f"{name}.xml").getroot()  # noqa: S314 our own file
    macros = ET.parse(GALAXY / "macros.xml").getroot()  # noqa: S314 our own file
    command = tool.findtext("command", "")
    for token in macros.iter("token"):
        command = command.replace(token.get("name", ""), token.text or "")
    values = {"sequences": str(GALAXY / "test-data/promoters.fa"), **options}
    for key, value in values.items():
        command = re.sub(rf"(?<!\\)\${key}\b", value, command)
    in_shell(command.replace("\\$", "$").strip(), tmp_path)
    for output in tool.iterfind(".//test/output"):
        data = tool.find(f".//data[@name='{output.get('name')}']")
        assert data is not None
        lines = (tmp_path / data.get("from_work_dir", "")).read_text("utf-8").splitlines()
        expected = output.find(".//has_n_lines")
        assert expected is not None
        assert len(lines) == int(expected.get("n", "0"))
        columns = output.find(".//has_n_columns")
        assert columns is None or lines[0].count("\t") + 1 == int(columns.get("n", "0"))


SETTINGS = [
    f"fetch=--file {GENOME}",
    "pretrain=--steps 12 --set training.checkpoint_every=2",
    f"sequences=['{PROMOTERS}']",
    "model=trained",
    "pieces=3",
]


def snakemake(*arguments: str) -> list[str]:
    return [
        "-m",
        "snakemake",
        "-s",
        str(SNAKEFILE),
        "--cores",
        "2",
        *arguments,
        "--config",
        *SETTINGS,
    ]


def test_snakemake_plans_both_pipelines(tmp_path: Path) -> None:
    done = run_python(*snakemake("--dry-run", "--quiet", "host", "--directory", str(tmp_path)))
    assert done.exit_code == 0, done.err
    text = (done.stdout + done.stderr).decode()
    for rule, number in {
        "pretrain": 1,
        "release": 1,
        "embed": 3,
        "score": 3,
        "merge_table": 1,
    }.items():
        assert re.search(rf"^{rule} +{number}$", text, re.MULTILINE), text


@pytest.mark.slow
def test_snakemake_continues_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    in_shell("true", tmp_path)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    line = [sys.executable, *snakemake("--directory", str(tmp_path), "--rerun-incomplete")]
    log = tmp_path / "results/logs/pretrain.log"
    running = subprocess.Popen(
        line, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while running.poll() is None and not (log.exists() and "step 4/" in log.read_text("utf-8")):
        time.sleep(0.2)
    assert running.poll() is None, "it ended before it could be killed"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run([*line, "--unlock"], env=environment, check=True, capture_output=True)
    done = subprocess.run(line, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert "step 1/" not in log.read_text(encoding="utf-8")
    assert np.load(tmp_path / "results/vectors.npy").shape[0] == 106
    ids = (tmp_path / "results/ids.txt").read_text(encoding="utf-8").splitlines()
    headers = [
        line[1:].split()[0] for line in PROMOTERS.read_text("utf-8").splitlines() if line[0] == ">"
    ]
    assert ids == headers
    scores = (tmp_path / "results/score.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert [row.split("\t")[0] for row in scores] == headers
