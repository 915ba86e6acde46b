"""genomeformer: from a taxon name to a released genome language model."""

__version__ = "0.1.0"

__all__ = ["__version__"]
