"""Record of one run for machines: command, versions, input files, models, outputs, checksums.

A file `.json` is an RO-Crate 1.1 in the form of a Process Run Crate: the run is a `CreateAction`,
the program its `instrument`, inputs and models its `object`, outputs its `result`. A file `.yml`
has the versions alone, in the layout that nf-core collects. Readers, the loader of models and the
locks of outputs note what they use; without a record, noting does nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.store.atomic import check_place, write_json, write_text
from genomeformer_cli.core.store.seal import SEAL, file_sha256, read_seal

CRATE_NAME = "ro-crate-metadata.json"
_CRATE, _PROCESS = "https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = (
    f"{_CRATE}/context",
    {"sha256": "https://spdx.org/rdf/terms/#checksumAlgorithm_sha256"},
)
_YAML = (".yml", ".yaml")
_MODEL_FILES = ("config.json", "*.safetensors")
# Temporary folders of this program begin with it.
TEMPORARY_PREFIX = "genomeformer-"
_PROGRAM, _RUN = "#genomeformer", "#run"
_DONE, _FAILED = "CompletedActionStatus", "FailedActionStatus"
Entity = dict[str, Any]


@dataclass
class RunRecord:
    """Files and versions of the present run."""

    paths: tuple[Path, ...]  # Files to write.
    command: str  # Name of the command; empty for the program alone.
    arguments: tuple[str, ...]  # Arguments of the program.
    versions: Mapping[str, str]  # Versions of the program and its libraries.
    start: datetime = field(default_factory=lambda: datetime.now(UTC))
    # Insertion order is the order of use; values are the names shown.
    inputs: dict[Path, str] = field(default_factory=dict)
    models: dict[Path, str] = field(default_factory=dict)
    outputs: dict[Path, str] = field(default_factory=dict)

    def write(self, *, is_successful: bool) -> None:
        """Write all files of the record.

        Raises:
            StoreError: A file cannot be written.
        """
        for path in self.paths:
            if path.suffix in _YAML:
                write_text(path, self._versions_text())
            else:
                write_json(path, self._crate(path.absolute().parent, is_successful=is_successful))

    def _versions_text(self) -> str:
        name = f"genomeformer {self.command}".strip()
        # A text in JSON is one in YAML.
        lines = [f"    {key}: {json.dumps(value)}" for key, value in self.versions.items()]
        return "\n".join([f"{json.dumps(name)}:", *lines]) + "\n"

    def _crate(self, folder: Path, *, is_successful: bool) -> Entity:
        inputs = list(_entities(self.inputs, folder))
        # Bundles that are verified before they have a name are not models of the run.
        folders = [path for path in self.models if path.is_dir()]
        models = [entity for path in folders for entity in _model(path, folder)]
        outputs = list(_entities(self.outputs, folder))
        inside = {
            part["@id"]
            for entity in (*inputs, *models, *outputs)
            for part in entity.get("hasPart", ())
        }
        end = datetime.now(UTC).isoformat(timespec="seconds")
        program, *libraries = self.versions.items()
        requirements = [
            {"@id": f"#{name}", "@type": "SoftwareApplication", "name": name, "version": version}
            for name, version in libraries
        ]
        files = {entity["@id"]: entity for entity in (*inputs, *models, *outputs)}
        return {
            "@context": list(_CONTEXT),
            "@graph": [
                {
                    "@id": CRATE_NAME,
                    "@type": "CreativeWork",
                    "about": {"@id": "./"},
                    "conformsTo": {"@id": _CRATE},
                },
                {
                    "@id": "./",
                    "@type": "Dataset",
                    "name": "Run of genomeformer",
                    "description": "Inputs, model, versions and outputs of one command",
                    "datePublished": end,
                    "conformsTo": {"@id": _PROCESS},
                    "hasPart": _references(files.values()),
                    "mentions": {"@id": _RUN},
                },
                {"@id": _PROCESS, "@type": "CreativeWork", "name": "Process Run Crate"},
                {
                    "@id": _RUN,
                    "@type": "CreateAction",
                    "name": shlex.join(["genomeformer", *self.arguments]),
                    "instrument": {"@id": _PROGRAM},
                    "object": _references(_outermost((*inputs, *models), inside)),
                    "result": _references(_outermost(outputs, inside)),
                    "startTime": self.start.isoformat(timespec="seconds"),
                    "endTime": end,
                    "actionStatus": f"http://schema.org/{_DONE if is_successful else _FAILED}",
                },
                {
                    "@id": _PROGRAM,
                    "@type": "SoftwareApplication",
                    "name": program[0],
                    "version": program[1],
                    "softwareRequirements": _references(requirements),
                },
                *requirements,
                *files.values(),
            ],
        }


def _outermost(entities: Sequence[Entity], inside: Collection[str]) -> list[Entity]:
    """Leave out the files that are part of a folder of the record."""
    return [entity for entity in entities if entity["@id"] not in inside]


def _references(entities: Sequence[Entity] | Any) -> list[dict[str, str]]:
    return [{"@id": entity["@id"]} for entity in entities]


def _entities(files: Mapping[Path, str], folder: Path) -> Iterator[Entity]:
    for path, name in files.items():
        if path.is_dir():
            parts = [part for part in sorted(path.rglob("*")) if part.is_file()]
            digests = _sealed_digests(path)
            described = [_file(part, part.name, folder, digests.get(part)) for part in parts]
            yield _folder(path, name, folder, described)
            yield from described
        elif path.is_file():
            yield _file(path, name, folder)
        elif not path.is_absolute():
            yield {"@id": f"#{name.replace(' ', '-')}", "@type": "File", "name": name}


def _model(path: Path, folder: Path) -> list[Entity]:
    files = sorted({file for pattern in _MODEL_FILES for file in path.glob(pattern)})
    described = [_file(file, file.name, folder) for file in files]
    return [_folder(path, path.name, folder, described), *described]


def _folder(path: Path, name: str, folder: Path, parts: Sequence[Entity]) -> Entity:
    identity = _identity(path, folder).rstrip("/") + "/"
    return {"@id": identity, "@type": "Dataset", "name": name, "hasPart": _references(parts)}


def _sealed_digests(folder: Path) -> dict[Path, str]:
    """Return the recorded checksums of all sealed folders below a folder, by file."""
    return {
        sealed.parent / name: digest
        for sealed in folder.rglob(SEAL)
        for name, digest in read_seal(sealed.parent).items()
    }


def _file(path: Path, name: str, folder: Path, digest: str | None = None) -> Entity:
    return {
        "@id": _identity(path, folder),
        "@type": "File",
        "name": name,
        "contentSize": str(path.stat().st_size),
        "sha256": digest or file_sha256(path),
    }


def _identity(path: Path, folder: Path) -> str:
    """Return the URI of a file: relative inside the folder of the record, else absolute."""
    from urllib.parse import quote

    path = Path(os.path.normpath(path.absolute()))
    if path.is_relative_to(folder):
        return quote(path.relative_to(folder).as_posix()) or "./"
    return path.as_uri()


_active: RunRecord | None = None


def start_record(
    paths: Sequence[Path], command: str, arguments: Sequence[str], versions: Mapping[str, str]
) -> None:
    """Begin to note what this process uses.

    Args:
        paths: Files to write.
        command: Name of the command.
        arguments: Arguments of the program.
        versions: Versions of the program, the first, and of its libraries.

    Raises:
        UsageError: The name of a record has another suffix than `.json`, `.yml` or `.yaml`.
        StoreError: The path cannot hold a file.
    """
    global _active
    for path in paths:
        if path.suffix not in (".json", *_YAML):
            raise UsageError(
                f"`--record {path}`: unknown suffix",
                hint=f"name it `{CRATE_NAME}` for the whole record, or `versions.yml`",
            )
        check_place(path)
    _active = RunRecord(
        paths=tuple(paths), command=command, arguments=tuple(arguments), versions=versions
    )


def end_record(*, is_successful: bool) -> None:
    """Write the record of this process, if there is one, and stop noting.

    Raises:
        StoreError: A file cannot be written.
    """
    global _active
    record, _active = _active, None
    if record is not None:
        record.write(is_successful=is_successful)


def note_input(path: Path, name: str) -> None:
    """Note a file or folder that is read; a temporary copy is noted by its name."""
    if _active is not None:
        is_copy = _is_temporary(path)
        key = Path(f"./{name}") if is_copy else path.absolute()
        _active.inputs.setdefault(key, name if is_copy else path.name)


def _is_temporary(path: Path) -> bool:
    """Return True for files in the temporary folders of this program."""
    temporary = Path(tempfile.gettempdir()).absolute()
    if not path.absolute().is_relative_to(temporary):
        return False
    return path.absolute().relative_to(temporary).parts[0].startswith(TEMPORARY_PREFIX)


def note_model(folder: Path) -> None:
    """Note a model that is loaded."""
    if _active is not None:
        _active.models.setdefault(folder.absolute(), folder.name)


def note_output(path: Path) -> None:
    """Note a file or folder that is written; a noted folder covers what is inside it."""
    if _active is not None and not _active.outputs.keys() & set(path.absolute().parents):
        _active.outputs.setdefault(path.absolute(), path.name)
