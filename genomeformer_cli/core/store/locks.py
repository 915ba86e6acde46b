"""Locks of files in the cache, also where the file system has no `flock`.

Some shared file systems (Lustre without `flock`, NFS without its lock service) refuse `flock`. A
file `NAME.held` that only one process can create replaces it there. A killed process leaves that
file behind; `filelock` removes it if the process ran on this machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def hold_lock(path: Path, *, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of a file; other processes wait (`timeout` in seconds, -1 without limit).

    Raises:
        OSError: The folder is missing or not writable; `filelock.Timeout` if another process
            holds the lock past the timeout.
    """
    if _has_flock(path):
        with filelock.FileLock(path, timeout=timeout):
            yield
    else:
        with filelock.SoftFileLock(f"{path}.held", timeout=timeout):
            yield


def _has_flock(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as failure:
        return failure.errno not in NO_LOCKS
    finally:
        os.close(descriptor)
    return True
