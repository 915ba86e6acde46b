"""Client of the Hugging Face Hub: addresses, errors and checksums; the only module that imports it.

Endpoint, cache folder, offline mode and token are those of `huggingface_hub`: `HF_ENDPOINT`,
`HF_HOME`, `HF_HUB_OFFLINE`, and the token of `HF_TOKEN` or of `hf auth login`. Tokens are never
printed.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import NetworkError, RefusedError, UsageError
from genomeformer_cli.core.store.seal import file_sha256

SCHEME = "hf://"
REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _SERVER = 401, 403, 404, 500
LOG_IN = "log in with `hf auth login`, or set `HF_TOKEN`"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address of a bundle on the Hub: `hf://ORG/NAME@REVISION#SHA256`."""

    repository: str  # `ORG/NAME`.
    revision: str = "main"  # Branch, tag or commit.
    seal: str | None = None  # Required SHA-256 of `SHA256SUMS`; None: any.

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}"


def read_address(text: str) -> Address:
    """Parse `hf://ORG/NAME`, optionally with `@REVISION` and `#SHA256`.

    Raises:
        UsageError: The address is invalid.
    """
    rest, _, seal = text.removeprefix(SCHEME).partition("#")
    repository, _, revision = rest.partition("@")
    right = (
        REPOSITORY.fullmatch(repository)
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


def has_same_bytes(path: Path, sibling: Any) -> bool:
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
    return str(open_client().constants.ENDPOINT)


def open_client() -> Any:
    """Import the Hub's client and turn off its progress bars."""
    hub: Any = importlib.import_module("huggingface_hub")
    for part in ("constants", "errors", "utils"):
        importlib.import_module(f"huggingface_hub.{part}")
    hub.utils.disable_progress_bars()
    hub.utils.logging.set_verbosity_error()
    return hub


@contextmanager
def client_errors(hub: Any, what: str) -> Iterator[None]:
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
                hint=f"check the name and the revision; {LOG_IN}",
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
        hint=f"{accept}, then {LOG_IN}",
    )
