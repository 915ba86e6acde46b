"""Carry a bundle on: copy it, add an ONNX file, sign, pack and send it; or check a foreign one."""

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
from genomeformer_cli.core.model_io.hub import PushedBundle, push_bundle
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import DEFAULT_MODEL, bundled_folder, model_folder
from genomeformer_cli.core.release.card import add_onnx_note
from genomeformer_cli.core.release.onnx_export import export_onnx, need_onnx
from genomeformer_cli.core.release.output_folder import check_output, copy_bundle
from genomeformer_cli.core.release.selftest import reference_outputs
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
    "storage": "--dtype` and `--quantize",
    "layers": "--layers",
    "evaluations": "--evaluation",
    "notes": "--notes",
    "authors": "--author",
    "licence": "--license",
    "licence_file": "--license-file",
}


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """What is to become of a bundle.

    Attributes:
        bundle: Its folder.
        output: Folder to copy it to first; what follows is done with the copy.
        onnx: Whether the copy is to have an ONNX file.
        sign: An Ed25519 private key.
        archive: File to pack it into.
        push: Repository on the Hub, `ORG/NAME`.
        public: Whether everybody may see it there.
        rehearse: Send nothing, say what would be sent.
    """

    bundle: Path
    output: Path | None = None
    onnx: bool = False
    sign: Path | None = None
    archive: Path | None = None
    push: str | None = None
    public: bool = False
    rehearse: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishResult:
    """What became of it.

    Attributes:
        bundle: Its folder.
        signed_by: Fingerprint of the key; None if it was not signed now.
        archive: Where it was packed; None if it was not.
        archive_sha256: Of the archive.
        pushed: What was sent, or would be; None if nothing was to be.
    """

    bundle: Path
    signed_by: str | None = None
    archive: Path | None = None
    archive_sha256: str | None = None
    pushed: PushedBundle | None = None


@dataclass(frozen=True, kw_only=True)
class CheckedBundle:
    """A bundle that was checked.

    Attributes:
        folder: Where it lies.
        name: Of its model.
        num_files: Whose checksums hold.
        seal: SHA-256 of its `SHA256SUMS`.
        signed: Whether there is a signature.
        signed_by: Fingerprint of the key that it was checked with; None if none was given.
    """

    folder: Path
    name: str
    num_files: int
    seal: str
    signed: bool
    signed_by: str | None


def find_bundle(source: str, *, store: Store | None = None) -> Path | None:
    """The bundle that a user means by `weights/NAME` or by a folder; None if it is a run.

    Raises:
        NotInCacheError: The cache has no such weights.
    """
    store = store or Store()
    if source.startswith(_WEIGHTS) and not is_bundle(Path(source)):
        return store.entry(Kind.WEIGHTS, source.removeprefix(_WEIGHTS)).path
    if source == DEFAULT_MODEL:
        return bundled_folder()
    return Path(source) if not store.has(Kind.RUNS, source) and is_bundle(Path(source)) else None


def publish_bundle(request: PublishRequest) -> PublishResult:
    """Copy, sign, pack and send, in this order, what of it was asked for.

    Raises:
        CorruptError: The bundle is damaged.
        UsageError: The archive or the repository cannot be called that.
        StoreError: A file cannot be written.
        MissingExtraError, NetworkError: The bundle cannot be signed or sent; run it again.
    """
    check_publication(request)
    folder = request.bundle
    check_seal(folder)
    check_layout(folder)
    if request.output is not None:
        _copy(folder, request.output, onnx=request.onnx)
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


def _copy(bundle: Path, output: Path, *, onnx: bool) -> None:
    """Copy a bundle; with an ONNX file it is another one, sealed anew and no longer signed."""
    if not onnx:
        copy_bundle(bundle, output, replace=False)
        return
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        for name in list_files(bundle):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(bundle / name, folder / name)
        (folder / SIGNATURE).unlink(missing_ok=True)
        loaded = read_model(bundle)
        export_onnx(loaded, folder / ONNX_FILE)
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
        write_text(folder / CARD_FILE, add_onnx_note(card))
        seal(folder)
        # What the card says was checked when it was written.
        verify_bundle(folder, reference_outputs(loaded), wanted=card)
        copy_bundle(folder, output, replace=False)


def publish_made(request: PublishRequest, made: ReleaseResult | None) -> PublishResult | None:
    """Carry on what was just made, if that was asked for; or a bundle that was there.

    Raises:
        UsageError: A bundle that was there, and nothing to do with it.
    """
    wanted = request.sign or request.archive or request.push
    if made is None:
        if wanted is None and request.output is None:
            raise UsageError(
                f"`{request.bundle}` is a bundle already",
                hint="give `-o`, `--sign`, `--archive` or `--push`, or the name of a run",
            )
        return publish_bundle(request)
    if wanted is None:
        return None
    return publish_bundle(replace(request, bundle=made.folder))


def check_publication(request: PublishRequest) -> None:
    """Refuse, before any work, what cannot be.

    Raises:
        UsageError: Options that do not go together, or an archive of another name.
        StoreError: The output folder exists and is not an empty folder.
        MissingExtraError: An ONNX file needs an extra that is not installed.
    """
    if request.onnx:
        need_onnx()
        if request.output is None:
            raise UsageError(
                f"`{request.bundle}` is a bundle, and bundles are never changed where they lie",
                hint="give `-o FOLDER` for one with an ONNX file",
            )
    check_output(request.output)
    if (request.public or request.rehearse) and request.push is None:
        raise UsageError("nothing is sent without `--push`", hint="give `--push ORG/NAME`")
    if request.archive is not None and not request.archive.name.endswith(SUFFIX):
        raise UsageError(
            f"`{request.archive}` is not called `NAME{SUFFIX}`",
            hint="by that name `--model` knows an archive",
        )


def check_of_a_bundle(request: ReleaseRequest) -> None:
    """Refuse what can be decided only when a run becomes a bundle.

    Raises:
        UsageError: Something of that kind was asked for.
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
    """Make sure that a bundle is whole, loads, and is signed with a key, if one is given.

    Args:
        bundle: As `--model` takes it.
        key: An Ed25519 public key.
        reporter: Is told where it was found.
        store: The cache.

    Raises:
        CorruptError: A checksum or the signature does not hold, or a file does not belong there.
        CheckpointError: The model cannot be loaded, here or by a fresh process.
    """
    folder = model_folder(bundle, store=store or Store(), reporter=reporter)
    num_files = check_seal(folder)
    check_layout(folder)
    signed_by = check_signature(folder, key) if key is not None else None
    read_model(folder)  # names the fault of a damaged bundle; the fresh process knows no cause
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
    """What the model of a bundle is called."""
    results = read_json(folder / RESULTS_FILE)
    return check_name(str(results.get("name") or folder.resolve().name))
