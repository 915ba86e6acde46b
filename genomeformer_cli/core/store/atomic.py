"""Atomic files and folders: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from genomeformer_cli.core.errors import StoreError

_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_write_failure(path: Path, failure: OSError) -> StoreError:
    """Build the error for a failed write (full disk, no permission)."""
    return StoreError(
        f"could not write `{path}`: {failure_reason(failure)}",
        hint=f"{write_hint(failure.errno)}; no partial file was left",
    )


def failure_reason(failure: OSError) -> str:
    """Return the system's message; the first one if several files could not be copied."""
    first = failure
    if isinstance(failure, shutil.Error) and failure.args and isinstance(failure.args[0], list):
        reasons = [str(reason) for _, _, reason in failure.args[0]]
        match = re.search(r"\] (.*?)(: '|$)", reasons[0]) if reasons else None
        return match[1] if match else "files could not be copied"
    return first.strerror or str(first)


def write_hint(number: int | None) -> str:
    """Return the hint for a failed write, by system error number."""
    if number in _PERMISSION:
        return "choose a writable folder, or change its permissions"
    if number in (errno.EMFILE, errno.ENFILE):
        return "allow more open files with `ulimit -n`, or close some programs"
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR):
        return "check that the path exists, or choose another name"
    return "free some space or choose another place"


def check_place(output: Path) -> None:
    """Refuse a path that cannot hold a file.

    Raises:
        StoreError: The path is a folder or a device.
    """
    if output.exists() and not output.is_file():
        raise StoreError(f"`{output}` is not an ordinary file", hint="choose another name")


def check_folder(folder: Path) -> None:
    """Refuse a path that cannot be a folder.

    Raises:
        StoreError: The path is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(
            f"`{folder}` is a file, and the output is a folder", hint="choose another name"
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` if the block succeeds and is deleted otherwise.

    Raises:
        StoreError: The write failed, or `path` is a folder or a device.
    """
    check_place(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path)
        with _open_temporary(path) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            # Inside the block, because an unlocked file counts as abandoned.
            temporary.replace(path)
            temporary = None
        _sync_folder(path.parent)
    except OSError as failure:
        raise explain_write_failure(path, failure) from failure
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _open_temporary(path: Path) -> IO[bytes]:
    """Open a temporary file that is locked while it is open; see `_clear_abandoned`."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - the caller closes it
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
        )
        _lock(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return cast("IO[bytes]", file)
        file.close()  # removed as abandoned before it was locked


def _clear_abandoned(path: Path) -> None:
    """Remove temporary files without a lock: their writers were killed."""
    with os.scandir(path.parent) as entries:
        leftovers = [entry.path for entry in entries if _is_leftover(entry.name, path.name)]
    for name in leftovers:
        if not name.endswith(".tmp"):
            continue
        with suppress(OSError), Path(name).open("rb") as file:
            if _lock(file.fileno()):
                Path(name).unlink()


def _lock(descriptor: int) -> bool:
    """Try to lock a file; False if it is locked or the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def move_into_place(source: Path, path: Path) -> None:
    """Rename a complete file to its final name on the same disk, atomically and durably.

    Raises:
        StoreError: The rename failed, or `path` is a folder or a device.
    """
    check_place(path)
    try:
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(path)
        _sync_folder(path.parent)
    except OSError as failure:
        raise explain_write_failure(path, failure) from failure


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_file(path) as file:
        # File names may not be valid UTF-8; `\udcff` represents such a byte, also in JSON.
        file.write(text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file atomically, keys in the given order."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return the text of a JSON file of ours."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` if the block succeeds and is deleted otherwise.

    Args:
        path: Final path; it must not exist unless `replace`.
        replace: Replace an existing folder, which is removed after the rename.

    Raises:
        StoreError: A write failed, or `path` exists.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    except OSError as failure:
        raise explain_write_failure(path, failure) from failure
    try:
        yield temporary
        _sync_tree(temporary)
        temporary.chmod(0o777 & ~_umask())
        if replace and path.exists():
            _swap(temporary, path)
        else:
            temporary.rename(path)
        _sync_folder(path.parent)
    except OSError as failure:
        raise explain_write_failure(path, failure) from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clear_leftovers(folder: Path, name: str = "*") -> None:
    """Remove temporary files of `name` left by killed processes; the caller holds the lock.

    An entry that was moved aside, and whose replacement was never completed, is moved back.
    """
    # List the folder once: a cache may hold many thousands of entries.
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - strings are faster
    leftovers = [folder / entry_name for entry_name in names if _is_leftover(entry_name, name)]
    for replaced in (path for path in leftovers if path.suffix == ".old"):
        original = folder / replaced.name[1:].rsplit(".", 2)[0]
        if (replaced / "entry").exists() and not original.exists():
            (replaced / "entry").rename(original)
        shutil.rmtree(replaced, ignore_errors=True)
    for temporary in (path for path in leftovers if path.suffix == ".tmp"):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _is_leftover(file_name: str, name: str) -> bool:
    """Compare the whole name: `.a.b.RANDOM.tmp` belongs to `a.b`, not to `a`."""
    if name == "*":
        return file_name.startswith(".")
    stem, *ending = file_name.rsplit(".", 2)
    return stem == f".{name}" and ending[-1:] in (["tmp"], ["old"])


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_dir():
            _sync_folder(file)
            continue
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    _sync_folder(folder)


def _swap(temporary: Path, path: Path) -> None:
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
    path.rename(old / "entry")
    temporary.rename(path)
    shutil.rmtree(old)
