"""Activations are kept in memory or in a file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.errors import StoreError
from genomeformer_cli.core.models.genomeformer import activation_store as streams
from genomeformer_cli.core.models.genomeformer.activation_store import (
    ActivationStore,
    InMemoryActivations,
    OnDiskActivations,
    open_activations,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["held", "filed"])
def test_a_stream_returns_the_values_last_written(
    kind: str, dtype: torch.dtype, folder: Path
) -> None:
    wanted = torch.randn(2, 23, 3, dtype=dtype)
    stream: ActivationStore = OnDiskActivations(2, 3, wanted)
    if kind == "held":
        stream = InMemoryActivations(torch.empty_like(wanted))
    stream.write(11, torch.zeros(2, 12, 3, dtype=dtype))
    for start, stop in ((14, 23), (0, 5), (5, 14)):
        stream.write(start, wanted[:, start:stop])
    for start, stop in ((0, 23), (4, 15), (22, 23), (7, 7)):
        assert torch.equal(stream.read(start, stop), wanted[:, start:stop])
    assert not list(folder.iterdir()), "the file has no name"


def test_only_what_is_too_large_is_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    like = torch.empty(0)
    monkeypatch.setattr(streams, "HELD", 4 * 2 * 5 * 3)
    assert isinstance(open_activations((2, 5, 3), like), InMemoryActivations)
    assert isinstance(open_activations((2, 6, 3), like), OnDiskActivations)


def test_a_full_disk_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StoreError, match="No space left") as failure:
        OnDiskActivations(1, 4, torch.empty(0)).write(0, torch.zeros(1, 2, 4))
    assert not list(folder.iterdir())
    assert "TMPDIR" in (failure.value.hint or "")


def test_no_place_for_temporary_files_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/there/is/no/such/folder")
    with pytest.raises(StoreError, match="No such file") as failure:
        OnDiskActivations(1, 4, torch.empty(0))
    assert "TMPDIR" in (failure.value.hint or "")
