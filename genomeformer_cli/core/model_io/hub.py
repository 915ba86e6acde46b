"""Hugging Face Hub: download and upload bundles with `huggingface_hub`, the only module that does.

Endpoint, cache folder, offline mode and token are those of `huggingface_hub`: `HF_ENDPOINT`,
`HF_HOME`, `HF_HUB_OFFLINE`, and the token of `HF_TOKEN` or of `hf auth login`. Tokens are never
printed. Only the files that a bundle may have are downloaded, at one commit, and their checksums
are compared before anything is loaded. None of them is code, and none is executed.
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
from genomeformer_cli.core.model_io.bundle_layout import PATTERNS, check_layout, list_files
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE, check_family
from genomeformer_cli.core.model_io.published_copy import (
    copy_name,
    copy_published,
    published_files,
)
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
    """Address of a bundle on the Hub: `hf://ORG/NAME@REVISION#SHA256`."""

    repository: str  # `ORG/NAME`.
    revision: str = "main"  # Branch, tag or commit.
    seal: str | None = None  # Required SHA-256 of `SHA256SUMS`; None: any.

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}"


@dataclass(frozen=True, kw_only=True)
class FetchedBundle:
    """Downloaded bundle."""

    folder: Path  # Folder in the cache of the Hub's client.
    address: str  # Address with commit and checksum of the seal.


@dataclass(frozen=True, kw_only=True)
class PushedBundle:
    """Uploaded bundle, or the plan of an upload."""

    repository: str  # `ORG/NAME`.
    public: bool  # True if everybody may read it.
    files: dict[str, int]  # Size of every file in bytes, by name.
    address: str | None = None  # Address of the uploaded bundle; None of a rehearsal.


def read_address(text: str) -> Address:
    """Parse `hf://ORG/NAME`, optionally with `@REVISION` and `#SHA256`.

    Raises:
        UsageError: The address is invalid.
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
            f"invalid Hub address `{text}`",
            hint="write `hf://ORG/NAME` or `hf://ORG/NAME@REVISION`, optionally followed by "
            "`#SHA256`",
        )
    return Address(repository=repository, revision=revision or "main", seal=seal or None)


def fetch_model(address: Address, store: Store) -> FetchedBundle:
    """Download a model: a bundle of ours, or the files that its authors published.

    Raises:
        RefusedError: The repository or revision does not exist, or access is denied.
        NetworkError: The Hub is down, or the download was interrupted; a rerun resumes it.
        CorruptError: A checksum differs, or the model is not the pinned one.
        CheckpointError: The architecture is unknown, or the weights have no known format.
    """
    hub = _client()
    commit = address.revision if _COMMIT.fullmatch(address.revision) else None
    if commit is None and hub.constants.HF_HUB_OFFLINE:
        commit = _known_commit(hub, address)
    if commit is not None:
        name = copy_name(address.repository, commit)
        if store.has(Kind.UNPACKED, name):
            return _published(address, commit, store.path(Kind.UNPACKED, name))
    if hub.constants.HF_HUB_OFFLINE:
        return fetch_bundle(address, store)
    with _client_errors(hub, str(address)):
        info = hub.HfApi().model_info(
            address.repository, revision=address.revision, files_metadata=True
        )
    names = [sibling.rfilename for sibling in info.siblings]
    if SEAL in names:
        return fetch_bundle(address, store)
    name = copy_name(address.repository, info.sha)
    if not store.has(Kind.UNPACKED, name):
        source = _download_published(hub, address, info, published_files(names))
        copy_published(source, name, store, may_link=True)
    return _published(address, info.sha, store.path(Kind.UNPACKED, name))


def _known_commit(hub: Any, address: Address) -> str | None:
    """Return the commit of a branch or tag at the last download; None without one."""
    try:
        folder = hub.snapshot_download(
            address.repository,
            revision=address.revision,
            allow_patterns=[CONFIG_FILE],
            local_files_only=True,
        )
    except hub.errors.LocalEntryNotFoundError:
        return None
    return Path(folder).name


def _download_published(hub: Any, address: Address, info: Any, files: list[str]) -> Path:
    """Download published files at one commit, and compare their checksums with the Hub's.

    The configuration comes first, so that an unknown architecture is refused before its weights.

    Raises:
        CheckpointError: The architecture is unknown.
        CorruptError: A file has other bytes than on the Hub; it is removed.
    """
    for patterns in ([CONFIG_FILE], files):
        with _client_errors(hub, str(address)):
            folder = Path(
                hub.snapshot_download(
                    address.repository, revision=address.revision, allow_patterns=patterns
                )
            )
        _check_published(folder, patterns, info)
        check_family(folder)
    return folder


def _check_published(folder: Path, names: list[str], info: Any) -> None:
    siblings = {sibling.rfilename: sibling for sibling in info.siblings}
    for name in names:
        if not _has_same_bytes(folder / name, siblings.get(name)):
            (folder / name).resolve().unlink(missing_ok=True)
            (folder / name).unlink(missing_ok=True)
            raise CorruptError(
                f"`{name}` was downloaded with other bytes than the Hub lists",
                hint="the damaged file was removed; run again to download it again",
            )


def _published(address: Address, commit: str, folder: Path) -> FetchedBundle:
    """Return a published model in the cache, after comparing the seal with the pinned one."""
    seal = file_sha256(folder / SEAL)
    _check_pin(address, seal)
    return FetchedBundle(folder=folder, address=f"{SCHEME}{address.repository}@{commit}#{seal}")


def _check_pin(address: Address, seal: str) -> None:
    """Compare a seal with the pinned one.

    Raises:
        CorruptError: They differ.
    """
    if address.seal not in (None, seal):
        raise CorruptError(
            f"`{address}` has the checksum {seal}, not {address.seal}",
            hint="it is another model than the pinned one: do not use it",
        )


def fetch_bundle(address: Address, store: Store) -> FetchedBundle:
    """Download a bundle, or return the copy of an earlier download.

    Files already present at the requested commit are not requested again. Branches and tags are
    resolved first, unless `HF_HUB_OFFLINE` is set.

    Raises:
        RefusedError: The repository or revision does not exist, or access is denied.
        NetworkError: The Hub is down, or the download was interrupted; a rerun resumes it.
        CorruptError: The download is not a bundle, or not the pinned one.
    """
    hub = _client()
    folder = None
    if _COMMIT.fullmatch(address.revision) or hub.constants.HF_HUB_OFFLINE:
        folder = _earlier_download(hub, address)
    if folder is None:
        with _client_errors(hub, str(address)):
            hub.HfApi().model_info(address.repository, revision=address.revision)
            folder = Path(
                hub.snapshot_download(
                    address.repository, revision=address.revision, allow_patterns=list(PATTERNS)
                )
            )
    commit = folder.name
    folder = _check_download(folder, store)
    check_layout(folder)
    seal = file_sha256(folder / SEAL)
    _check_pin(address, seal)
    return FetchedBundle(folder=folder, address=f"{SCHEME}{address.repository}@{commit}#{seal}")


def _check_download(folder: Path, store: Store) -> Path:
    """Check the seal of the bundle in a folder, and return its folder; damaged files are removed.

    Raises:
        CorruptError: A checksum differs.
    """
    try:
        alone = _link_bundle_files(folder, store)
        check_seal(alone)
    except CorruptError as failure:
        _drop_damaged(folder)
        raise CorruptError(
            failure.message, hint="the damaged file was dropped: run again to fetch it again"
        ) from failure
    return alone


def _drop_damaged(folder: Path) -> None:
    """Remove files that differ from their checksum, and the seal, which may itself be damaged."""
    try:
        recorded = read_seal(folder)
    except CorruptError:
        recorded = {}
    present = recorded.keys() & set(list_files(folder))
    damaged = [name for name in present if file_sha256(folder / name) != recorded[name]]
    for name in [*damaged, SEAL]:
        (folder / name).resolve().unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)


def _link_bundle_files(folder: Path, store: Store) -> Path:
    """Return a folder with only the files of the bundle.

    Other programs may have downloaded further files of the repository into the Hub's cache.

    Raises:
        CorruptError: The seal is missing.
    """
    own = {*read_seal(folder), SEAL, SIGNATURE}
    present = list_files(folder)
    if own.issuperset(present):
        return folder
    name = file_sha256(folder / SEAL)
    with store.lock(Kind.UNPACKED, name):
        if not store.has(Kind.UNPACKED, name):
            with store.create(Kind.UNPACKED, name) as copy:
                for path in own.intersection(present):
                    (copy / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / path, copy / path)
                check_seal(copy)
    return store.path(Kind.UNPACKED, name)


def _earlier_download(hub: Any, address: Address) -> Path | None:
    """Return the bundle of an earlier download; None if it is missing or incomplete."""
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
) -> PushedBundle:
    """Upload a bundle to the Hub, and compare the uploaded files afterwards.

    Files already on the Hub are not sent again, so that an interrupted upload resumes. Files of an
    earlier release that are not in this one are removed in the same commit.

    Args:
        folder: Folder of the bundle.
        repository: `ORG/NAME`; created if missing.
        public: True if everybody may read it.
        rehearse: Return the plan of the upload without sending anything.

    Raises:
        UsageError: The name is invalid, or a private upload would be public.
        RefusedError: The token is missing or has no permission.
        NetworkError: The Hub is down; a rerun resumes.
        CorruptError: The files on the Hub differ.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"invalid Hub repository `{repository}`", hint="write `ORG/NAME`")
    check_seal(folder)
    check_layout(folder)
    files = {name: (folder / name).stat().st_size for name in list_files(folder)}
    if rehearse:
        return PushedBundle(repository=repository, public=public, files=files)
    hub = _client()
    if hub.get_token() is None:
        raise RefusedError("uploading to the Hub needs a token", status=401, hint=_LOG_IN)
    api = hub.HfApi()
    with _client_errors(hub, repository):
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
    return PushedBundle(repository=repository, public=public, files=files, address=address)


def _check_visibility(api: Any, repository: str, *, public: bool) -> None:
    """Check that an existing repository is as public as requested.

    Raises:
        UsageError: It is public and should be private, or the reverse.
    """
    private = api.model_info(repository).private
    if public and private:
        raise UsageError(
            f"`{repository}` is private on the Hub",
            hint="make it public in its settings on the Hub, or leave out `--public`",
        )
    if not public and not private:
        raise UsageError(
            f"`{repository}` is public on the Hub: everybody could read the upload",
            hint="add `--public` to confirm, or choose another name",
        )


def _compare(folder: Path, names: list[str], info: Any) -> None:
    """Check that the files on the Hub have the same bytes."""
    siblings = {sibling.rfilename: sibling for sibling in info.siblings}
    for name in names:
        if not _has_same_bytes(folder / name, siblings.get(name)):
            raise CorruptError(
                f"`{name}` on the Hub differs from the uploaded file",
                hint="run the same command again",
            )


def _has_same_bytes(path: Path, sibling: Any) -> bool:
    """Return True if a file has the checksum that the Hub lists."""
    lfs = getattr(sibling, "lfs", None)
    if lfs is not None:
        return bool(lfs.sha256 == file_sha256(path))
    return bool(getattr(sibling, "blob_id", None) == _git_blob(path))


def _git_blob(path: Path) -> str:
    """Return the git object id of a file's bytes."""
    content = path.read_bytes()
    head = f"blob {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def hub_endpoint() -> str:
    """Return the address of the Hub."""
    return str(_client().constants.ENDPOINT)


def _client() -> Any:
    """Import the Hub's client and turn off its progress bars."""
    hub: Any = importlib.import_module("huggingface_hub")
    for part in ("constants", "errors", "utils"):
        importlib.import_module(f"huggingface_hub.{part}")
    hub.utils.disable_progress_bars()
    hub.utils.logging.set_verbosity_error()
    return hub


@contextmanager
def _client_errors(hub: Any, what: str) -> Iterator[None]:
    """Convert the client's errors to ours, without their details of the request.

    Raises:
        RefusedError: Repeating the request cannot help.
        NetworkError: Repeating the request may help.
    """
    again = "run the command again: finished files are kept"
    try:
        yield
    except hub.errors.GatedRepoError as failure:
        raise _gated_error(hub, what, failure) from failure
    except hub.errors.HfHubHTTPError as failure:
        status = getattr(getattr(failure, "response", None), "status_code", None)
        if status is None or status >= _SERVER:
            raise NetworkError(f"the Hub answered {status} for `{what}`", hint=again) from failure
        if status in (_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND):
            raise RefusedError(
                f"`{what}` was not found on the Hub ({status}): it does not exist, or is private",
                status=status,
                hint=f"check the name and the revision; {_LOG_IN}",
            ) from failure
        raise RefusedError(
            f"the Hub refused access to `{what}` ({status})",
            status=status,
            hint="check the name and the permissions of your token",
        ) from failure
    except hub.errors.OfflineModeIsEnabled as failure:
        raise NetworkError(
            f"`{what}` is not in the Hub's cache here, and `HF_HUB_OFFLINE` is set",
            hint="unset it once to fetch the model",
        ) from failure
    except (hub.errors.HTTPError, OSError, RuntimeError, ValueError) as failure:
        raise NetworkError(
            f"the connection to the Hub failed for `{what}` ({type(failure).__name__})",
            hint=again,
        ) from failure


def _gated_error(hub: Any, what: str, failure: Any) -> RefusedError:
    """Build the error for a repository whose terms must be accepted on the Hub first."""
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
        f"`{what}` is gated: only accounts that accepted its terms can read it ({status})",
        status=status,
        hint=f"{accept}, then {_LOG_IN}",
    )
