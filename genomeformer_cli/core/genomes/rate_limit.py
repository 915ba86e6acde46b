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

# Retries for a host that never answered: a machine without network should say so in seconds.
_UNREACHABLE = 3


class TransientError(Exception):
    """A failure that may pass: worth another try.

    Args:
        message: What happened, for the error that is raised when all tries are used up.
        retry_after: Seconds the host asked us to wait, if it did.
        unreachable: Whether the host cannot be reached and never could: fewer tries will do.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unreachable = unreachable


class CancelledError(Exception):
    """The work was called off while this thread waited or read."""


class CancelToken:
    """A switch that every wait looks at."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Call the work off."""
        self._event.set()

    def check(self) -> None:
        """Go on only if the work was not called off.

        Raises:
            CancelledError: It was.
        """
        if self._event.is_set():
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Wait, unless the work is called off.

        Raises:
            CancelledError: It was called off.
        """
        if self._event.wait(max(0.0, seconds)):
            raise CancelledError


class RateLimiter:
    """At most `rate` requests a second, evenly spaced, over all threads."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / rate
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def take(self, halt: CancelToken) -> None:
        """Wait for the next free moment and take it."""
        with self._lock:
            now = self._clock()
            moment = max(now, self._next)
            self._next = moment + self._interval
        halt.sleep(moment - now)

    def hold(self, seconds: float) -> None:
        """Let nobody ask for that long: the host said so."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


class Backoff:
    """The waits between tries of one request or file."""

    def __init__(
        self,
        retries: int,
        *,
        halt: CancelToken,
        base: float = 1.0,
        cap: float = 60.0,
        draw: random.Random | None = None,
    ) -> None:
        self._retries = retries
        self._halt = halt
        self._base = base
        self._cap = cap
        self._draw = draw if draw is not None else random.Random()  # noqa: S311 - jitter, no secret
        self._failures = 0

    def progress(self) -> None:
        """Something new arrived: failures so far are forgiven."""
        self._failures = 0

    def wait(self, failure: TransientError) -> None:
        """Count a failure and wait before the next try.

        Raises:
            NetworkError: All tries are used up.
        """
        self._failures += 1
        retries = min(self._retries, _UNREACHABLE) if failure.unreachable else self._retries
        if self._failures > retries:
            raise NetworkError(
                f"{failure} (after {self._failures} {'try' if self._failures == 1 else 'tries'})",
                hint="run the command again: it goes on where it stopped",
            ) from failure
        ceiling = min(self._cap, self._base * 2 ** (self._failures - 1))
        drawn = self._draw.uniform(0.0, ceiling)
        self._halt.sleep(drawn if failure.retry_after is None else failure.retry_after)


def read_retry_after(value: str | None, *, cap: float, now: datetime | None = None) -> float | None:
    """Seconds of a `Retry-After` header (number or date), at most `cap`; `None` if unreadable."""
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
