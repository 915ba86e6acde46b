"""Failures are a sentence, a hint and an exit code."""

from __future__ import annotations

import errno
import os

import pytest

from genomeformer_cli.core.errors import ConfigError, FastaError, GenomeformerError
from genomeformer_cli.render.failures import INTERNAL, report_failure


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [(FastaError("`x` is empty", hint="fill it"), 1), (ConfigError("`y` is odd", hint="fix"), 2)],
)
def test_a_failure_is_a_sentence_a_hint_and_a_code(
    failure: GenomeformerError, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_failure(failure) == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {failure.message}\n\nhint: {failure.hint}\n"


def test_without_a_hint_none_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report_failure(GenomeformerError("it broke"))
    assert capsys.readouterr().err == "error: it broke\n"


@pytest.mark.parametrize("name", ["a[red].fa", "[/]", ":smile:.fa", "\\[x]"])
def test_names_are_escaped(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    report_failure(FastaError(f"`{name}` is empty", hint=f"look at `{name}`"))
    assert capsys.readouterr().err == f"error: `{name}` is empty\n\nhint: look at `{name}`\n"


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(KeyError("x")) == INTERNAL
    error = capsys.readouterr().err
    assert "unexpected KeyError: 'x'" in error
    assert "--debug" in error


@pytest.mark.parametrize(
    ("failure", "words", "hint"),
    [
        (MemoryError(), "not enough memory", "smaller batch"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory", "smaller batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory", ""),
        (RuntimeError("can't start new thread"), "not enough memory", "fewer workers"),
        (ImportError("x.so: failed to map segment from shared object"), "not enough memory", ""),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply", "file"),
        (OverflowError("int too large to convert to float"), "too large", "options"),
        (PermissionError(errno.EACCES, "Permission denied", "x.fa"), "`x.fa`", "permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.fa"), "`x.fa`", "another name"),
        (
            RuntimeError("unable to open file <w.st> in read-only mode: Too many open files (24)"),
            "`w.st`: Too many open files",
            "ulimit -n",
        ),
        (OSError(errno.EMFILE, "Too many open files", "x.fa"), "`x.fa`", "ulimit -n"),
    ],
)
def test_a_limit_of_the_machine_or_an_input_is_not_called_a_bug(
    failure: Exception, words: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_failure(failure) == 1
    sentence, between, advice = capsys.readouterr().err.splitlines()
    assert words in sentence
    assert between == ""
    assert hint in advice


def test_a_system_error_without_a_file_is_a_bug_unless_the_disk_is_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere.npy")
    assert report_failure(full) == 1
    assert "could not write somewhere.npy: No space left" in capsys.readouterr().err
    assert report_failure(PermissionError(errno.EACCES, "no")) == INTERNAL
