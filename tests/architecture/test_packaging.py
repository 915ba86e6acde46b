"""Packaging: ranges in the metadata, pins for CI, package data in the wheel."""

from __future__ import annotations

import io
import re
import shutil
import tomllib
import zipfile
import zlib
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import genomeformer_cli
from tests.cli import run_python
from tests.files import everything_in

ROOT = Path(__file__).parents[2]
REQUIREMENTS = [Requirement(line) for line in metadata.requires("genomeformer") or ()]


def pins() -> dict[str, Requirement]:
    """Return the pins of `constraints.txt`, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(one.name): one for one in pinned}


def test_version_is_the_packages() -> None:
    assert metadata.version("genomeformer") == genomeformer_cli.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == genomeformer_cli.__version__


def test_classifiers_name_every_python_from_the_least_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r":: Python :: 3\.(\d+)", "\n".join(project["classifiers"]))
    minors = [int(minor) for minor in named]
    assert project["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_version_is_written_in_one_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    modules = (ROOT / "genomeformer_cli").rglob("*.py")
    assigned = re.compile(r"^__version__ *=", re.MULTILINE)
    named = [path.name for path in modules if assigned.search(path.read_text(encoding="utf-8"))]
    assert named == ["_version.py"]


def test_the_changelog_has_this_version_with_a_date() -> None:
    """`[Unreleased]` comes first; then each version once, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, *releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert unreleased == "[Unreleased]"
    found = [re.fullmatch(r"\[([\d.]+)\] - (\d{4}-\d\d-\d\d)", title) for title in releases]
    dated = [(Version(one[1]), date.fromisoformat(one[2])) for one in found if one]
    assert len(dated) == len(releases)
    assert dated == sorted(dated, reverse=True)
    assert str(dated[0][0]) == genomeformer_cli.__version__


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda one: one.name)
def test_metadata_gives_a_range_and_the_pin_is_in_it(requirement: Requirement) -> None:
    operators = {part.operator for part in requirement.specifier}
    assert ">=" in operators
    assert not operators & {"==", "===", "~="}
    (pin,) = pins()[canonicalize_name(requirement.name)].specifier
    assert requirement.specifier.contains(pin.version)


def test_every_constraint_is_one_plain_version() -> None:
    for pin in pins().values():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version
        assert "*" not in specifier.version
    assert str(pins()["torch"].specifier) == "==2.13.0"
    assert not [name for name in pins() if name.startswith(("nvidia-", "triton"))]


def test_wheel_holds_the_package_data() -> None:
    included = {file.relative_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assets = {path for path in (ROOT / "genomeformer_cli" / "assets").rglob("*") if path.is_file()}
    assert assets
    assert {str(path.relative_to(ROOT)) for path in assets} <= included


def test_a_bundle_in_the_assets_ships_whole_and_is_the_default(tmp_path: Path) -> None:
    """Whoever has a bundle puts it into `assets/models/default`: nothing else is to be done."""
    from tests.bundles import make_bundle

    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "genomeformer_cli", project / "genomeformer_cli", ignore=ignored)
    shutil.rmtree(project / "genomeformer_cli/assets/models")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(ROOT / name, project / name)
    place = "genomeformer_cli/assets/models/default"
    make_bundle(project / place)
    wheel = next(WheelBuilder(str(project)).build(directory=str(tmp_path / "dist")))
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    installed = tmp_path / "installed"
    assert everything_in(installed / place) == everything_in(project / place)
    (tmp_path / "x.fa").write_text(">a\nACGTACGT\n", encoding="utf-8")
    environment = {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    line = ["-P", "-m", "genomeformer_cli", "embed", str(tmp_path / "x.fa")]
    done = run_python(*line, environment=environment)
    assert done.exit_code == 0, done.err
    assert np.load(io.BytesIO(done.stdout)).shape == (1, 16)


def test_the_default_model_is_small_enough_for_a_wheel() -> None:
    files = (ROOT / "genomeformer_cli" / "assets" / "models").rglob("*")
    packed = [zlib.compress(file.read_bytes()) for file in files if file.is_file()]
    assert 1_000_000 < sum(len(one) for one in packed) <= 8_000_000
