"""The trained model, for all tests of commands."""

from __future__ import annotations

from tests.models import trained, trained_cache

__all__ = ["trained", "trained_cache"]
