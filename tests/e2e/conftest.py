"""End-to-end tests share the one small trained model of the session with those of commands."""

from __future__ import annotations

from tests.models import trained, trained_cache

__all__ = ["trained", "trained_cache"]
