"""The trained model, for cases that need one."""

from __future__ import annotations

from tests.models import trained, trained_cache

__all__ = ["trained", "trained_cache"]
