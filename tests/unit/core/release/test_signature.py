"""A signature holds for its key and its bytes alone, and OpenSSL agrees."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from genomeformer_cli.core.errors import CorruptError, InputError
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE
from genomeformer_cli.core.release.signature import check_signature, sign
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE, check_seal, seal
from tests.bundles import make_bundle
from tests.files import flip_a_byte

PEM, SSH = form.PrivateFormat.PKCS8, form.PrivateFormat.OpenSSH


def write_keys(folder: Path, name: str, private: form.PrivateFormat = PEM) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    paths[0].write_bytes(key.private_bytes(form.Encoding.PEM, private, form.NoEncryption()))
    public = (
        (form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
        if private is SSH
        else (form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    paths[1].write_bytes(key.public_key().public_bytes(*public))
    return paths


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle").folder


@pytest.mark.parametrize("private", [PEM, SSH])
def test_a_signed_bundle_is_whole_and_known(
    bundle: Path, tmp_path: Path, private: form.PrivateFormat
) -> None:
    key, public = write_keys(tmp_path, "mine", private)
    files = check_seal(bundle)
    fingerprint = sign(bundle, key)
    assert fingerprint.startswith("SHA256:")
    assert check_signature(bundle, public) == fingerprint
    assert check_seal(bundle) == files


def test_another_key_and_changed_files_are_found(bundle: Path, tmp_path: Path) -> None:
    key, public = write_keys(tmp_path, "mine")
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(CorruptError, match="not signed"):
        check_signature(bundle, public)
    sign(bundle, key)
    with pytest.raises(CorruptError, match="not signed by the owner"):
        check_signature(bundle, other)
    (bundle / CARD_FILE).write_text("# better\n", encoding="utf-8")
    with pytest.raises(CorruptError, match="checksum"):
        check_signature(bundle, public)
    seal(bundle)
    with pytest.raises(CorruptError, match="not signed by the owner"):
        check_signature(bundle, public)


def test_a_damaged_signature_is_none(bundle: Path, tmp_path: Path) -> None:
    key, public = write_keys(tmp_path, "mine")
    sign(bundle, key)
    flip_a_byte(bundle / SIGNATURE)
    with pytest.raises(CorruptError, match="not signed by the owner"):
        check_signature(bundle, public)


def test_other_keys_and_invalid_keys_are_refused(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(InputError, match="cannot be read"):
        sign(bundle, path)
    path.write_bytes(b"secret")
    with pytest.raises(InputError, match="does not hold a private key"):
        sign(bundle, path)
    curve = generate_private_key(SECP256R1())
    path.write_bytes(curve.private_bytes(form.Encoding.PEM, PEM, form.NoEncryption()))
    with pytest.raises(InputError, match="Ed25519"):
        sign(bundle, path)
    locked = form.BestAvailableEncryption(b"word")
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(form.Encoding.PEM, PEM, locked))
    with pytest.raises(InputError, match="passphrase"):
        sign(bundle, path)
    assert not (bundle / SIGNATURE).exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_agrees(bundle: Path, tmp_path: Path) -> None:
    key, public = write_keys(tmp_path, "mine")
    sign(bundle, key)
    line = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    files = ["-in", str(bundle / SEAL), "-sigfile", str(bundle / SIGNATURE)]
    done = subprocess.run([*line, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
