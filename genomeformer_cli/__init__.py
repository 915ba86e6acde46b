"""genomeformer: from a taxon name to a released genome language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genomeformer_cli._version import __version__

if TYPE_CHECKING:
    from genomeformer_cli.api import load, regions
    from genomeformer_cli.scikit_learn import GenomeEmbedder

__all__ = ["GenomeEmbedder", "__version__", "load", "regions"]


def __getattr__(name: str) -> Any:
    """Import the names of the API on first use, since they import torch."""
    if name in ("load", "regions"):
        from genomeformer_cli import api

        return getattr(api, name)
    if name == "GenomeEmbedder":
        from genomeformer_cli.scikit_learn import GenomeEmbedder

        return GenomeEmbedder
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
