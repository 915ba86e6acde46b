"""`embed --resume`: what an earlier process left is checked before it is believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.atomic import move_into_place
from genomeformer_cli.core.store.output_lock import lock_outputs
from genomeformer_cli.core.workflows import embed
from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.files import flip_a_byte, names_in
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")
SEQUENCES = "".join(f">r{n}\n{'ACGTTGCA' * (n + 2)}\n" for n in range(9))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x.fa"
    path.write_text(SEQUENCES)
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of records that the model was asked for, a group an entry; groups are small."""
    calls: list[int] = []
    plain = Embedder.embed

    def count(self: Embedder, codes: Any, *others: Any) -> Any:
        calls.append(len(codes))
        return plain(self, codes, *others)

    monkeypatch.setattr(Embedder, "embed", count)
    monkeypatch.setattr(embed, "_BASES", 100)
    return calls


def run(run_cli: RunCommand, fasta: Path, output: Path, *more: str) -> Finished:
    return run_cli("embed", str(fasta), "--model", RELEASED, "-o", str(output), *more)


def test_a_second_writer_is_refused_by_name(
    run_cli: RunCommand, fasta: Path, tmp_path: Path
) -> None:
    output, ids = tmp_path / "v.npy", tmp_path / "ids.txt"
    for held in (output, ids):
        with lock_outputs(held, reporter=SilentReporter()):
            done = run(run_cli, fasta, output, "--ids", str(ids))
        assert_failure(done, f"`{held.name}` is being written by process", hint="wait")
        assert not output.exists()
    same = run(run_cli, fasta, output, "--ids", str(output))
    assert_failure(same, "named for two outputs", hint="another name", exit_code=2)
    described = run(run_cli, fasta, output, "--ids", f"{output}.json")
    assert_failure(described, "description", hint="--ids", exit_code=2)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a truncated tail": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "an empty file": lambda path: path.write_bytes(b""),
    "a flipped byte": flip_a_byte,
    "another's file": lambda path: path.write_bytes(b"x" * path.stat().st_size),
    "no file": Path.unlink,
}


@pytest.mark.parametrize("file", ["v.npy", "ids.txt"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_finished_file_is_accepted_only_if_unchanged(
    file: str, damage: str, run_cli: RunCommand, fasta: Path, tmp_path: Path, counted: list[int]
) -> None:
    output, more = tmp_path / "v.npy", ("--ids", str(tmp_path / "ids.txt"), "--resume")
    run(run_cli, fasta, output, *more)
    expected = (tmp_path / file).read_bytes()
    DAMAGE[damage](tmp_path / file)
    counted.clear()
    done = run(run_cli, fasta, output, *more)
    assert done.exit_code == 0
    assert sum(counted) == 9
    assert f"{file}` was changed after the job finished" in done.err
    assert (tmp_path / file).read_bytes() == expected
    assert "finished already" in run(run_cli, fasta, output, *more).err


def interrupt(
    monkeypatch: pytest.MonkeyPatch, run_cli: RunCommand, fasta: Path, output: Path
) -> Path:
    """Stop a job before its last group; return the partial folder."""
    plain, calls = Embedder.embed, []

    def stop(self: Embedder, codes: Any, *others: Any) -> Any:
        calls.append(len(codes))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(self, codes, *others)

    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "embed", stop)
        assert run(run_cli, fasta, output).exit_code == 130
    return output.with_name(f".{output.name}.partial")


def edit_state(folder: Path, **changes: Any) -> None:
    path = folder / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def make_rows_a_folder(folder: Path) -> None:
    (folder / "rows.npy").unlink()
    (folder / "rows.npy").mkdir()


def make_folder_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"x")


ODD: dict[str, Callable[[Path], object]] = {
    "no rows": lambda folder: (folder / "rows.npy").unlink(),
    "no records": lambda folder: (folder / "records.tsv").unlink(),
    "rows cut off": lambda folder: (folder / "rows.npy").write_bytes(b"abc"),
    "a flipped byte in the rows": lambda folder: flip_a_byte(folder / "rows.npy"),
    "a flipped byte in the records": lambda folder: flip_a_byte(folder / "records.tsv"),
    "a folder for the rows": make_rows_a_folder,
    "a file for the folder": make_folder_a_file,
    "a state that is a list": lambda folder: (folder / "state.json").write_text("[]"),
    "a state that is a number": lambda folder: (folder / "state.json").write_text("5"),
    "a state that is no JSON": lambda folder: (folder / "state.json").write_text("{"),
    "a state that is not text": lambda folder: (folder / "state.json").write_bytes(b"\xff\xfe"),
    "a deep state": lambda folder: (folder / "state.json").write_text("[" * 100_000),
    "a state without records": lambda folder: edit_state(folder, records=None),
    "a state with other keys": lambda folder: edit_state(folder, more=1),
    "a state with a text for a number": lambda folder: edit_state(folder, rows="4"),
    "a state with minus one row": lambda folder: edit_state(folder, rows=-1),
    "a state with a huge number": lambda folder: edit_state(folder, rows=10**400),
    "a state with a float": lambda folder: edit_state(folder, bytes=1e308),
    "a state that contradicts the records": lambda folder: edit_state(folder, records=1),
    "a state of another job": lambda folder: edit_state(folder, job="x"),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_partial_folder_means_starting_over(
    odd: str,
    run_cli: RunCommand,
    fasta: Path,
    tmp_path: Path,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "v.npy"
    run(run_cli, fasta, tmp_path / "whole.npy")
    folder = interrupt(monkeypatch, run_cli, fasta, output)
    ODD[odd](folder)
    counted.clear()
    done = run(run_cli, fasta, output, "--resume")
    assert done.exit_code == 0, done.err
    assert "cannot be resumed" in done.err
    assert "starting over" in done.err
    assert sum(counted) == 9
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.tsv"])
def test_a_kill_between_the_array_and_its_description_costs_nothing(
    name: str,
    run_cli: RunCommand,
    fasta: Path,
    tmp_path: Path,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out" / name
    run(run_cli, fasta, output)
    expected = {path: path.read_bytes() for path in output.parent.iterdir()}
    output.write_bytes(b"older")

    def stop(source: Path, path: Path) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        move_into_place(source, path)

    with monkeypatch.context() as patch:
        patch.setattr(embed, "move_into_place", stop)
        assert run(run_cli, fasta, output).exit_code == 130
    assert names_in(output.parent) == [f".{name}.partial", name]
    counted.clear()
    done = run(run_cli, fasta, output, "--resume")
    assert done.exit_code == 0, done.err
    assert counted == []
    assert {path: path.read_bytes() for path in output.parent.iterdir()} == expected


def test_another_precision_is_another_job(
    run_cli: RunCommand, fasta: Path, tmp_path: Path, counted: list[int]
) -> None:
    output = tmp_path / "v.npy"
    for precision in ("fp32", "bf16", "bf16"):
        counted.clear()
        done = run(run_cli, fasta, output, "--resume", "--precision", precision)
        assert done.exit_code == 0, done.err
        described = json.loads((tmp_path / "v.npy.json").read_text())
        assert described["precision"] == precision
    assert counted == []
