"""Check of the installation and the machine: devices, memory, folders, network, plugins."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import ConfigError, RefusedError, UsageError
from genomeformer_cli.core.plugins import (
    ARCHITECTURE,
    ATTENTION,
    GROUPS,
    Plugin,
    Registry,
    installed_plugins,
)
from genomeformer_cli.core.settings import (
    HOME_VARIABLE,
    base_url,
    ftp_url,
    thread_setting,
    usable_cores,
)
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.versions import Versions, collect_versions

_GIB = 2**30
_LEAST_MEMORY, _LEAST_DISK, _LEAST_TEMPORARY = 2 * _GIB, 5 * _GIB, _GIB
_TIMEOUT = 5.0


class State(StrEnum):
    """State of a checked part."""

    OK = "ok"
    WARNING = "warning"
    UNUSABLE = "unusable"


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of one check."""

    name: str  # Part of the installation or machine.
    state: State  # State of the part.
    text: str  # Values that were read.
    advice: str | None = None  # Next step of the user; None if all is well.


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Results of all checks, and the versions of the libraries."""

    checks: tuple[Check, ...]
    versions: Versions

    @property
    def usable(self) -> bool:
        """True if no part is unusable."""
        return all(check.state is not State.UNUSABLE for check in self.checks)


def diagnose(*, network: bool = False, store: Store | None = None) -> Diagnosis:
    """Check the installation and the machine; nothing is written that remains.

    Args:
        network: Connect to the hosts of NCBI and of the Hub.
        store: Cache.
    """
    versions = collect_versions()
    checks = [
        _check_device(),
        _check_kernels(),
        _check_threads(),
        _check_memory(),
        _check_cache(store or Store()),
        _check_temporary(),
        _check_versions(versions),
        _check_model(versions),
        *_check_plugins(),
    ]
    if network:
        checks += _check_network()
    else:
        checks.append(_check("network", "not checked; `--network` connects"))
    return Diagnosis(checks=tuple(checks), versions=versions)


def _check(name: str, text: str, advice: str | None = None, state: State = State.WARNING) -> Check:
    """Return the result of a check; without advice, all is well."""
    return Check(name=name, state=State.OK if advice is None else state, text=text, advice=advice)


def _check_device() -> Check:
    try:
        import torch
    except (ImportError, OSError) as failure:
        text = f"torch cannot be imported: {failure}"
        advice = "install torch again, in the build for this machine"
        return _check("device", text, advice, State.UNUSABLE)
    build = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return _check("device", f"{', '.join(names)}; {build}")
    if torch.version.cuda is None:
        return _check("device", f"CPU; {build}, without CUDA")
    return _check(
        "device",
        f"CPU; {build} for CUDA {torch.version.cuda} has no GPU to use",
        "if there is a GPU, check its driver with `nvidia-smi`; else ignore this",
    )


def _check_kernels() -> Check:
    """Name the fused kernels of this installation, and what the others lack."""
    try:
        import torch

        from genomeformer_cli.core.attention.kernels.fused import KERNELS
    except (ImportError, OSError):
        return _check("kernels", "not known without torch", "install torch")
    states = {kernel.name: kernel.missing or "available" for kernel in KERNELS}
    text = "; ".join(f"{name}: {state}" for name, state in states.items())
    if not torch.cuda.is_available():
        text = f"plain, as torch sees no GPU; {text}"
    return _check("kernels", text)


def _check_threads() -> Check:
    cores, threads = usable_cores(), thread_setting()
    if threads is None:
        return _check("threads", f"{cores} usable cores")
    text = f"{cores} usable cores, `OMP_NUM_THREADS` is `{threads}`"
    number = int(threads) if threads.isascii() and threads.isdecimal() else 0
    advice = f"set it to a number from 1 to {cores}, or unset it"
    return _check("threads", text, None if 1 <= number <= cores else advice)


def _check_memory() -> Check:
    try:
        import torch

        from genomeformer_cli.core.memory_plans.memory_meter import available_bytes
    except (ImportError, OSError):
        return _check("memory", "not measured without torch", "install torch")
    available = available_bytes(torch.device("cpu"))
    advice = "close other programs, or train with a small `--batch-size`"
    few = available < _LEAST_MEMORY
    return _check("memory", f"{_gib(available)} available", advice if few else None)


def _check_cache(store: Store) -> Check:
    advice = f"set `{HOME_VARIABLE}` to a folder that you can write to"
    try:
        folder = _existing_folder(store.root)
        _write_in(folder)
        entries = store.entries()
        size = sum(entry.num_bytes for entry in entries)
        free = shutil.disk_usage(folder).free
    except OSError as failure:
        text = f"`{store.root}`: {failure.strerror or failure}"
        return _check("cache", text, advice, State.UNUSABLE)
    text = f"`{store.root}`, {len(entries):,} entries of {_gib(size)}, {_gib(free)} of disk free"
    more = f"remove entries with `genomeformer cache rm`, or {advice}"
    return _check("cache", text, more if free < _LEAST_DISK else None)


def _check_temporary() -> Check:
    try:
        folder = Path(tempfile.gettempdir())
        _write_in(folder)
        free = shutil.disk_usage(folder).free
    except OSError as failure:
        advice = "set `TMPDIR` to a folder that you can write to"
        text = failure.strerror or str(failure)
        return _check("temporary files", text, advice, State.UNUSABLE)
    advice = "set `TMPDIR` to a folder on a larger disk"
    text = f"`{folder}`, {_gib(free)} of disk free"
    return _check("temporary files", text, advice if free < _LEAST_TEMPORARY else None)


def _check_versions(versions: Versions) -> Check:
    libraries = {
        name: getattr(versions, name) for name in ("torch", "numpy", "tokenizers", "safetensors")
    }
    missing = [name for name, version in libraries.items() if version is None]
    text = ", ".join(
        f"{name} {version or 'missing'}"
        for name, version in {
            "genomeformer": versions.genomeformer,
            "Python": versions.python,
            **libraries,
        }.items()
    )
    advice = f"install {', '.join(missing)}" if missing else None
    return _check("versions", text, advice, State.UNUSABLE)


def _check_model(versions: Versions) -> Check:
    if versions.model is None:
        text = "this installation has no default model"
        return _check("model", text, "name a model with `--model`")
    return _check("model", f"`{versions.model.name}`, {versions.model.digest}")


def _check_plugins() -> list[Check]:
    """Return one result per entry of another package, which is imported; one if there are none."""
    plugins = [(group, plugin) for group in GROUPS for plugin in installed_plugins(group)]
    if not plugins:
        return [_check("plugins", "none installed")]
    return [_check_plugin(group, plugin) for group, plugin in plugins]


def _check_plugin(group: str, plugin: Plugin) -> Check:
    try:
        _registries()[group][plugin.point.name]
    except ConfigError as failure:
        return _check("plugin", failure.message, failure.hint, State.UNUSABLE)
    except (ImportError, OSError):
        return _check("plugin", f"{plugin.described}, not imported without torch", "install torch")
    return _check("plugin", plugin.described)


def _registries() -> dict[str, Registry[Any]]:
    from genomeformer_cli.core.attention.registry import ATTENTIONS
    from genomeformer_cli.core.models.registry import ARCHITECTURES

    return {ATTENTION: ATTENTIONS, ARCHITECTURE: ARCHITECTURES}


def _check_network() -> list[Check]:
    from genomeformer_cli.core.model_io.hub_client import hub_endpoint

    addresses = {"NCBI Datasets": base_url(), "NCBI genomes": ftp_url(), "Hub": hub_endpoint()}
    return [_check_host(name, url) for name, url in addresses.items()]


def _check_host(name: str, url: str) -> Check:
    from genomeformer_cli.core.genomes.rate_limit import TransientError
    from genomeformer_cli.core.genomes.transport import HttpTransport, TransportSettings

    settings = TransportSettings(
        rate=1.0, retries=0, connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT
    )
    with ExitStack() as stack:
        transport = stack.enter_context(HttpTransport(settings))
        try:
            stack.enter_context(transport.stream(url))
        except RefusedError:  # a response, such as 404 for an address without a page
            pass
        except (TransientError, UsageError) as failure:
            advice = "check the network, and `HTTPS_PROXY` behind a proxy"
            return _check(name, str(failure), advice, State.UNUSABLE)
    return _check(name, f"`{url}` can be reached")


def _existing_folder(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _write_in(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / _GIB:.1f} GiB"
