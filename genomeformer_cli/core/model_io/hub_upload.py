"""Upload of bundles to the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import CorruptError, RefusedError, UsageError
from genomeformer_cli.core.model_io.bundle_layout import check_layout, list_files
from genomeformer_cli.core.model_io.hub_client import (
    LOG_IN,
    REPOSITORY,
    SCHEME,
    client_errors,
    has_same_bytes,
    open_client,
)
from genomeformer_cli.core.store.seal import SEAL, check_seal, file_sha256


@dataclass(frozen=True, kw_only=True)
class PushedBundle:
    """Uploaded bundle, or the plan of an upload."""

    repository: str  # `ORG/NAME`.
    public: bool  # True if everybody may read it.
    files: dict[str, int]  # Size of every file in bytes, by name.
    address: str | None = None  # Address of the uploaded bundle; None of a rehearsal.


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
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(f"invalid Hub repository `{repository}`", hint="write `ORG/NAME`")
    check_seal(folder)
    check_layout(folder)
    files = {name: (folder / name).stat().st_size for name in list_files(folder)}
    if rehearse:
        return PushedBundle(repository=repository, public=public, files=files)
    hub = open_client()
    if hub.get_token() is None:
        raise RefusedError("uploading to the Hub needs a token", status=401, hint=LOG_IN)
    api = hub.HfApi()
    with client_errors(hub, repository):
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
        if not has_same_bytes(folder / name, siblings.get(name)):
            raise CorruptError(
                f"`{name}` on the Hub differs from the uploaded file",
                hint="run the same command again",
            )
