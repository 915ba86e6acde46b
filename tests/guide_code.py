"""Python code of the guide to releases, run as a reader would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "release.md"


def code_of_the_guide() -> list[str]:
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def run_the_guide(*parts: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec("".join(parts), names)  # noqa: S102 - the guide's own code is what is tested
    return names
