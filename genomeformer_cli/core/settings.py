"""What the environment decides. The one place that reads environment variables.

| variable                | meaning                                                             |
|-------------------------|---------------------------------------------------------------------|
| `GENOMEFORMER_HOME`     | root of the cache; else the platform's user cache                   |
| `GENOMEFORMER_BASE_URL` | where NCBI Datasets is; else NCBI itself                            |
| `GENOMEFORMER_FTP_URL`  | where the genomes area (`/genomes`, `/pub`) is; else NCBI itself    |
| `NCBI_API_KEY`          | NCBI's key for more requests a second; never logged, shown or kept  |
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "GENOMEFORMER_HOME"
BASE_URL_VARIABLE = "GENOMEFORMER_BASE_URL"
FTP_URL_VARIABLE = "GENOMEFORMER_FTP_URL"
API_KEY_VARIABLE = "NCBI_API_KEY"

DATASETS_URL = "https://api.ncbi.nlm.nih.gov/datasets/v2"
FTP_URL = "https://ftp.ncbi.nlm.nih.gov"


def cache_root() -> Path:
    """The folder that holds genomes, vocabularies, corpora, runs and weights."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("genomeformer", appauthor=False)


def base_url() -> str:
    """Where NCBI Datasets is."""
    return os.environ.get(BASE_URL_VARIABLE) or DATASETS_URL


def ftp_url() -> str:
    """Where the genomes area is."""
    return os.environ.get(FTP_URL_VARIABLE) or FTP_URL


def api_key() -> str | None:
    """The user's NCBI key, if there is one."""
    return os.environ.get(API_KEY_VARIABLE) or None


def fresh_environment(cache: Path) -> dict[str, str]:
    """This process's environment with another cache, and without the network of the Hub."""
    return {**os.environ, HOME_VARIABLE: str(cache), "HF_HUB_OFFLINE": "1"}
