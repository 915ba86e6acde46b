"""Packages with entry points, installed for one test: a folder on `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install_package(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str] | None = None,
) -> None:
    """Write a package with its metadata, as `pip install` does, and put it on the path.

    Args:
        folder: Folder of the installed packages.
        monkeypatch: Removes the package and its modules after the test.
        name: Name of the package.
        points: Objects by name, by group.
        modules: Python code by name of the module.
    """
    metadata = folder / f"{name.replace('-', '_')}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = []
    for group, objects in points.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in objects.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, code in (modules or {}).items():
        (folder / f"{module}.py").write_text(code)
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    if str(folder) not in sys.path:
        monkeypatch.syspath_prepend(folder)
