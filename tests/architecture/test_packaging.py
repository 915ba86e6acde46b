"""Packaging: ranges in the metadata, pins for CI, package data in the wheel."""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
