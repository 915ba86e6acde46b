"""Download of bundles and published models from the Hugging Face Hub.

Only the files that a bundle may have are downloaded, at one commit, and their checksums
are compared before anything is loaded. None of them is code, and none is executed.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.model_io.bundle_layout import PATTERNS, check_layout, list_files
from genomeformer_cli.core.model_io.hub_client import (
    SCHEME,
    Address,
    client_errors,
    has_same_bytes,
    open_client,
)
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE, check_family
from genomeformer_cli.core.model_io.published_copy import (
    copy_name,
    copy_published,
    published_files,
)
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE, check_seal, file_sha256, read_seal

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class FetchedBundle:
    """Downloaded bundle."""

    folder: Path  # Folder in the cache of the Hub's client.
    address: str  # Address with commit and checksum of the seal.


def fetch_model(address: Address, store: Store) -> FetchedBundle:
    """Download a model: a bundle of ours, or the files that its authors published.

    Raises:
        RefusedError: The repository or revision does not exist, or access is denied.
        NetworkError: The Hub is down, or the download was interrupted; a rerun resumes it.
        CorruptError: A checksum differs, or the model is not the pinned one.
        CheckpointError: The architecture is unknown, or the weights have no known format.
    """
    hub = open_client()
    commit = address.revision if _COMMIT.fullmatch(address.revision) else None
    if commit is None and hub.constants.HF_HUB_OFFLINE:
        commit = _known_commit(hub, address)
    if commit is not None:
        name = copy_name(address.repository, commit)
        if store.has(Kind.UNPACKED, name):
            return _published(address, commit, store.path(Kind.UNPACKED, name))
    if hub.constants.HF_HUB_OFFLINE:
        return fetch_bundle(address, store)
    with client_errors(hub, str(address)):
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
        with client_errors(hub, str(address)):
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
        if not has_same_bytes(folder / name, siblings.get(name)):
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
    hub = open_client()
    folder = None
    if _COMMIT.fullmatch(address.revision) or hub.constants.HF_HUB_OFFLINE:
        folder = _earlier_download(hub, address)
    if folder is None:
        with client_errors(hub, str(address)):
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

    def fill(copy: Path) -> None:
        for path in own.intersection(present):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, copy / path)
        check_seal(copy)

    return store.ensure(Kind.UNPACKED, name, fill)


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
