"""File that a background thread writes, hashes and syncs."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from pathlib import Path

_QUEUE_SIZE = 4
# Synced in parts, so that `finish` does not wait long.
_SYNC_BYTES = 1 << 25


class HashedFile:
    """New binary file; buffers must not be changed after `write`.

    Args:
        path: Path of the new file.

    Raises:
        OSError: The write failed: raised here, or later by `write` or `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._queue: queue.Queue[bytes | memoryview | None] = queue.Queue(_QUEUE_SIZE)
        self._failure: BaseException | None = None
        self._is_complete = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes."""
        if self._failure is not None:
            raise self._failure
        self._queue.put(content)

    def finish(self) -> str:
        """Wait until the file is on disk; return its SHA-256, hexadecimal."""
        self._is_complete = True
        self.close()
        if self._failure is not None:
            raise self._failure
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file, complete or not."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._file.close()

    def _work(self) -> None:
        unsynced = 0
        while (content := self._queue.get()) is not None:
            # After a failure, drain the queue so that the writer does not block.
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
        if self._is_complete and self._failure is None:
            try:
                self._sync()
            except OSError as failure:
                self._failure = failure

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
