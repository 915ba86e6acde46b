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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from genomeformer_cli.core.errors import CorruptError, InputError, MissingExtraError
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE, check_seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_OPENSSH = (b"-----BEGIN OPENSSH PRIVATE KEY-----", b"ssh-ed25519 ")


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
        raise CorruptError(
            f"`{folder}` is not signed", hint="request a signed bundle from its author"
        )
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
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    loaders = (serialization.load_ssh_private_key, serialization.load_pem_private_key)
    key = _read_key(path, "private", [partial(load, password=None) for load in loaders])
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"`{path}` is not an Ed25519 key", hint=_HOW_TO_MAKE)
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key, PEM or an `ssh-ed25519` line.

    Raises:
        MissingExtraError: The extra `sign` is not installed.
        InputError: The file holds no readable key.
    """
    need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    loaders = (serialization.load_ssh_public_key, serialization.load_pem_public_key)
    key = _read_key(path, "public", loaders)
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"`{path}` is not an Ed25519 key", hint=_HOW_TO_MAKE)
    return key


_HOW_TO_MAKE = "make one with `openssl genpkey -algorithm ed25519 -out key.pem`"


def _read_key(path: Path, kind: str, loaders: Sequence[Callable[[bytes], object]]) -> object:
    """Read a key with the loader of OpenSSH files or that of PEM files."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        content = path.read_bytes()
    except OSError as failure:
        raise InputError(f"the key `{path}` cannot be read: {failure.strerror}") from failure
    load_openssh, load_pem = loaders
    try:
        return (load_openssh if content.startswith(_OPENSSH) else load_pem)(content)
    except TypeError as failure:
        raise InputError(
            f"the key `{path}` has a passphrase",
            hint="sign with a key without one, kept where only you can read it",
        ) from failure
    except (ValueError, UnsupportedAlgorithm) as failure:
        raise InputError(f"`{path}` does not hold a {kind} key", hint=_HOW_TO_MAKE) from failure


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of the public key as shown by `ssh-keygen -l`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")
