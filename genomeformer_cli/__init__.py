"""genomeformer: from a taxon name to a released genome language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genomeformer_cli._version import __version__

if TYPE_CHECKING:
    from genomeformer_cli.api import GenomeEmbedder, load, regions

__all__ = ["GenomeEmbedder", "__version__", "load", "regions"]


def __getattr__(name: str) -> Any:
    """Import the names of the API on first use, since they import torch."""
    if name not in ("GenomeEmbedder", "load", "regions"):
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from genomeformer_cli import api

    return getattr(api, name)
