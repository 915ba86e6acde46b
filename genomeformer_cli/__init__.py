"""genomeformer: from a taxon name to a released genome language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.load import GenomeEmbedder, load

__version__ = "0.1.0"

__all__ = ["GenomeEmbedder", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load` and `GenomeEmbedder` bring torch with them, so they are fetched when asked for."""
    if name not in ("GenomeEmbedder", "load"):
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from genomeformer_cli.core.workflows import load as doors

    return getattr(doors, name)
