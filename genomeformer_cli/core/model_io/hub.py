"""The one door to the Hugging Face Hub: bundles go there, and come from there, by its own client.

Where the Hub is, where downloads are kept, whether there is a network and who asks is all decided
by `huggingface_hub` as everywhere else: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_OFFLINE`, and the token
of `HF_TOKEN` or of `hf auth login`. No token is ever shown. Of a repository only the files that a
bundle may have are fetched, at one commit, and their checksums are compared before anything is
loaded; there is no code among them, and none would be run.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import (
    CorruptError,
    NetworkError,
    RefusedError,
    UsageError,
)
from genomeformer_cli.core.model_io.bundle_layout import PATTERNS, check_layout, files_of
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE, check_seal, file_sha256, read_seal

SCHEME = "hf://"
_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _SERVER = 401, 403, 404, 500
_LOG_IN = "log in with `hf auth login`, or set `HF_TOKEN`"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A bundle on the Hub: `hf://ORG/NAME@REVISION#SHA256`.

    Attributes:
        repository: `ORG/NAME`.
        revision: Branch, tag or commit.
        seal: SHA-256 that its `SHA256SUMS` must have; None: any.
    """

    repository: str
    revision: str = "main"
    seal: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A bundle that came from the Hub.

    Attributes:
        folder: Where it lies, in the Hub's own cache.
        address: With the commit, and the checksum of its seal.
    """

    folder: Path
    address: str


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A bundle that was sent, or would be.

    Attributes:
        repository: `ORG/NAME`.
        public: Whether everybody may see it.
        files: Size of every file, in bytes, by name.
        address: By which it is found again; None of a rehearsal.
    """

    repository: str
    public: bool
    files: dict[str, int]
    address: str | None = None


def read_address(text: str) -> Address:
    """Read `hf://ORG/NAME`, with `@REVISION` and `#SHA256` if they are there.

    Raises:
        UsageError: It is no such address.
    """
    rest, _, seal = text.removeprefix(SCHEME).partition("#")
    repository, _, revision = rest.partition("@")
    right = (
        _REPOSITORY.fullmatch(repository)
        and _REVISION.fullmatch(revision or "main")
        and (not seal or _SHA256.fullmatch(seal))
    )
    if not right:
        raise UsageError(
            f"`{text}` is no address on the Hub",
            hint="it is `hf://ORG/NAME`, `hf://ORG/NAME@REVISION`, or with `#SHA256` behind it",
        )
    return Address(repository=repository, revision=revision or "main", seal=seal or None)


def fetch_bundle(address: Address, store: Store) -> Fetched:
    """Fetch a bundle, or find it where an earlier fetch put it.

    What is there at the commit that was asked for is not asked for again. A branch or a tag is
    looked up first, unless `HF_HUB_OFFLINE` says that there is no network.

    Raises:
        RefusedError: There is no such repository or revision, or it is not for us.
        NetworkError: The Hub is down, or the download broke off; a rerun goes on.
        CorruptError: What came is no bundle, or not the one that was pinned.
    """
    hub = _client()
    folder = None
    if _COMMIT.fullmatch(address.revision) or hub.constants.HF_HUB_OFFLINE:
        folder = _kept(hub, address)
    if folder is None:
        with _explained(hub, str(address)):
            hub.HfApi().model_info(address.repository, revision=address.revision)
            folder = Path(
                hub.snapshot_download(
                    address.repository, revision=address.revision, allow_patterns=list(PATTERNS)
                )
            )
    commit = folder.name
    folder = _checked(folder, store)
    check_layout(folder)
    seal = file_sha256(folder / SEAL)
    if address.seal not in (None, seal):
        raise CorruptError(
            f"`{address}` is sealed by {seal}, not by {address.seal}",
            hint="it is another bundle than the one that was pinned: do not use it",
        )
    return Fetched(folder=folder, address=f"{SCHEME}{address.repository}@{commit}#{seal}")


def _checked(folder: Path, store: Store) -> Path:
    """The bundle in a folder, its seal checked; what came damaged is dropped.

    Raises:
        CorruptError: A checksum does not hold.
    """
    try:
        alone = _bundle_alone(folder, store)
        check_seal(alone)
    except CorruptError as failure:
        _drop_damaged(folder)
        raise CorruptError(
            failure.message, hint="the damaged file was dropped: run again to fetch it again"
        ) from failure
    return alone


def _drop_damaged(folder: Path) -> None:
    """Remove what does not match its checksum; and the seal, which may be what is damaged."""
    try:
        recorded = read_seal(folder)
    except CorruptError:
        recorded = {}
    present = recorded.keys() & set(files_of(folder))
    damaged = [name for name in present if file_sha256(folder / name) != recorded[name]]
    for name in [*damaged, SEAL]:
        (folder / name).resolve().unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)


def _bundle_alone(folder: Path, store: Store) -> Path:
    """The bundle without what other programs fetched of the same repository beside it.

    Raises:
        CorruptError: There is no seal.
    """
    own = {*read_seal(folder), SEAL, SIGNATURE}
    present = files_of(folder)
    if own.issuperset(present):
        return folder
    name = file_sha256(folder / SEAL)
    with store.lock(Kind.UNPACKED, name):
        if not store.has(Kind.UNPACKED, name):
            with store.create(Kind.UNPACKED, name) as copy:
                for one in own.intersection(present):
                    (copy / one).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / one, copy / one)
                check_seal(copy)
    return store.path(Kind.UNPACKED, name)


def _kept(hub: Any, address: Address) -> Path | None:
    """The bundle as an earlier fetch left it; None if it is not there, or broke off."""
    try:
        folder = Path(
            hub.snapshot_download(
                address.repository,
                revision=address.revision,
                allow_patterns=list(PATTERNS),
                local_files_only=True,
            )
        )
        read_seal(folder)
    except (hub.errors.LocalEntryNotFoundError, CorruptError):
        return None
    return folder


def push_bundle(
    folder: Path, repository: str, *, public: bool = False, rehearse: bool = False
) -> Pushed:
    """Send a bundle to the Hub, and compare what lies there afterwards.

    A file that is there already is not sent again, so a push that broke off goes on. Files of an
    earlier release that this one does not have are removed in the same commit.

    Args:
        folder: The bundle.
        repository: `ORG/NAME`; it is made if it is not there.
        public: Whether everybody may see it.
        rehearse: Say what would be sent, and send nothing.

    Raises:
        UsageError: The name cannot be, or a private push would become public.
        RefusedError: The token is missing, or may not.
        NetworkError: The Hub is down; a rerun goes on.
        CorruptError: What lies there is something else.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"`{repository}` is no repository", hint="it is `ORG/NAME`")
    check_seal(folder)
    check_layout(folder)
    files = {name: (folder / name).stat().st_size for name in files_of(folder)}
    if rehearse:
        return Pushed(repository=repository, public=public, files=files)
    hub = _client()
    if hub.get_token() is None:
        raise RefusedError("the Hub takes nothing without a token", status=401, hint=_LOG_IN)
    api = hub.HfApi()
    with _explained(hub, repository):
        api.create_repo(repository, private=not public, exist_ok=True)
        _check_visibility(api, repository, public=public)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Release {repository.split('/')[1]}",
            delete_patterns="*",
        )
        info = api.model_info(repository, revision=commit.oid, files_metadata=True)
    _compare(folder, list(files), info)
    address = f"{SCHEME}{repository}@{info.sha}#{file_sha256(folder / SEAL)}"
    return Pushed(repository=repository, public=public, files=files, address=address)


def _check_visibility(api: Any, repository: str, *, public: bool) -> None:
    """Whether the repository, which may have been there before, is what was asked for.

    Raises:
        UsageError: It is not.
    """
    private = api.model_info(repository).private
    if public and private:
        raise UsageError(
            f"`{repository}` is private, and stays so until its owner changes it on the Hub",
            hint="change it there, or leave out `--public`",
        )
    if not public and not private:
        raise UsageError(
            f"`{repository}` is public: everybody would see what is sent",
            hint="add `--public` if that is wanted, or choose another name",
        )


def _compare(folder: Path, names: list[str], info: Any) -> None:
    """Make sure that the Hub has these bytes."""
    there = {sibling.rfilename: sibling for sibling in info.siblings}
    for name in names:
        sibling = there.get(name)
        lfs = getattr(sibling, "lfs", None)
        if lfs is not None:
            same = lfs.sha256 == file_sha256(folder / name)
        else:
            same = getattr(sibling, "blob_id", None) == _git_blob(folder / name)
        if not same:
            raise CorruptError(f"the Hub has another `{name}` than was sent", hint="push once more")


def _git_blob(path: Path) -> str:
    """The name that git gives to a file's bytes."""
    content = path.read_bytes()
    head = f"blob {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def _client() -> Any:
    """Import the Hub's client and turn off its progress bars."""
    hub: Any = importlib.import_module("huggingface_hub")
    for part in ("constants", "errors", "utils"):
        importlib.import_module(f"huggingface_hub.{part}")
    hub.utils.disable_progress_bars()
    hub.utils.logging.set_verbosity_error()
    return hub


@contextmanager
def _explained(hub: Any, what: str) -> Iterator[None]:
    """Turn the client's errors into ours; what they say of the request is not passed on.

    Raises:
        RefusedError: An answer that asking again will not change.
        NetworkError: One that it may.
    """
    again = "run the command again: what has arrived is kept"
    try:
        yield
    except hub.errors.GatedRepoError as failure:
        raise _gated(hub, what, failure) from failure
    except hub.errors.HfHubHTTPError as failure:
        status = getattr(getattr(failure, "response", None), "status_code", None)
        if status is None or status >= _SERVER:
            raise NetworkError(f"the Hub failed with {status} at `{what}`", hint=again) from failure
        if status in (_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND):
            raise RefusedError(
                f"the Hub has no `{what}` for us ({status}): it is not there, or private",
                status=status,
                hint=f"check the name and the revision; {_LOG_IN}",
            ) from failure
        raise RefusedError(
            f"the Hub refused `{what}` with {status}", status=status, hint="check what was asked"
        ) from failure
    except hub.errors.OfflineModeIsEnabled as failure:
        raise NetworkError(
            f"`{what}` is not in the Hub's cache here, and `HF_HUB_OFFLINE` is set",
            hint="unset it once, so that it can be fetched",
        ) from failure
    except (hub.errors.HTTPError, OSError, RuntimeError, ValueError) as failure:
        raise NetworkError(
            f"the Hub could not be reached, or broke off, at `{what}` ({type(failure).__name__})",
            hint=again,
        ) from failure


def _gated(hub: Any, what: str, failure: Any) -> RefusedError:
    """Build the error for a repository whose terms have to be accepted on the Hub first."""
    status = getattr(getattr(failure, "response", None), "status_code", _UNAUTHORISED)
    repository = what.removeprefix(SCHEME).partition("@")[0]
    page = f"{hub.constants.ENDPOINT}/{repository}"
    accept = f"accept its terms at {page}"
    if status == _FORBIDDEN:
        return RefusedError(
            f"`{what}` is gated, and the account of this token may not read it ({status})",
            status=status,
            hint=f"{accept} with that account, and wait if its owner has to approve; a token of "
            "limited rights also needs the right to read gated repositories",
        )
    return RefusedError(
        f"`{what}` is gated: the Hub gives it only to accounts that accepted its terms ({status})",
        status=status,
        hint=f"{accept}, then {_LOG_IN}",
    )
