"""The trained model, to draw its loss."""

from __future__ import annotations

from tests.models import trained, trained_cache

__all__ = ["trained", "trained_cache"]
