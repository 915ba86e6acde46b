"""Odd surroundings: variables, homes, streams, quotas, file names, terminals, schedulers.

What can be seen in this process or in a fork of it is; a fresh process costs seconds, so those are
slow.
"""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli import Finished, RunCommand, run_python
from tests.failures import assert_failure
from tests.faults.harness import Fault, Outcome, Place
from tests.files import names_in
from tests.models import RELEASED, WIDTH

pytestmark = pytest.mark.usefixtures("trained")
MODEL = ("--model", RELEASED, "--workers", "1", "--device", "cpu")
# Runs the command line with some descriptors closed, or under a limit, as a shell would start it.
WRAPPED = """
import os, resource, sys
for number in {closed}:
    os.close(number)
for name, limit in {limits}:
    resource.setrlimit(getattr(resource, name), (limit, limit))
os.execv(sys.executable, [sys.executable, "-m", "genomeformer_cli", *sys.argv[1:]])
"""


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGTACGTTGCATT\n>b\nGGGTTTAAACCC\n")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wrapped(
    *arguments: str, closed: tuple[int, ...] = (), limits: tuple[tuple[str, int], ...] = ()
) -> Finished:
    return run_python("-c", WRAPPED.format(closed=closed, limits=limits), *arguments)


@pytest.mark.parametrize(
    "value", ["2,1", "", "abc", "0", "-1", "1.0"], ids=lambda v: f"case-70-{v}"
)
def test_the_number_of_threads_may_be_a_list_or_nonsense(
    value: str, run_cli: RunCommand, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    done = run_cli("embed", str(fasta), "--model", RELEASED, "-o", f"{fasta}.npy")
    assert done.exit_code == 0, done.err


@pytest.mark.parametrize("home", [None, "/nonexistent"], ids=["case-71-none", "case-71-missing"])
def test_the_packaged_model_needs_no_home(
    home: str | None, run_cli: RunCommand, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GENOMEFORMER_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    done = run_cli("embed", str(fasta), "--workers", "1", "-o", f"{fasta}.npy")
    assert done.exit_code == 0, done.err
    assert run_cli("cache", "path").exit_code == 0


def test_a_user_without_a_name_can_work_case_72(
    run_cli: RunCommand, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("os.getlogin", lambda: (_ for _ in ()).throw(OSError()))
    for name in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.delenv(name, raising=False)
    assert run_cli("fetch", "--file", str(fasta), "--name", "g").exit_code == 0
    done = run_cli("embed", "g", *MODEL, "-o", f"{fasta}.npy")
    assert done.exit_code == 0, done.err


def refuse_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every new file and folder in a folder, as its permissions would to a plain user."""
    plain_open, plain_mkdir = os.open, os.mkdir

    def is_below(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(folder))

    def refused(path: object) -> PermissionError:
        return PermissionError(13, "Permission denied", os.fspath(path))  # type: ignore[call-overload]

    def open_file(path: object, flags: int, *others: object, **named: object) -> int:
        if is_below(path) and flags & os.O_CREAT:
            raise refused(path)
        return plain_open(path, flags, *others, **named)  # type: ignore[arg-type]

    def mkdir(path: object, *others: object, **named: object) -> None:
        if is_below(path) and not Path(str(path)).exists():
            raise refused(path)
        plain_mkdir(path, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "mkdir", mkdir)


def test_a_folder_that_cannot_be_written_is_named_case_73(
    run_cli: RunCommand, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ro").mkdir()
    refuse_below(tmp_path / "ro", monkeypatch)
    done = run_cli("embed", str(fasta), *MODEL, "-o", str(tmp_path / "ro" / "x.npy"))
    assert_failure(done, "ro/x.npy", "Permission denied", hint="writable")


def test_a_cache_that_cannot_be_written_fails_only_what_writes_it_case_73(
    run_cli: RunCommand, fasta: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_below(trained, monkeypatch)
    done = run_cli("embed", str(fasta), *MODEL, "-o", f"{fasta}.npy")
    assert done.exit_code == 0, done.err
    assert run_cli("cache", "ls").exit_code == 0
    done = run_cli("fetch", "--file", str(fasta), "--name", "g")
    assert_failure(done, "Permission denied", str(trained))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "line",
    [("score", "-o", "/dev/full"), ("embed", "--ids", "/dev/full", "-o", "v.npy")],
    ids=["case-75-output", "case-75-ids"],
)
def test_a_device_is_not_mistaken_for_a_file(
    line: tuple[str, ...], run_cli: RunCommand, fasta: Path, here: Path
) -> None:
    done = run_cli(line[0], str(fasta), *MODEL, *line[1:])
    assert_failure(done, "/dev/full", "not an ordinary file", hint="another name")
    assert not (here / "v.npy").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "amount", "words"),
    [
        pytest.param("RLIMIT_FSIZE", 100, "File too large", id="case-76-file-size"),
        pytest.param("RLIMIT_NOFILE", 4, "Too many open files", id="case-76-few-open-files"),
        pytest.param("RLIMIT_NOFILE", 5, "Too many open files", id="case-76-open-files"),
        pytest.param("RLIMIT_AS", 300 << 20, "not enough memory", id="case-76-no-memory"),
        pytest.param("RLIMIT_AS", 600 << 20, "not enough memory", id="case-76-little-memory"),
    ],
)
def test_a_limit_of_the_shell_is_an_error_and_leaves_nothing(
    limit: str, amount: int, words: str, fasta: Path, tmp_path: Path
) -> None:
    done = wrapped("embed", str(fasta), *MODEL, "-o", f"{fasta}.npy", limits=((limit, amount),))
    assert done.exit_code == 1, done.err
    assert "this is a bug" not in done.err
    assert words in done.err
    assert not list(tmp_path.glob("*.npy*"))


NAMES = (
    *("name with blanks.fa", "ünïcödé 基因.fa", "a%b#c.fa", "new\nline.fa", "quote'.fa"),
    *("~tilde.fa", "g[1].fa", "-dash.fa"),
)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"case-77-{name.encode()!r}")
def test_files_may_have_any_name(name: str, run_cli: RunCommand, here: Path) -> None:
    (here / name).write_text(">a\nACGT\n")
    done = run_cli("embed", *MODEL, "-o", f"./{name}.npy", "--", name)
    assert done.exit_code == 0, done.err
    assert np.load(here / f"{name}.npy").shape == (1, WIDTH)
    assert names_in(here) == sorted([name, f"{name}.npy", f"{name}.npy.json", "cache"])


def test_many_files_are_read_under_few_open_files_case_78(run_cli: RunCommand, here: Path) -> None:
    files = []
    for number in range(200):
        files.append(f"f{number}.fa")
        (here / files[-1]).write_text(f">r{number}\nACGTTGCA\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/dev/fd")) + 1  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
    try:
        done = run_cli("embed", *files, *MODEL, "-o", "v.npy", "--ids", "i.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert done.exit_code == 0, done.err
    assert (here / "i.txt").read_text().split() == [f"r{number}" for number in range(200)]


SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_JOB_CPUS_PER_NODE": "40(x2)",
    "SLURM_GPUS_ON_NODE": "4",
    "CUDA_VISIBLE_DEVICES": "",
}
TORCHRUN = {
    "RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


@pytest.mark.parametrize("variables", [SLURM, TORCHRUN], ids=["case-79-slurm", "case-79-torchrun"])
def test_a_scheduler_does_not_make_embed_wait(
    variables: dict[str, str], run_cli: RunCommand, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = run_cli("embed", str(fasta), *MODEL, "-o", f"{fasta}.npy")
    assert done.exit_code == 0, done.err
    assert np.load(f"{fasta}.npy").shape == (2, WIDTH)


CLOSED: dict[str, tuple[tuple[int, ...], tuple[str, ...], int, str]] = {
    "case-80-stdin": ((0,), ("x.fa", "-o", "v.npy"), 0, ""),
    "case-80-stdout": ((1,), ("x.fa", "-o", "v.npy"), 0, ""),
    "case-80-stderr": ((2,), ("x.fa", "-o", "v.npy"), 0, ""),
    "case-80-all": ((0, 1, 2), ("x.fa", "-o", "v.npy"), 0, ""),
    "case-80-array": ((1,), ("x.fa",), 1, "standard output is closed"),
    "case-80-input": ((0,), ("-", "-o", "v.npy"), 1, "is empty"),
}


def forked(place: Path, fasta: Path, *arguments: str, begin: Callable[[], None]) -> Outcome:
    """Run a command in a fork whose streams were changed."""
    for name in ("cwd", "tmp"):
        (place / name).mkdir()
    (place / "cwd" / fasta.name).write_bytes(fasta.read_bytes())
    return Place(root=place).run(arguments, Fault(name="streams", begin=begin))


def close(*descriptors: int) -> None:
    """Close streams; Python has None for those that were closed when it started."""
    for number in descriptors:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)


@pytest.mark.parametrize("case", CLOSED)
def test_closed_streams_work_or_are_an_error(case: str, fasta: Path, tmp_path: Path) -> None:
    closed, line, code, words = CLOSED[case]
    done = forked(tmp_path, fasta, "embed", *line, *MODEL, begin=lambda: close(*closed))
    assert done.code == code, done.err
    assert words in done.err
    output = tmp_path / "cwd" / "v.npy"
    assert output.exists() == (code == 0)
    if code == 0:
        assert np.load(output).shape == (2, WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize("case", CLOSED)
def test_streams_that_were_closed_by_the_shell(case: str, fasta: Path, here: Path) -> None:
    closed, line, code, words = CLOSED[case]
    done = wrapped("embed", *line, *MODEL, closed=closed)
    assert done.exit_code == code, done.err
    assert words in done.err
    assert (here / "v.npy").exists() == (code == 0)


ENCODINGS = ["ascii", "cp1252", "latin-1"]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda name: f"case-81-{name}")
def test_ids_are_utf_8_on_every_stream(encoding: str, fasta: Path, tmp_path: Path) -> None:
    fasta.write_text(">é基\nACGTACGT\n", encoding="utf-8")

    def begin() -> None:
        sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding)  # noqa: SIM115

    done = forked(tmp_path, fasta, "score", "x.fa", *MODEL, begin=begin)
    assert done.code == 0, done.err
    assert "é基".encode() in done.out


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda name: f"case-81-{name}")
def test_ids_are_utf_8_in_every_locale(
    encoding: str, fasta: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta.write_text(">é基\nACGTACGT\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = wrapped("score", "x.fa", *MODEL)
    assert done.exit_code == 0, done.err
    assert "é基".encode() in done.stdout


@pytest.mark.parametrize("command", ["embed", "score"], ids=lambda name: f"case-74-{name}")
def test_a_reader_that_left_ends_the_command_without_an_error(
    command: str, fasta: Path, tmp_path: Path
) -> None:
    fasta.write_text("".join(f">r{n}\n{'ACGT' * 5}\n" for n in range(500)))

    def begin() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)

    done = forked(tmp_path, fasta, command, "x.fa", *MODEL, begin=begin)
    assert (done.code, done.err) == (0, "")


def read_a_part(size: int) -> Callable[..., Finished]:
    """Run a command into a pipe whose reader leaves after some bytes."""

    def run(*arguments: str) -> Finished:
        with subprocess.Popen(
            [sys.executable, "-m", "genomeformer_cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            taken = process.stdout.read(size)
            process.stdout.close()
            err = process.stderr.read()
        return Finished(exit_code=process.returncode, stdout=taken, stderr=err)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("command", ["embed", "score"], ids=lambda name: f"case-74-{name}")
def test_a_reader_that_leaves_ends_the_command_without_an_error(command: str, fasta: Path) -> None:
    fasta.write_text("".join(f">r{n}\n{'ACGT' * 20}\n" for n in range(500)))
    done = read_a_part(10)(command, str(fasta), *MODEL)
    assert done.exit_code == 0
    assert done.err in ("", "read 500 records, 40,000 bases\n")
