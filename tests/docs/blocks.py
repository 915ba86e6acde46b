"""Command blocks of a page: what a reader would type, and the output that the page shows.

A fenced block of `sh`, `console` or `python` is executed unless a comment before it says otherwise:

    <!-- docs-test: parse, needs a cluster -->    check the options only; the reason is required
    <!-- docs-test: slow -->                      execute in the slow tests
    <!-- docs-test: varies -->                    execute; the output shown depends on the machine
    <!-- docs-test: setup                         execute commands that the page does not show
    cp "$SAMPLES/ecoli_promoters.fa" promoters.fa
    -->
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKS = ("parse", "slow", "varies", "setup")
MODULE = ["-m", "genomeformer_cli"]
_PIECE = re.compile(
    r"<!-- docs-test: (?P<mark>\w+)(?P<rest>.*?)-->"
    r"|^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)

_LOOP = re.compile(
    r"for (?P<name>\w+) in (?P<words>[^;$*]+); do (?P<command>genomeformer [^;]+); done"
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One line of shell, continuation lines joined."""

    page: str  # File name of the page.
    line: int  # Line number of the block.
    text: str  # Command as a shell reads it, without the prompt; or Python code.
    mark: str  # Word of the comment before the block; "" means execute and compare.
    is_python: bool = False  # True for Python code.
    output: tuple[str, ...] = ()  # Lines that the page shows below the command.

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def commands_of(path: Path) -> list[Command]:
    """Read all commands of a page, in the order of the page."""
    text = path.read_text(encoding="utf-8")
    commands: list[Command] = []
    mark = ""
    for piece in _PIECE.finditer(text):
        line = text.count("\n", 0, piece.start()) + 1
        if piece["mark"]:
            mark = piece["mark"]
            _check_mark(path, line, mark, piece["rest"])
            if mark == "setup":
                lines = piece["rest"].strip().splitlines()
                commands += [
                    Command(page=path.name, line=line, text=text, mark="setup") for text in lines
                ]
                mark = ""
            continue
        if piece["language"] in {"sh", "console"}:
            read = _read_console if piece["language"] == "console" else _read_shell
            for text_, output in read(piece["body"]):
                commands.append(
                    Command(page=path.name, line=line, text=text_, mark=mark, output=output)
                )
        if piece["language"] == "python":
            body = piece["body"]
            commands.append(
                Command(page=path.name, line=line, text=body, mark=mark, is_python=True)
            )
        mark = ""
    return commands


def _check_mark(path: Path, line: int, mark: str, rest: str) -> None:
    where = f"{path.name}:{line}"
    assert mark in MARKS, f"{where}: `{mark}` is none of {', '.join(MARKS)}"
    if mark == "parse":
        assert len(rest.strip(" ,").split()) > 1, f"{where}: say why it is not executed"


def _read_shell(body: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for text in body.replace("\\\n", " ").splitlines():
        if text.strip() and not text.lstrip().startswith("#"):
            for command in _unrolled(text.strip()):
                yield command, ()


def _unrolled(text: str) -> Iterator[str]:
    """Yield the commands of a loop over words; any other line as it is."""
    loop = _LOOP.fullmatch(text)
    if loop is None:
        yield text
        return
    for word in loop["words"].split():
        yield loop["command"].replace(f"${loop['name']}", word)


def _read_console(body: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    lines = body.replace("\\\n", " ").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        output = tuple(line for line in lines[start + 1 : end] if line.strip())
        yield lines[start][2:], output


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """A shell line around one call of `genomeformer`."""

    before: str  # Shell text of the pipe in front of the call; "" without a pipe.
    launcher: tuple[str, ...]  # Words in front of the call, such as `srun`.
    arguments: tuple[str, ...]  # Arguments of `genomeformer`.
    stdout: str  # File that standard output is redirected to; "" for none.


def invocation_of(text: str) -> Invocation | None:
    """Split a line into its parts; None if it does not call `genomeformer`."""
    before, pipe, last = text.rpartition(" | ")
    lexer = shlex.shlex(last, posix=True, punctuation_chars=">")
    lexer.whitespace_split = True
    words = list(lexer)
    calls = [
        number
        for number, word in enumerate(words)
        if word == "genomeformer" or words[max(0, number - 1) : number + 1] == MODULE
    ]
    if not calls:
        return None
    stdout = ""
    if ">" in words:
        at = words.index(">")
        stdout = words[at + 1]
        del words[at : at + 2]
    return Invocation(
        before=before if pipe else "",
        launcher=tuple(words[: calls[0]]),
        arguments=tuple(words[calls[0] + 1 :]),
        stdout=stdout,
    )


def missing_lines(shown: tuple[str, ...], printed: str) -> list[str]:
    """List shown lines that a command did not print, spaces aside; `...` stands for any lines."""
    lines = {" ".join(line.split()) for line in printed.splitlines()}
    return [line for line in shown if line != "..." and " ".join(line.split()) not in lines]
