"""Model of the installed package: its name and folder, without torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

DEFAULT_MODEL = "default"


def bundled_folder() -> Path:
    """Return the folder of the default model in the installed package, present or not."""
    return Path(str(resources.files("genomeformer_cli"))) / "assets" / "models" / DEFAULT_MODEL
