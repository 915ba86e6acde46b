"""Rules of every command: help, version, exit codes, `--debug`, streams."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main

from genomeformer_cli import __version__
from genomeformer_cli.app import app
from genomeformer_cli.core.model_io.bundled import bundled_folder
from genomeformer_cli.core.workflows import fetch
from tests.cli import RunCommand, run_fresh
from tests.failures import assert_failure

COMMANDS = [
    ["fetch"],
    ["tokenize"],
    ["pretrain"],
    ["embed"],
    ["release"],
    ["cache"],
    ["models"],
    ["doctor"],
    ["cache", "path"],
    ["cache", "ls"],
    ["cache", "verify"],
    ["cache", "rm"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(command: list[str], flag: str, run_cli: RunCommand) -> None:
    done = run_cli(*command, flag)
    assert done.exit_code == 0
    assert done.err == ""
    assert f"genomeformer {' '.join(command)}" in done.out
    if command != ["cache"]:
        assert "Example:" in done.out


def test_the_program_names_its_commands_and_the_first_step(run_cli: RunCommand) -> None:
    done = run_cli("--help")
    assert done.exit_code == 0
    for command in COMMANDS:
        assert command[0] in done.out
    assert "genomeformer embed sequences.fa" in done.out


def test_the_version_is_that_of_the_package(run_cli: RunCommand) -> None:
    done = run_cli("--version")
    assert (done.exit_code, done.err) == (0, "")
    assert done.out == f"genomeformer {__version__}\n"
    assert version("genomeformer") == __version__


def test_versions_of_the_libraries_and_of_the_model_are_json(run_cli: RunCommand) -> None:
    done = run_cli("--version", "--json")
    assert (done.exit_code, done.err) == (0, "")
    versions = json.loads(done.out)
    model = versions.pop("model")
    assert versions.pop("python") == platform.python_version()
    assert versions == {name: version(name) for name in versions}
    assert {"genomeformer", "torch", "numpy"} <= set(versions)
    seal = bundled_folder() / "SHA256SUMS"
    assert model == {"name": "default", "digest": hashlib.sha256(seal.read_bytes()).hexdigest()}
    assert run_cli("--json", "--version").out == done.out


def test_options_without_a_command_are_refused(run_cli: RunCommand) -> None:
    assert_failure(run_cli("--json"), "`--version`", hint="after the command", exit_code=2)
    assert_failure(run_cli("--json", "cache", "ls"), "`--version`", exit_code=2)
    assert_failure(run_cli("--verbose"), "missing command", hint="--help", exit_code=2)


@pytest.mark.parametrize("command", [[], ["cache"]], ids=["genomeformer", "cache"])
def test_no_command_shows_the_help_and_no_error(command: list[str], run_cli: RunCommand) -> None:
    done = run_cli(*command)
    assert done.exit_code == 2
    assert "Usage:" in done.out + done.err
    assert "error:" not in done.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "'nonsense'"),
        ("fetch --taxa 9606", "--taxa"),
        ("embed x.fa --pool median", "'median'"),
        ("tokenize g --jobs 0", "--jobs"),
        ("tokenize --name x --split coin", "'coin'"),
        ("tokenize --name x --validation-fraction much", "valid number"),
        ("cache ls pictures", "'pictures'"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(line: str, words: str, run_cli: RunCommand) -> None:
    assert_failure(run_cli(*line.split()), words, hint="--help", exit_code=2)


def test_debug_shows_the_traceback(run_cli_fresh: RunCommand) -> None:
    line = ("fetch", "--file", "nowhere.fa")
    assert "Traceback" not in run_cli_fresh(*line).err
    done = run_cli_fresh("--debug", *line)
    assert done.exit_code != 0
    assert "Traceback" in done.err
    assert "FormatError" in done.err


def test_a_bug_hints_to_report_it(run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(fetch, "fetch_genomes", broken)
    done = run_cli("fetch", "--sample")
    assert done.exit_code == 70
    assert "unexpected ZeroDivisionError: division by zero" in done.err
    assert "--debug" in done.err


def test_an_interruption_is_not_called_a_bug(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "fetch_genomes", interrupted)
    assert_failure(run_cli("fetch", "--sample"), "interrupted", hint="again", exit_code=130)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_one_sentence(unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "genomeformer_cli", "cache", "ls", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: could not write standard output: No space left on device",
        "",
        "hint: free some space or choose another place",
    ]


def test_a_reader_that_leaves_early_gets_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "genomeformer_cli", "cache", "path"],
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.stderr == b""


def test_the_module_runs_as_the_program_does(run_cli: RunCommand) -> None:
    assert run_fresh("--version").out == run_cli("--version").out


def test_quiet_and_verbose_go_before_or_after_a_command(run_cli: RunCommand) -> None:
    plain = run_cli("fetch", "--sample")
    for line in (["--quiet", "fetch", "--sample"], ["fetch", "--sample", "--quiet"]):
        done = run_cli(*line)
        assert (done.exit_code, done.err) == (0, "")
        assert done.out.count("\n") == plain.out.count("\n")
    for line in (["--verbose", "fetch", "--sample"], ["fetch", "--verbose", "--sample"]):
        assert " s  done" in run_cli(*line).err
    assert " s  done" not in run_cli("fetch", "--sample").err


@pytest.mark.parametrize(
    "line", ["--quiet fetch --sample --verbose", "fetch --sample --quiet --verbose"]
)
def test_quiet_and_verbose_exclude_each_other(line: str, run_cli: RunCommand) -> None:
    assert_failure(run_cli(*line.split()), "exclude each other", hint="one of them", exit_code=2)


def test_every_command_takes_quiet_and_verbose() -> None:
    def leaves(command: Any) -> Iterator[Any]:
        children = getattr(command, "commands", {})
        yield from (leaf for child in children.values() for leaf in leaves(child))
        if not children:
            yield command

    for command in leaves(typer.main.get_command(app)):
        spellings = {spelling for parameter in command.params for spelling in parameter.opts}
        assert {"--quiet", "--verbose"} <= spellings, command.name


def test_verbose_names_model_and_device(run_cli: RunCommand, tmp_path: Path) -> None:
    line = ("embed", "-", "--device", "cpu", "--workers", "1", "-o", str(tmp_path / "x.npy"))
    done = run_cli(*line, "--verbose", stdin=b">a\nACGTACGT\n")
    assert done.exit_code == 0, done.err
    assert "model: " in done.err
    assert "device: cpu, CPU threads: 1" in done.err
    assert "input: standard input" in done.err


def test_verbose_lists_the_files_that_fetch_reads(run_cli: RunCommand, tmp_path: Path) -> None:
    files = [tmp_path / "first.fa", tmp_path / "second.fa"]
    for file in files:
        file.write_text(f">{file.stem}\nACGT\n")
    line = [word for file in files for word in ("--file", str(file))]
    assert "input:" not in run_cli("fetch", *line).err
    done = run_cli("fetch", *line, "--verbose")
    assert [f"input: {file}" in done.err for file in files] == [True, True]


@pytest.mark.parametrize("failure", [MemoryError(), ImportError("failed to map segment")])
def test_a_memory_error_while_reporting_prints_no_traceback(
    failure: Exception, run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Exception) -> int:
        raise failure

    monkeypatch.setattr("genomeformer_cli.render.failures.report_failure", fail)
    assert_failure(run_cli("cache", "ls", "odd"), "not enough memory", hint="more memory")


def test_ctrl_c_before_the_command_starts_prints_no_traceback(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genomeformer_cli.app._check_working_folder", interrupt)
    assert_failure(run_cli("cache", "ls"), "interrupted", hint="run the same", exit_code=130)
