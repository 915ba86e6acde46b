"""Commands and Python code of README, Install, Quick start and the guides: parsed, and run.

A page runs in an empty folder with an empty cache, block by block. The default tests shrink
trainings (a tiny model, ten steps) and explain that model; `slow` runs README and Quick start as
printed.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
import typer.main
from typer import Exit

from genomeformer_cli.app import app
from tests.cli import RunCommand
from tests.docs.blocks import Command, commands_of, invocation_of, missing_lines
from tests.mini_ncbi.server import MiniNcbi
from tests.models import SMALL

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "install.md",
    ROOT / "docs" / "quick-start.md",
    ROOT / "docs" / "gallery.md",
    *GUIDES,
]
PRINTED = [ROOT / "README.md", ROOT / "docs" / "quick-start.md"]
# Options appended to a command so that it takes seconds; the last of two values of an option wins.
SHRINK = {
    "pretrain": ("--steps", "10", "--threads", "1", "--set", "compute.precision=fp32"),
    "finetune": ("--epochs", "0.2", "--threads", "1", "--set", "compute.precision=fp32"),
    "evaluate": ("--set", "prediction.windows=2", "--set", "prediction.passes=1", "--workers", "1"),
    "compare": ("--threads", "1"),
}
NO_TRAINING = {"--list-presets", "--watch"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def ncbi(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small NCBI on the loopback address instead of the real one."""
    with MiniNcbi() as server:
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", server.base_url)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", server.url)
        yield


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; `$SAMPLES` and `$DATA` name the sample files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.chdir(folder)
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ROOT", str(ROOT))
    monkeypatch.setenv("SAMPLES", str(ROOT / "genomeformer_cli" / "assets" / "sequences"))
    monkeypatch.setenv("DATA", str(ROOT / "tests" / "data"))
    monkeypatch.setenv("DOCS", str(ROOT / "docs"))
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SMALL), encoding="utf-8")
    return folder


def parse(arguments: tuple[str, ...]) -> None:
    """Parse a command line as the tool does, and run nothing."""
    context = typer.main.get_command(app).make_context("genomeformer", list(arguments))
    while hasattr(context.command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest and context.params.get("version"):
            return
        name, command, remaining = context.command.resolve_command(context, rest)
        context = command.make_context(name, remaining, parent=context)


def shrunk(arguments: tuple[str, ...], config: Path) -> tuple[str, ...]:
    """Make a training short: a tiny model, a few steps."""
    command = arguments[0]
    if NO_TRAINING & set(arguments):
        return arguments
    first: tuple[str, ...] = ()
    if command == "explain" and "--model" not in arguments:
        # The page trains it beforehand: tens of windows per base take seconds each otherwise.
        first = ("--model", "bases")
    if command == "pretrain" and not {"--config", "--from"} & set(arguments):
        first = ("--config", str(config))
    return (command, *first, *arguments[1:], *SHRINK.get(command, ()))


def execute(command: Command, run_cli: RunCommand, config: Path | None) -> None:
    """Run one line; check exit code and, unless it varies, the output that the page shows."""
    if command.is_python:
        script = Path(f"{Path(command.page).stem}_{command.line}.py")
        script.write_text(command.text, encoding="utf-8")
        runpy.run_path(str(script))
        return
    call = invocation_of(command.text)
    if call is None or call.launcher:
        done = subprocess.run(
            ["sh", "-c", command.text], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        check_output(command, done.stdout)
        return
    stdin = b""
    if call.before:
        stdin = subprocess.run(["sh", "-c", call.before], capture_output=True, check=True).stdout
    arguments = tuple(map(os.path.expandvars, call.arguments))
    if config is not None:
        arguments = shrunk(arguments, config)
    finished = run_cli(*arguments, stdin=stdin)
    assert finished.exit_code == 0, f"{command}\n{finished.err}"
    if call.stdout:
        Path(call.stdout).write_bytes(finished.stdout)
    check_output(command, finished.err if call.stdout else finished.out + finished.err)


def check_output(command: Command, printed: str) -> None:
    """Check that a command printed what the page shows."""
    if command.mark == "varies":
        return
    missing = missing_lines(command.output, printed)
    assert not missing, f"{command}\nshown but not printed: {missing}\n{printed}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_command_parses(path: Path) -> None:
    for command in commands_of(path):
        if command.is_python:
            compile(command.text, str(command.page), "exec")
            continue
        call = invocation_of(command.text)
        if call is not None:
            try:
                parse(tuple(map(os.path.expandvars, call.arguments)))
            except Exit:
                pass  # `--version` and `--help` end there.
            except Exception as failure:
                raise AssertionError(f"{command}: {failure}") from failure


@pytest.mark.usefixtures("ncbi", "one_process", "short_networks", "without_pictures")
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_runs(path: Path, scratch: Path, run_cli: RunCommand) -> None:
    for command in commands_of(path):
        if command.mark not in {"parse", "slow"}:
            execute(command, run_cli, scratch.parent / "small.toml")


@pytest.mark.slow
@pytest.mark.usefixtures("ncbi")
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_runs_with_its_slow_blocks(path: Path, scratch: Path, run_cli: RunCommand) -> None:
    commands = commands_of(path)
    config = None if path in PRINTED else scratch.parent / "small.toml"
    for command in commands:
        if command.mark != "parse":
            execute(command, run_cli, config)
