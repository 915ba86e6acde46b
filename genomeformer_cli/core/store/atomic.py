"""Files and folders that appear whole or not at all: temporary name, fsync, rename."""

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

_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_write_failure(path: Path, failure: OSError) -> StoreError:
    """Build the error for a write that the system refused (full disk, no permission)."""
    return StoreError(
        f"could not write `{path}`: {failure_reason(failure)}",
        hint=f"{write_hint(failure.errno)}; nothing was left half-written",
    )


def failure_reason(failure: OSError) -> str:
    """Return the system's words; those of the first file if several could not be copied."""
    first = failure
    if isinstance(failure, shutil.Error) and failure.args and isinstance(failure.args[0], list):
        reasons = [str(reason) for _, _, reason in failure.args[0]]
        found = re.search(r"\] (.*?)(: '|$)", reasons[0]) if reasons else None
        return found[1] if found else "files could not be copied"
    return first.strerror or str(first)


def write_hint(number: int | None) -> str:
    """Return what to do about a refused write, by the system's error number."""
    if number in _PERMISSION:
        return "choose a place that you may write to, or change its permissions"
    if number in (errno.EMFILE, errno.ENFILE):
        return "allow more open files with `ulimit -n`, or close some programs"
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR):
        return "check that the path is there, or choose another name or place"
    return "free some space or choose another place"


def check_place(output: Path) -> None:
    """Refuse a place that cannot hold a file.

    Raises:
        StoreError: A folder or a device is there.
    """
    if output.exists() and not output.is_file():
        raise StoreError(f"`{output}` is not an ordinary file", hint="choose another name")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` if the block ends well and leaves no trace if not.

    Raises:
        StoreError: The system refused the write, or `path` is a folder or a device.
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
            # Within the block: what is no longer locked counts as abandoned.
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
        file.close()  # taken for abandoned before it was locked


def _clear_abandoned(path: Path) -> None:
    """Remove temporary files of an output whose writers were killed: nobody locks them."""
    with os.scandir(path.parent) as found:
        left = [entry.path for entry in found if _is_leftover(entry.name, path.name)]
    for name in left:
        if not name.endswith(".tmp"):
            continue
        with suppress(OSError), Path(name).open("rb") as file:
            if _lock(file.fileno()):
                Path(name).unlink()


def _lock(descriptor: int) -> bool:
    """Lock a file if nobody else has; file systems without locks refuse it always."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def move_into_place(source: Path, path: Path) -> None:
    """Rename a complete file to its final name on the same disk, in one step, durably.

    Raises:
        StoreError: The system refused it, or `path` is a folder or a device.
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
        # Names of files may be no UTF-8; `\udcff` stands for such a byte, in JSON too.
        file.write(text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` if the block ends well and vanishes if not.

    Args:
        path: The final place; it must not exist unless `replace`.
        replace: Put the new folder in the place of an old one, which is removed after the rename.

    Raises:
        StoreError: The system refused a write, or `path` exists.
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
    """Remove what killed processes left of `name` in a folder whose lock the caller holds.

    An entry that was moved aside to be replaced, and whose successor never came, goes back.
    """
    # One look at the folder: a cache may hold many thousands of entries.
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - strings are faster
    left = [folder / found for found in names if _is_leftover(found, name)]
    for aside in (path for path in left if path.suffix == ".old"):
        place = folder / aside.name[1:].rsplit(".", 2)[0]
        if (aside / "entry").exists() and not place.exists():
            (aside / "entry").rename(place)
        shutil.rmtree(aside, ignore_errors=True)
    for temporary in (path for path in left if path.suffix == ".tmp"):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _is_leftover(found: str, name: str) -> bool:
    """Compare the whole name: `.a.b.RANDOM.tmp` is of `a.b`, which another process may write."""
    if name == "*":
        return found.startswith(".")
    stem, *ending = found.rsplit(".", 2)
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
