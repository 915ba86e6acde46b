"""Publish a bundle: copy, add an ONNX file, sign, pack and upload it; or check a foreign bundle."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.model_io.archive import SUFFIX, pack
from genomeformer_cli.core.model_io.bundle_layout import (
    CARD_FILE,
    ONNX_FILE,
    RESULTS_FILE,
    check_layout,
    is_bundle,
    list_files,
)
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL, bundled_folder
from genomeformer_cli.core.model_io.hub_upload import PushedBundle, push_bundle
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.release.card import add_onnx_note
from genomeformer_cli.core.release.derived_licence import (
    check_shareable,
    check_statement,
    state_licence,
)
from genomeformer_cli.core.release.onnx_export import export_onnx, need_onnx
from genomeformer_cli.core.release.output_folder import check_output, copy_bundle
from genomeformer_cli.core.release.selftest import read_bundled_model, reference_outputs
from genomeformer_cli.core.release.signature import check_signature, sign
from genomeformer_cli.core.release.verify import outputs_in_fresh_process, verify_bundle
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE, check_seal, file_sha256, seal
from genomeformer_cli.core.workflows.release import ReleaseRequest, ReleaseResult

_WEIGHTS = f"{Kind.WEIGHTS}/"
# What is decided when a run becomes a bundle, and by which options.
_DECIDED = {
    "name": "--name",
    "replace": "--replace",
    "weights": "--weights",
    "storage": "--dtype",
    "layers": "--layers",
    "layout": "--as",
    "evaluations": "--evaluation",
    "notes": "--notes",
    "authors": "--author",
    "licence": "--license",
    "licence_file": "--license-file",
}


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """Request to publish a bundle."""

    bundle: Path  # Folder of the bundle.
    output: Path | None = None  # Folder of a copy, to which the other steps are applied.
    onnx: bool = False  # Add an ONNX file to the copy.
    licence: str | None = None  # Licence to state in the copy of a fine-tuned model.
    licence_file: Path | None = None  # Text of that licence.
    sign: Path | None = None  # Ed25519 private key.
    archive: Path | None = None  # Archive to write.
    push: str | None = None  # Repository on the Hub, `ORG/NAME`.
    public: bool = False  # Upload for everybody to read.
    rehearse: bool = False  # Report the upload without sending.


@dataclass(frozen=True, kw_only=True)
class PublishResult:
    """Result of publishing."""

    bundle: Path  # Folder of the bundle.
    signed_by: str | None = None  # Fingerprint of the key; None if not signed now.
    archive: Path | None = None  # Path of the archive; None if none was written.
    archive_sha256: str | None = None  # Checksum of the archive.
    pushed: PushedBundle | None = None  # Upload, or its plan; None without one.


@dataclass(frozen=True, kw_only=True)
class CheckedBundle:
    """Verified bundle."""

    folder: Path  # Folder of the bundle.
    name: str  # Name of the model.
    num_files: int  # Number of files with valid checksums.
    seal: str  # SHA-256 of `SHA256SUMS`.
    signed: bool  # True if there is a signature.
    signed_by: str | None  # Fingerprint of the key used for verification; None without a key.


def find_bundle(source: str, *, store: Store | None = None) -> Path | None:
    """Return the bundle named by `weights/NAME` or by a folder; None for a run.

    Raises:
        NotInCacheError: The weights are unknown.
    """
    store = store or Store()
    if source.startswith(_WEIGHTS) and not is_bundle(Path(source)):
        return store.entry(Kind.WEIGHTS, source.removeprefix(_WEIGHTS)).path
    if source == DEFAULT_MODEL:
        return bundled_folder()
    return Path(source) if not store.has(Kind.RUNS, source) and is_bundle(Path(source)) else None


def publish_bundle(request: PublishRequest) -> PublishResult:
    """Copy, sign, pack and upload, in this order, as requested.

    Raises:
        CorruptError: The bundle is damaged.
        UsageError: The name of the archive or of the repository is invalid.
        StoreError: A file cannot be written.
        MissingExtraError, NetworkError: Signing or uploading failed; try again.
    """
    check_publication(request)
    folder = request.bundle
    check_seal(folder)
    check_layout(folder)
    if request.licence is None and (request.archive or request.push):
        check_shareable(folder)
    if request.output is not None:
        _copy(folder, request)
        folder = request.output
    signed_by = sign(folder, request.sign) if request.sign is not None else None
    digest = None
    if request.archive is not None:
        pack(folder, _name_of(folder), request.archive)
        digest = file_sha256(request.archive)
    pushed = None
    if request.push is not None:
        pushed = push_bundle(folder, request.push, public=request.public, rehearse=request.rehearse)
    return PublishResult(
        bundle=folder,
        signed_by=signed_by,
        archive=request.archive,
        archive_sha256=digest,
        pushed=pushed,
    )


def _copy(bundle: Path, request: PublishRequest) -> None:
    """Copy a bundle; a changed copy is sealed anew and no longer signed."""
    output = request.output
    assert output is not None
    if not request.onnx and request.licence is None:
        copy_bundle(bundle, output, replace=False)
        return
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        for name in list_files(bundle):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(bundle / name, folder / name)
        (folder / SIGNATURE).unlink(missing_ok=True)
        bundled = read_bundled_model(bundle)
        if request.onnx:
            export_onnx(read_model(bundle), folder / ONNX_FILE)
            card = (folder / CARD_FILE).read_text(encoding="utf-8")
            write_text(folder / CARD_FILE, add_onnx_note(card))
        if request.licence is not None:
            text = check_statement(bundle, request.licence, request.licence_file)
            state_licence(folder, request.licence, text)
        seal(folder)
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
        # What the card says was checked when it was written.
        verify_bundle(folder, reference_outputs(*bundled), allowed=card)
        copy_bundle(folder, output, replace=False)


def publish_released(
    request: PublishRequest, release: ReleaseResult | None
) -> PublishResult | None:
    """Publish a bundle that was just made, if requested, or an existing one.

    Raises:
        UsageError: The bundle existed and nothing is requested.
    """
    requested = request.sign or request.archive or request.push or request.licence
    if release is None:
        if requested is None and request.output is None:
            raise UsageError(
                f"`{request.bundle}` is a bundle already",
                hint="give `-o`, `--sign`, `--archive` or `--push`, or the name of a run",
            )
        return publish_bundle(request)
    if requested is None:
        return None
    return publish_bundle(replace(request, bundle=release.folder))


def check_publication(request: PublishRequest) -> None:
    """Check the request before any work.

    Raises:
        UsageError: Options contradict each other, or the archive has an invalid name.
        StoreError: The output folder exists and is not empty.
        MissingExtraError: An ONNX file needs an extra that is not installed.
    """
    if request.onnx:
        need_onnx()
        if request.output is None:
            raise UsageError(
                f"`{request.bundle}` is a bundle, and bundles are not changed in place",
                hint="give `-o FOLDER` for a copy with an ONNX file",
            )
    if request.licence_file is not None and request.licence is None:
        raise UsageError("`--license-file` needs `--license ID`", hint="name the licence")
    if request.licence is not None:
        if request.output is None:
            raise UsageError(
                f"`{request.bundle}` is a bundle, and bundles are not changed in place",
                hint="give `-o FOLDER` for a copy with the licence",
            )
        check_statement(request.bundle, request.licence, request.licence_file)
    check_output(request.output)
    if (request.public or request.rehearse) and request.push is None:
        raise UsageError(
            "`--public` and `--dry-run` apply only to `--push`", hint="give `--push ORG/NAME`"
        )
    if request.archive is not None and not request.archive.name.endswith(SUFFIX):
        raise UsageError(
            f"`{request.archive}` does not end in `{SUFFIX}`",
            hint="name it `NAME{SUFFIX}`, so that `--model` recognises it",
        )


def check_run_options(request: ReleaseRequest) -> None:
    """Refuse options that apply only to the release of a run.

    Raises:
        UsageError: Such an option is set.
    """
    usual = ReleaseRequest(run=request.run)
    for field in fields(request):
        if field.name in _DECIDED and getattr(request, field.name) != getattr(usual, field.name):
            raise UsageError(
                f"`{request.run}` is a bundle already, and `{_DECIDED[field.name]}` can no longer "
                "change it",
                hint="give it when you release the run; a bundle can be copied with `-o` and "
                "`--onnx`, signed, packed and sent",
            )


def check_bundle(
    bundle: str, key: Path | None = None, *, reporter: Reporter, store: Store | None = None
) -> CheckedBundle:
    """Check that a bundle is complete, loads, and is signed with a key, if one is given.

    Args:
        bundle: Bundle, as for `--model`.
        key: Ed25519 public key.
        reporter: Receives the source of the bundle.
        store: Cache.

    Raises:
        CorruptError: A checksum or the signature is invalid, or a file is unexpected.
        CheckpointError: The model cannot be loaded, in this process or in a fresh one.
    """
    folder = model_folder(bundle, store=store or Store(), reporter=reporter)
    num_files = check_seal(folder)
    check_layout(folder)
    signed_by = check_signature(folder, key) if key is not None else None
    # Names the fault of a damaged bundle; the fresh process knows no cause.
    read_bundled_model(folder)
    outputs_in_fresh_process(folder)
    return CheckedBundle(
        folder=folder,
        name=_name_of(folder),
        num_files=num_files,
        seal=file_sha256(folder / SEAL),
        signed=(folder / SIGNATURE).is_file(),
        signed_by=signed_by,
    )


def _name_of(folder: Path) -> str:
    """Return the name of the model of a bundle."""
    results = read_json(folder / RESULTS_FILE)
    return check_name(str(results.get("name") or folder.resolve().name))
