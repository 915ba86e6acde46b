"""What the environment decides: the cache root. The one place that reads environment variables.

| variable            | meaning                                             |
|---------------------|-----------------------------------------------------|
| `GENOMEFORMER_HOME` | root of the cache; else the platform's user cache   |
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "GENOMEFORMER_HOME"


def cache_root() -> Path:
    """The folder that holds genomes, vocabularies, corpora, runs and weights."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("genomeformer", appauthor=False)
