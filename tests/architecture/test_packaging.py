"""What an installer reads: ranges in the metadata, pins for CI, package data in the wheel."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import genomeformer_cli

ROOT = Path(__file__).parents[2]
REQUIREMENTS = [Requirement(line) for line in metadata.requires("genomeformer") or ()]


def pins() -> dict[str, Requirement]:
    """What `constraints.txt` pins, by canonical name."""
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
