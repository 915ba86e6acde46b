"""Print the oldest versions that `pyproject.toml` allows, as requirements, for `make lowest`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BOUND = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*>=\s*([0-9][0-9.]*)")


def lowest(requirements: list[str]) -> dict[str, str]:
    """Return the oldest allowed version of every requirement that has one."""
    found = {}
    for requirement in requirements:
        match = _BOUND.match(requirement)
        if match:
            found[match[1].lower()] = match[2]
    return found


def main() -> None:
    """Write one pin per line: of the package, of the extras named, newest tools of the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = lowest(project["dependencies"])
    for extra in sys.argv[1:]:
        pins |= lowest(project["optional-dependencies"][extra])
    sys.stdout.write("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))


if __name__ == "__main__":
    main()
