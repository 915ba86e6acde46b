"""Request pacing: rate limit, retry delays, and a token that cancels all waits.

`RateLimiter` and `Backoff` sleep through a `CancelToken`, so that Ctrl-C ends every wait at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from genomeformer_cli.core.errors import NetworkError

# Retries for a host that was never reached: without network, fail within seconds.
_UNREACHABLE = 3


class TransientError(Exception):
    """Failure that a retry may resolve.

    Args:
        message: Text of the error that is raised when all retries are used up.
        retry_after: Seconds to wait, if the host requested a delay.
        unreachable: True if the host was never reached; fewer retries are made.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unreachable = unreachable


class CancelledError(Exception):
    """The work was cancelled while this thread was waiting or reading."""


class CancelToken:
    """Event that interrupts every wait."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Cancel the work."""
        self._event.set()

    def check(self) -> None:
        """Return unless the work was cancelled.

        Raises:
            CancelledError: The work was cancelled.
        """
        if self._event.is_set():
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Sleep unless the work is cancelled.

        Raises:
            CancelledError: The work was cancelled.
        """
        if self._event.wait(max(0.0, seconds)):
            raise CancelledError


class RateLimiter:
    """Limit on requests per second, evenly spaced, shared by all threads."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / rate
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def take(self, cancel: CancelToken) -> None:
        """Wait for the next free slot."""
        with self._lock:
            now = self._clock()
            moment = max(now, self._next)
            self._next = moment + self._interval
        cancel.sleep(moment - now)

    def hold(self, seconds: float) -> None:
        """Delay all requests, as the host requested."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


class Backoff:
    """Exponential backoff with jitter for one request or file."""

    def __init__(
        self,
        retries: int,
        *,
        cancel: CancelToken,
        base: float = 1.0,
        cap: float = 60.0,
        rng: random.Random | None = None,
    ) -> None:
        self._retries = retries
        self._cancel = cancel
        self._base = base
        self._cap = cap
        self._rng = rng if rng is not None else random.Random()  # noqa: S311 - jitter, not security
        self._failures = 0

    def progress(self) -> None:
        """Reset the failure count after progress."""
        self._failures = 0

    def wait(self, failure: TransientError) -> None:
        """Count a failure and wait before the next attempt.

        Raises:
            NetworkError: All retries are used up.
        """
        self._failures += 1
        retries = min(self._retries, _UNREACHABLE) if failure.unreachable else self._retries
        if self._failures > retries:
            raise NetworkError(
                f"{failure} (after {self._failures} {'try' if self._failures == 1 else 'tries'})",
                hint="run the command again to resume",
            ) from failure
        ceiling = min(self._cap, self._base * 2 ** (self._failures - 1))
        delay = self._rng.uniform(0.0, ceiling)
        self._cancel.sleep(delay if failure.retry_after is None else failure.retry_after)


def read_retry_after(value: str | None, *, cap: float, now: datetime | None = None) -> float | None:
    """Parse a `Retry-After` header (seconds or date), at most `cap`; None if invalid."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(tz=UTC))).total_seconds()
    if seconds != seconds:
        return None
    return min(max(0.0, seconds), cap)
