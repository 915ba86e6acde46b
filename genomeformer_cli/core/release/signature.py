"""Signature of a bundle: Ed25519 over its list of checksums (RFC 8032), by `cryptography`.

`SHA256SUMS` lists the checksum of every other file, so that one signature covers all. The signature
of 64 bytes in `SHA256SUMS.sig` is compatible with OpenSSL. Private keys are files as written by
`openssl genpkey -algorithm ed25519` or `ssh-keygen -t ed25519`, public keys PEM or an `ssh-ed25519`
line. The public key is not in the bundle: it must come from its owner by another channel.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.errors import CorruptError, InputError, MissingExtraError
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE, check_seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_OPENSSH_PRIVATE = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_OPENSSH_PUBLIC = b"ssh-ed25519 "


def need_cryptography() -> None:
    """Check that signatures can be made and verified.

    Raises:
        MissingExtraError: The extra `sign` is not installed.
    """
    try:
        importlib.import_module("cryptography")
    except ImportError as failure:
        raise MissingExtraError(
            "signatures need the package `cryptography`",
            hint="install it with `pip install 'genomeformer[sign]'`",
        ) from failure


def sign(folder: Path, key_file: Path) -> str:
    """Sign a sealed folder; return the fingerprint of the key.

    Raises:
        MissingExtraError: The extra `sign` is not installed.
        InputError: The file holds no Ed25519 private key that can be read.
        CorruptError: A file does not match its checksum.
        StoreError: The signature cannot be written.
    """
    key = read_private_key(key_file)
    check_seal(folder)
    with atomic_file(folder / SIGNATURE) as file:
        file.write(key.sign((folder / SEAL).read_bytes()))
    return fingerprint(key.public_key())


def check_signature(folder: Path, key_file: Path) -> str:
    """Check the signature of a folder with a key; return the fingerprint of the key.

    Raises:
        MissingExtraError: The extra `sign` is not installed.
        InputError: The file holds no Ed25519 public key.
        CorruptError: The signature is missing or of another key, or a checksum differs.
    """
    from cryptography.exceptions import InvalidSignature

    key = read_public_key(key_file)
    check_seal(folder)
    path = folder / SIGNATURE
    if not path.is_file():
        raise CorruptError(f"`{folder}` is not signed", hint="ask who made it for a signed one")
    try:
        key.verify(path.read_bytes(), (folder / SEAL).read_bytes())
    except InvalidSignature as failure:
        raise CorruptError(
            f"`{folder}` is not signed by the owner of `{key_file}`",
            hint="it was signed with another key, or changed afterwards: do not trust it",
        ) from failure
    return fingerprint(key)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key, PEM or OpenSSH, without a passphrase.

    Raises:
        MissingExtraError: The extra `sign` is not installed.
        InputError: The file holds no readable key.
    """
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    content = _content(path)
    read = load_ssh_private_key if content.startswith(_OPENSSH_PRIVATE) else load_pem_private_key
    key = _parsed(path, "private", lambda: read(content, password=None))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(f"`{path}` is no Ed25519 key", hint=_HOW_TO_MAKE)
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key, PEM or an `ssh-ed25519` line.

    Raises:
        MissingExtraError: The extra `sign` is not installed.
        InputError: The file holds no readable key.
    """
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import (
        load_pem_public_key,
        load_ssh_public_key,
    )

    content = _content(path)
    read = load_ssh_public_key if content.startswith(_OPENSSH_PUBLIC) else load_pem_public_key
    key = _parsed(path, "public", lambda: read(content))
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(f"`{path}` is no Ed25519 key", hint=_HOW_TO_MAKE)
    return key


_HOW_TO_MAKE = "make one with `openssl genpkey -algorithm ed25519 -out key.pem`"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise InputError(f"the key `{path}` cannot be read: {failure.strerror}") from failure


def _parsed(path: Path, kind: str, parse: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return parse()
    except TypeError as failure:
        raise InputError(
            f"the key `{path}` has a passphrase",
            hint="sign with a key without one, kept where only you can read it",
        ) from failure
    except (ValueError, UnsupportedAlgorithm) as failure:
        raise InputError(f"`{path}` holds no {kind} key", hint=_HOW_TO_MAKE) from failure


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of the public key as shown by `ssh-keygen -l`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")
