"""The parsers of others that read annotation: an extra, because only `windows` needs them."""

from __future__ import annotations

import importlib
from typing import Any

from genomeformer_cli.core.errors import MissingExtraError


def annotation_module(name: str) -> Any:
    """Import a module of the extra `annotation`.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as failure:
        raise MissingExtraError(
            f"reading annotation needs the package `{name.partition('.')[0]}`",
            hint='install it with `pip install "genomeformer[annotation]"`',
        ) from failure
