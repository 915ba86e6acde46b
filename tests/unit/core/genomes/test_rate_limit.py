"""The rate limit, the waits, and the switch that ends them, by a clock of our own."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime

import pytest

from genomeformer_cli.core.errors import NetworkError
from genomeformer_cli.core.genomes.cancellable_pool import run_all
from genomeformer_cli.core.genomes.rate_limit import (
    Backoff,
    CancelledError,
    CancelToken,
    RateLimiter,
    TransientError,
    read_retry_after,
)


class FakeHalt(CancelToken):
    """Remembers waits instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_pace_spaces_evenly_and_holds() -> None:
    cancel, pace = FakeHalt(), RateLimiter(4.0, clock=lambda: 100.0)
    for _ in range(4):
        pace.take(cancel)
    assert cancel.slept == [0.0, 0.25, 0.5, 0.75]
    pace.hold(10.0)
    pace.take(cancel)
    assert cancel.slept[-1] == 10.0


def test_backoff_is_full_jitter_below_a_doubling_ceiling() -> None:
    cancel = FakeHalt()
    draw = random.Random(1)
    backoff = Backoff(10, cancel=cancel, base=1.0, cap=8.0, rng=draw)
    for _ in range(10):
        backoff.wait(TransientError("x"))
    ceilings = [1, 2, 4, 8, 8, 8, 8, 8, 8, 8]
    assert all(0 <= slept <= top for slept, top in zip(cancel.slept, ceilings, strict=True))
    assert len(set(cancel.slept)) == 10
    with pytest.raises(NetworkError, match="after 11 tries") as caught:
        backoff.wait(TransientError("x"))
    assert caught.value.exit_code == 75


def test_a_host_that_never_replied_is_given_up_soon() -> None:
    backoff = Backoff(8, cancel=FakeHalt())
    for _ in range(3):
        backoff.wait(TransientError("x", unreachable=True))
    with pytest.raises(NetworkError, match="after 4 tries"):
        backoff.wait(TransientError("x", unreachable=True))
    with pytest.raises(NetworkError, match="after 1 try"):
        Backoff(0, cancel=FakeHalt()).wait(TransientError("x"))


def test_progress_resets_the_count_and_retry_after_wins() -> None:
    cancel = FakeHalt()
    backoff = Backoff(1, cancel=cancel)
    for _ in range(5):
        backoff.wait(TransientError("x", retry_after=7.0))
        backoff.progress()
    assert cancel.slept == [7.0] * 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("-3", 0.0),
        ("1e9", 300.0),
        ("nan", None),
        ("soon", None),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    now = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    assert read_retry_after(value, cap=300.0, now=now) == seconds


def test_halt_ends_waits() -> None:
    cancel = CancelToken()
    cancel.sleep(0.0)
    cancel.check()
    threading.Timer(0.05, cancel.set).start()
    with pytest.raises(CancelledError):
        cancel.sleep(60.0)
    with pytest.raises(CancelledError):
        cancel.check()


def test_workers_do_everything_and_stop_at_the_first_exception() -> None:
    results = dict(run_all(range(50), lambda n: n * n, jobs=4, cancel=CancelToken()))
    assert results == {n: n * n for n in range(50)}
    assert list(run_all([], lambda n: n, jobs=4, cancel=CancelToken())) == []

    def fail(number: int) -> int:
        if number == 3:
            raise RuntimeError("three")
        return number

    cancel = CancelToken()
    with pytest.raises(RuntimeError, match="three"):
        list(run_all(range(1000), fail, jobs=2, cancel=cancel))
    with pytest.raises(CancelledError):
        cancel.check()


def test_leaving_the_loop_ends_the_workers() -> None:
    cancel = CancelToken()

    def wait(number: int) -> int:
        if number:
            cancel.sleep(60.0)
        return number

    results = run_all(range(3), wait, jobs=3, cancel=cancel)
    assert next(results) == (0, 0)
    results.close()
    with pytest.raises(CancelledError):
        cancel.check()
