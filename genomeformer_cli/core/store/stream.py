"""A file that is written, hashed and put on the disk by a thread, while its content is made."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from pathlib import Path

_AHEAD = 4
# Put on the disk as it comes, so that little is left to wait for at the end.
_SYNC_BYTES = 1 << 25


class HashedFile:
    """A new binary file; what is written to it must not be changed afterwards.

    Args:
        path: Where it is made.

    Raises:
        OSError: The system refuses it: here, or later at `write` or `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._ready: queue.Queue[bytes | memoryview | None] = queue.Queue(_AHEAD)
        self._failure: BaseException | None = None
        self._is_wanted = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def write(self, content: bytes | memoryview) -> None:
        """Append some bytes."""
        if self._failure is not None:
            raise self._failure
        self._ready.put(content)

    def finish(self) -> str:
        """Wait until all of it is on the disk; return its SHA-256, hexadecimal."""
        self._is_wanted = True
        self.close()
        if self._failure is not None:
            raise self._failure
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of the file, whole or not."""
        if self._thread.is_alive():
            self._ready.put(None)
            self._thread.join()
        self._file.close()

    def _work(self) -> None:
        unsynced = 0
        while (content := self._ready.get()) is not None:
            # After a failure the rest is taken and dropped: the writer must not wait for ever.
            if self._failure is not None:
                continue
            try:
                self._digest.update(content)
                unsynced += self._file.write(content)
                if unsynced >= _SYNC_BYTES:
                    self._sync()
                    unsynced = 0
            except BaseException as failure:  # noqa: BLE001 - it is raised where the bytes come from
                self._failure = failure
        if self._is_wanted and self._failure is None:
            try:
                self._sync()
            except OSError as failure:
                self._failure = failure

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
