"""Options of all commands: few, of one meaning each, and every message names options that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from genomeformer_cli.app import app
from genomeformer_cli.commands._options import renamed_options
from genomeformer_cli.core.config_text import describe_config, parse_settings
from genomeformer_cli.core.embedding.options import EmbedConfig
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.training.presets import PretrainSettings
from genomeformer_cli.core.workflows.evaluate import EvaluateConfig
from genomeformer_cli.core.workflows.fetch_request import FetchConfig
from genomeformer_cli.core.workflows.predict import PredictConfig
from tests.cli import RunCommand
from tests.failures import assert_failure

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "genomeformer_cli" / "assets"
PAGES = sorted(
    path
    for pages in (
        ROOT.glob("README.md"),
        (ROOT / "docs").glob("*.md"),
        (ROOT / "docs" / "guides").glob("*.md"),
        (ROOT / "docs" / "concepts").glob("*.md"),
        ASSETS.rglob("*.md"),
        ASSETS.rglob("*.j2"),
    )
    for path in pages
)
MOST_OPTIONS = 20
SHARED = {
    "--help",
    "--json",
    "--quiet",
    "--verbose",
    "--set",
    "--config",
    "--show-config",
    "--precision",
}
CONFIGURED = ["pretrain", "compare"]

# Configurations of the commands with former options that are settings now.
CONFIGURATIONS: dict[str, type] = {
    "embed": EmbedConfig,
    "evaluate": EvaluateConfig,
    "fetch": FetchConfig,
    "finetune": FinetuneConfig,
    "predict": PredictConfig,
    "pretrain": PretrainSettings,
}

# Options of other programs that messages and pages name.
RENAMED = renamed_options()
FOREIGN = {"--requeue", "--rerun-incomplete", "--tune"}


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that has no subcommands, by its name."""
    children = getattr(command, "commands", {})
    for child, subcommand in children.items():
        yield from leaves(subcommand, f"{name} {child}".strip())
    if not children:
        yield name, command


COMMANDS = dict(leaves(typer.main.get_command(app)))


def options_of(command: Any) -> dict[str, Any]:
    """Return the options of a command by each of their long spellings."""
    return {
        spelling: parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling.startswith("--")
    }


KNOWN = {word for command in COMMANDS.values() for word in options_of(command)} | {
    "--help",
    "--debug",
    "--version",
    "--record",
    "--install-completion",
    "--show-completion",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_few_options(name: str) -> None:
    parameters = {
        parameter.name: parameter
        for word, parameter in options_of(COMMANDS[name]).items()
        if word not in SHARED
    }
    assert len(parameters) <= MOST_OPTIONS, sorted(parameters)


def meanings() -> dict[str, set[str]]:
    """Return the meanings of each word: the first sentences of its help texts.

    Further sentences hold what differs between commands, such as a default.
    """
    sentences: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for word, parameter in options_of(command).items():
            sentence, _, _ = (parameter.help or "").partition(". ")
            sentences.setdefault(word, set()).add(sentence.rstrip("."))
    return sentences


def test_an_option_has_one_meaning() -> None:
    several = {word: sorted(texts) for word, texts in meanings().items() if len(texts) > 1}
    assert not several


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    assert all(parameter.help for parameter in options_of(COMMANDS[name]).values())


def named_options(text: str) -> set[str]:
    """Return the options that a text names in backticks."""
    if "--" not in text:
        return set()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    quoted = " ".join(re.findall(r"`(?!python )([^`]+)`", prose))
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", quoted))


def texts_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_messages_and_pages_name_options_that_exist() -> None:
    unknown: dict[str, set[str]] = {}
    for path in sorted((ROOT / "genomeformer_cli").rglob("*.py")):
        for text in texts_of(path):
            for word in named_options(text) - KNOWN - FOREIGN:
                unknown.setdefault(word, set()).add(path.name)
    for path in PAGES:
        for word in named_options(path.read_text(encoding="utf-8")) - KNOWN - FOREIGN:
            unknown.setdefault(word, set()).add(path.name)
    assert not unknown


def test_command_lines_have_options_of_their_command() -> None:
    names = "|".join(sorted(COMMANDS, key=len, reverse=True))
    line = re.compile(rf"genomeformer ({names})\b([^`\n|;>#]*)")
    sources = sorted((ROOT / "genomeformer_cli").rglob("*.py"))
    unknown = {
        (path.name, command, option)
        for path in (*PAGES, *sources, ROOT / "Makefile", ROOT / "CONTRIBUTING.md")
        for command, rest in line.findall(path.read_text(encoding="utf-8").replace("\\\n", " "))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", rest)
        if option not in {*options_of(COMMANDS[command]), "--help"}
    }
    assert not unknown


@pytest.mark.parametrize(("command", "option"), RENAMED, ids=" ".join)
def test_a_former_option_names_its_new_form(command: str, option: str, run_cli: RunCommand) -> None:
    new = RENAMED[command, option]
    done = run_cli(command, option, "3")
    assert_failure(done, f"`{option}` is now `{new}`", hint="--show-config", exit_code=2)
    assert option not in options_of(COMMANDS[command])
    word, _, assignment = new.partition(" ")
    assert word in options_of(COMMANDS[command])
    if word == "--set":
        kind = CONFIGURATIONS[command]
        assert parse_settings([assignment.replace("...", "3")], kind)


@pytest.mark.parametrize("command", CONFIGURATIONS)
def test_every_setting_has_a_meaning(command: str) -> None:
    rows = describe_config(CONFIGURATIONS[command])
    assert rows
    assert [row.key for row in rows if not row.meaning] == []


@pytest.mark.parametrize("name", CONFIGURED)
def test_settings_of_a_preset_are_shown_and_read_again(
    name: str, run_cli: RunCommand, tmp_path: Path
) -> None:
    line = (name, "--preset", "small", "--objective", "causal", "--set", "training.ema=0.5")
    shown = run_cli(*line, "--show-config")
    assert (shown.exit_code, shown.err) == (0, "")
    assert "# Decay of the moving average of the weights" in shown.out
    assert "ema = 0.5" in shown.out
    (tmp_path / "shown.toml").write_text(shown.out)
    again = run_cli(name, "--config", str(tmp_path / "shown.toml"), "--show-config")
    assert again.out == shown.out


@pytest.mark.parametrize("name", CONFIGURED)
@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ("--set training.emma=1", "unknown setting `training.emma`", "`training.ema`"),
        ("--set ema=1", "unknown setting `ema`", "`training.ema`"),
        ("--set training.ema", "not an assignment", "SECTION.KEY=VALUE"),
        ("--set training.ema=1 --set training.ema=0", "set twice", "once"),
        ("--set training.seed=1 --seed 2", "an option and by `--set`", "once"),
        ("--set training.ema=much", "`training.ema` cannot be `much`", "a number"),
        ("--set training.pack=maybe", "`training.pack` cannot be `maybe`", "`skip`"),
        ("--preset tyni", "unknown preset `tyni`", "did you mean `tiny`?"),
        ("--objective cuasal", "unknown objective `cuasal`", "did you mean `causal`?"),
    ],
)
def test_an_invalid_setting_is_one_sentence(
    name: str, options: str, words: str, hint: str, run_cli: RunCommand
) -> None:
    done = run_cli(name, *options.split(), "--show-config")
    assert_failure(done, words, hint=hint, exit_code=2)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("embed --pool max --set rows.tokens_per_batch=512", ('pool = "max"', "_batch = 512")),
        (
            "embed --window 64 --set rows.stride=32 --set rows.rc=mean",
            ("window = 64", "stride = 32"),
        ),
        ("embed --window whole --set flank=7", ('window = "whole"', "flank = 7")),
        ("evaluate --window 9 --set prediction.rate=0.3", ("window = 9", "rate = 0.3")),
        ("evaluate --seeds 3 --window 64", ("num_twins = 3", "num_seeds = 3", "window = 64")),
        ("predict --set rows.tokens_per_batch=512", ("tokens_per_batch = 512",)),
        ("finetune --epochs 3 --set tuning.rank=4", ("epochs = 3.0", "rank = 4")),
        ("fetch --level complete --set connection.jobs=2", ("complete", "jobs = 2")),
    ],
)
def test_shown_settings_are_read_again(
    line: str, shown: tuple[str, ...], run_cli: RunCommand, tmp_path: Path
) -> None:
    done = run_cli(*line.split(), "--show-config")
    assert (done.exit_code, done.err) == (0, "")
    assert all(text in done.out for text in shown), done.out
    (tmp_path / "shown.toml").write_text(done.out)
    again = run_cli(line.split()[0], "--config", str(tmp_path / "shown.toml"), "--show-config")
    assert again.out == done.out


def test_an_option_takes_precedence_over_a_file(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[rows]\npool = "max"\nlayers = "all"\n')
    line = ("embed", "--config", str(tmp_path / "a.toml"), "--show-config")
    assert 'pool = "max"' in run_cli(*line).out
    done = run_cli(*line, "--pool", "mean")
    assert 'pool = "mean"' in done.out
    assert 'layers = "all"' in done.out


def test_execution_is_not_part_of_a_comparison(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[parallel]\nprocesses = 2\n")
    done = run_cli("pretrain", "--config", str(tmp_path / "a.toml"), "--show-config")
    assert "processes = 2" in done.out
    refused = run_cli("compare", "c", "--tokens", "5k", "--set", "parallel.processes=2")
    assert_failure(refused, "unknown setting `parallel.processes`", hint="", exit_code=2)
