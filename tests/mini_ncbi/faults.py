"""Faults of a request, by name; a fault script is a list of these for a URL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum


class Fault(StrEnum):
    """One way to misbehave once."""

    OK = "ok"
    RESET = "reset at 40 %"
    FIN = "early end"
    REFUSE = "close before answering"
    STALL = "stall"
    DRIP = "slow drip"
    FULL = "200 instead of 206"
    WRONG_RANGE = "wrong Content-Range"
    UNSATISFIABLE = "416"
    MODIFIED = "another Last-Modified from now on"
    BAD_MD5 = "bad MD5"
    NO_FILE = "404"
    HTML = "a web page with 200"
    GZIP_ENCODING = "Content-Encoding: gzip on a .gz"
    FLIPPED = "one bit flipped"
    TOO_MANY = "429"
    TOO_MANY_WAIT = "429 with Retry-After"
    TOO_MANY_DATE = "429 with a date in Retry-After"
    ERROR_500 = "500"
    ERROR_502 = "502"
    ERROR_503 = "503"
    ERROR_504 = "504"
    FORBIDDEN = "403"
    CUT_CHUNKS = "chunked, cut"
    NO_LENGTH_CUT = "no length, cut"
    EMPTY_PAGE = "an empty page"
    REPEATED = "a page with a report of the page before"
    NO_TOKEN = "a page without its token"


STATUSES = {
    Fault.ERROR_500: 500,
    Fault.ERROR_502: 502,
    Fault.ERROR_503: 503,
    Fault.ERROR_504: 504,
    Fault.FORBIDDEN: 403,
    Fault.TOO_MANY: 429,
    Fault.TOO_MANY_WAIT: 429,
    Fault.TOO_MANY_DATE: 429,
}
# Each passes by itself, whatever file it hits.
FILE_FAULTS = (
    Fault.OK,
    Fault.RESET,
    Fault.FIN,
    Fault.REFUSE,
    Fault.STALL,
    Fault.DRIP,
    Fault.FULL,
    Fault.WRONG_RANGE,
    Fault.UNSATISFIABLE,
    Fault.MODIFIED,
    Fault.HTML,
    Fault.GZIP_ENCODING,
    Fault.TOO_MANY,
    Fault.TOO_MANY_WAIT,
    Fault.TOO_MANY_DATE,
    Fault.ERROR_500,
    Fault.ERROR_502,
    Fault.ERROR_503,
    Fault.ERROR_504,
    Fault.CUT_CHUNKS,
)
PAGE_FAULTS = (
    Fault.OK,
    Fault.RESET,
    Fault.FIN,
    Fault.REFUSE,
    Fault.HTML,
    Fault.TOO_MANY,
    Fault.TOO_MANY_WAIT,
    Fault.ERROR_500,
    Fault.ERROR_503,
    Fault.CUT_CHUNKS,
    Fault.NO_LENGTH_CUT,
)
MD5_FAULTS = (Fault.OK, Fault.RESET, Fault.FIN, Fault.HTML, Fault.ERROR_503, Fault.BAD_MD5)


class Scripts:
    """Fault scripts: for a URL whose path ends in a text, what its next requests meet."""

    def __init__(self) -> None:
        self._scripts: dict[str, deque[Fault]] = {}

    def add(self, ending: str, faults: Iterable[Fault]) -> None:
        """Add faults for paths with that ending."""
        self._scripts.setdefault(ending, deque()).extend(faults)

    def next(self, path: str) -> Fault:
        """The fault of this request."""
        for ending, faults in self._scripts.items():
            if path.endswith(ending) and faults:
                return faults.popleft()
        return Fault.OK

    def clear(self) -> None:
        self._scripts.clear()
