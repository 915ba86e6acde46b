"""Exclusive locks of output files and folders: one writer at a time, named in the error.

`.NAME.lock` beside an output contains the process id of its writer. The lock is the kernel's
(`flock`), so it ends with the process; a leftover lock file is reused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from genomeformer_cli.core.errors import StoreError, UsageError
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import check_place, clear_leftovers, explain_write_failure
from genomeformer_cli.core.store.locks import NO_LOCKS
from genomeformer_cli.core.store.run_record import note_output

_OWNER_BYTES = 256


@contextmanager
def lock_outputs(
    *outputs: Path | None, reporter: Reporter, inputs: Iterable[Path] = ()
) -> Iterator[None]:
    """Lock every output that is not None against writes of other processes.

    Args:
        outputs: Files or folders; they need not exist.
        reporter: Receives a warning if the file system has no locks.
        inputs: Files that are read; names without a file are ignored.

    Raises:
        UsageError: Two of the outputs are one file, an output is an input, or a name is `-`.
        StoreError: Another process is writing an output, or its path is not writable.
    """
    if Path("-") in outputs:
        raise UsageError(
            "an output of this command cannot be `-`",
            hint="give it the name of a file; only the main output is `-o -`, standard output",
        )
    paths = [output.absolute() for output in outputs if output is not None]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise UsageError(
                f"`{path.name}` is named for two outputs", hint="give each output another name"
            )
    _refuse_inputs(paths, inputs)
    with ExitStack() as stack:
        for path in paths:
            note_output(path)
            if any(path.is_relative_to(folder) for folder in paths if folder != path):
                continue  # the lock of a folder covers its files
            stack.enter_context(_lock_output(path, reporter))
        yield


def _refuse_inputs(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise if an output would replace an input, also by a link or another spelling."""
    for source in inputs:
        if not source.is_file():
            continue  # a pipe, a device, or a name of the cache
        for output in outputs:
            if output.is_file() and output.samefile(source):
                raise UsageError(
                    f"`{source}` is an input, and the output would replace it",
                    hint="give the output another name",
                )


@contextmanager
def _lock_output(output: Path, reporter: Reporter) -> Iterator[None]:
    if not output.is_dir():
        check_place(output)
    lock = output.with_name(f".{output.name}.lock")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(lock, output, reporter)
    except OSError as failure:
        raise explain_write_failure(output, failure) from failure
    try:
        clear_leftovers(output.parent, output.name)
        yield
    finally:
        # Removed while held: `_is_at` tells later openers that the name is gone.
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _acquire(lock: Path, output: Path, reporter: Reporter) -> int:
    """Open and lock the file; retry if its last holder removed it in between."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            owner = os.read(descriptor, _OWNER_BYTES).decode("utf-8", "replace").split()
            if failure.errno in NO_LOCKS:
                reporter.warn(
                    f"the file system of `{output}` has no locks: start no other command that "
                    "writes it"
                )
                return descriptor
            os.close(descriptor)
            if failure.errno in (errno.EAGAIN, errno.EACCES):
                raise StoreError(
                    f"`{output.name}` is being written by {_name_owner(owner)}",
                    hint="wait until it has finished, or choose another output",
                ) from failure
            raise
        if _is_at(lock, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {platform.node()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def _is_at(lock: Path, descriptor: int) -> bool:
    opened = os.fstat(descriptor)
    try:
        current = lock.stat()
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (current.st_dev, current.st_ino)


def _name_owner(owner: list[str]) -> str:
    if not owner:
        return "another process"
    is_remote = owner[1:2] not in ([], [platform.node()])
    return f"process {owner[0]}" + (f" on `{owner[1]}`" if is_remote else "")
