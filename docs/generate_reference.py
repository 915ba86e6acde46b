"""Write the reference pages from the code, the tree, and the index of experiments.

`python docs/generate_reference.py` writes docs/reference/*.md and alike; with `--check` it changes
nothing and fails if a page is stale.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import typer
import typer.main
from experiments_index import EXPERIMENTS, experiments_page, table_cell
from input_formats_page import inputs_page

import genomeformer_cli.core
from genomeformer_cli.app import app
from genomeformer_cli.core import errors
from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionEntry
from genomeformer_cli.core.config_text import default_of, documented
from genomeformer_cli.core.configuration import describe_type, from_plain, to_plain
from genomeformer_cli.core.known_models import known_models
from genomeformer_cli.core.known_suites import known_suites
from genomeformer_cli.core.memory_plans.plans import PLANS
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.presets import PRESETS, preset
from genomeformer_cli.render.known_models import models_page
from genomeformer_cli.render.known_suites import suites_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
TREE = ROOT / "docs" / "develop" / "tree.md"
AROUND = (
    ("benchmarks/", "one script per claim, beside a peer or a baseline in the same run"),
    (
        "tests/",
        "unit (mirrors core), contracts, commands, cases, faults, docs, architecture, e2e, golden",
    ),
    (
        "docs/",
        "install, quick start, guides, concepts, reference (generated), experiments, develop, adr",
    ),
    ("packaging/", "recipes of bioconda, Docker, Apptainer and Galaxy"),
    ("workflows/", "pipelines of Snakemake and Nextflow"),
    ("releases/", "released models that are too large for the package"),
    ("scripts/", "the demo that `make demo` runs"),
    ("Makefile", "every step of a developer or of CI"),
)
NOTICE = (
    "<!-- Written by docs/generate_reference.py from the code: edit the code, then `make docs`. -->"
)


def commands_page() -> str:
    """Every command: what it does, how it is called, its arguments and options."""
    parts = ["# Commands", *_command(typer.main.get_command(app), "genomeformer", None)]
    return "\n\n".join(parts)


def _command(command: Any, name: str, parent: typer.Context | None) -> Iterator[str]:
    context = typer.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield f"## `{name}`"
    if command.help:
        yield inspect.cleandoc(command.help)
    yield f"```console\n$ {' '.join([name, *command.collect_usage_pieces(context)])}\n```"
    records = [(one, one.get_help_record(context)) for one in command.get_params(context)]
    for kind, title in (("argument", "Arguments"), ("option", "Options")):
        shown = [record for one, record in records if record and one.param_type_name == kind]
        if shown:
            yield "\n".join([f"{title}:", "", *(f"- `{flag}`: {text}" for flag, text in shown)])
    if command.epilog:
        label, _, example = inspect.cleandoc(command.epilog).partition(":  ")
        yield f"{label}:\n\n```sh\n{example}\n```" if example else label
    for child, subcommand in getattr(command, "commands", {}).items():
        if not subcommand.hidden:
            yield from _command(subcommand, f"{name} {child}", context)


def options_of(command: Any, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the spellings, the command and the meaning of every option."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            spellings = ", ".join(
                f"`{word}`" for word in (*parameter.opts, *parameter.secondary_opts)
            )
            yield spellings, name, parameter.help or ""
    for child, subcommand in getattr(command, "commands", {}).items():
        if not subcommand.hidden:
            yield from options_of(subcommand, f"{name} {child}".strip())


def options_page() -> str:
    """Write one row per meaning of an option, with the commands that take it."""
    meanings: dict[tuple[str, str], list[str]] = {}
    for spellings, name, meaning in options_of(typer.main.get_command(app), ""):
        meanings.setdefault((spellings, meaning), []).append(name)
    everywhere = max(map(len, meanings.values()))
    lines = ["| option | commands | meaning |", "|---|---|---|"]
    for (spellings, meaning), names in sorted(
        meanings.items(), key=lambda item: item[0][0].lstrip("`-")
    ):
        commands = ", ".join(f"`{name}`" for name in names if name) or "before a command"
        commands = "all" if len(names) == everywhere else commands
        lines.append(f"| {spellings} | {commands} | {table_cell(meaning)} |")
    return "\n\n".join(
        [
            "# Options",
            "Every option, the commands that take it, and its meaning. Commands with `--set` take "
            "every [setting](configuration.md) of their configuration too; `--show-config` prints "
            "them.",
            "\n".join(lines),
        ]
    )


def configuration_page() -> str:
    """Every configuration dataclass of the core: settings, types, defaults, meanings."""
    parts = [
        "# Configuration",
        "A run is one resolved, frozen configuration: a preset, then a TOML file, then options and "
        "`--set SECTION.KEY=VALUE`. An unknown key is an error. Its parts are:",
    ]
    for kind in _configurations():
        summary, meanings = documented(kind)
        hints = typing.get_type_hints(kind)
        lines = [f"## `{kind.__name__}`", "", summary, "", f"In `{kind.__module__}`.", ""]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        for field in dataclasses.fields(kind):
            described = _described(hints[field.name])
            meaning = meanings.get(field.name, "").replace("|", r"\|")
            lines.append(f"| `{field.name}` | {described} | {_default(field)} | {meaning} |")
        parts.append("\n".join(lines))
    parts += ["## Presets", *_presets()]
    return "\n\n".join(parts)


def _presets() -> Iterator[str]:
    chosen = {name: dict(_flat(to_plain(preset(name)))) for name in PRESETS}
    yield "\n".join(f"- `{name}`: {inspect.getdoc(make)}" for name, make in PRESETS.items())
    lines = [f"| setting | {' | '.join(f'`{name}`' for name in chosen)} |"]
    lines.append("|---" * (len(chosen) + 1) + "|")
    for key in dict.fromkeys(key for settings in chosen.values() for key in settings):
        values = " | ".join(f"`{settings.get(key)}`" for settings in chosen.values())
        lines.append(f"| `{key}` | {values} |")
    yield "\n".join(lines)


def _fused_kernel(entry: AttentionEntry) -> str:
    if entry.fused is None:
        return ""
    if {*entry.directions} <= {*entry.fused_directions}:
        return entry.fused.name
    return f"{entry.fused.name} ({', '.join(entry.fused_directions)})"


def attention_page() -> str:
    """The collection: what each mechanism can do, what it costs, which memory plans it can use."""
    lines = [
        "| attention | directions | values | time | memory | plans | options | limit "
        "| fused kernel | paper |"
    ]
    lines.append("|---" * 10 + "|")
    for name, entry in ATTENTIONS.items():
        page = f"[`{name}`](../concepts/attention-{name}.md)"
        kind = "exact" if entry.exact else "approximates softmax"
        options = ", ".join(f"`{option}`" for option in entry.options)
        plans = ", ".join(f"`{plan}`" for plan in _plans_for(name))
        cells = (
            page,
            " and ".join(entry.directions),
            kind,
            entry.time,
            entry.memory,
            plans,
            options,
            entry.limit,
            _fused_kernel(entry),
            entry.paper,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n\n".join(
        [
            "# Attention mechanisms",
            "All share one layer: normalised queries and keys, rotary positions (except the "
            "gated ones), heads, an output projection. L is the length, W the window, E the global "
            "positions. Several joined by `+`, as `linear+local`, alternate from block to block.",
            "\n".join(lines),
            "Memory plans; all compute the same exact gradients:",
            "\n".join(
                ["| plan | memory | forward passes per block |", "|---|---|---|"]
                + [f"| `{name}` | {plan.memory} | {plan.passes} |" for name, plan in PLANS.items()]
            ),
        ]
    )


def _plans_for(attention: str) -> list[str]:
    """The plans that can train some model of the mechanism."""
    shapes: tuple[dict[str, Any], ...] = (
        {},
        {"direction": "causal"},
        {"direction": "two-stack", "tied": False},
        {"residual": "reversible"},
    )
    able: set[str] = set()
    for shape in shapes:
        config = {"width": 16, "mlp_width": 16, "depth": 1, "attention": {"name": attention}}
        try:
            model = build_model(from_plain(ModelConfig, {**config, **shape}, where="docs"))
        except errors.ConfigError:
            continue
        able |= {name for name, plan in PLANS.items() if plan.objection(model) is None}
    return [name for name in PLANS if name in able]


def _flat(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _configurations() -> list[type[Any]]:
    core = genomeformer_cli.core
    names = [m.name for m in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")]
    found = {
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and dataclasses.is_dataclass(value)
        if value.__name__.endswith("Config") and value.__module__.startswith(core.__name__)
    }
    found |= {
        inner
        for kind in found
        for inner in typing.get_type_hints(kind).values()
        if inspect.isclass(inner) and dataclasses.is_dataclass(inner)
    }
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def _described(hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        name = getattr(hint, "__name__", str(hint))
        return f"[`{name}`](#{name.lower()})"
    return describe_type(hint)


def _default(field: dataclasses.Field[Any]) -> str:
    value = default_of(field)
    if value is dataclasses.MISSING:
        return "required"
    if value is None:
        return "unset"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def errors_page() -> str:
    """The error tree with exit codes."""
    lines = [
        "# Errors",
        "",
        "A failure a user can cause is one of these. It is shown on stderr as one sentence, then a",
        "hint, and the command ends with the exit code; `--debug` shows the traceback too.",
        "",
        "| error | exit code | when |",
        "|---|---|---|",
        *_tree(errors.GenomeformerError, 0),
    ]
    return "\n".join(lines)


def _tree(kind: type[errors.GenomeformerError], depth: int) -> Iterator[str]:
    meaning = (inspect.getdoc(kind) or "").splitlines()[0]
    indent = "&nbsp;" * 4 * depth
    yield f"| {indent}`{kind.__name__}` | {kind.exit_code} | {meaning} |"
    for child in kind.__subclasses__():
        if child.__module__.startswith("genomeformer_cli."):
            yield from _tree(child, depth + 1)


def tree_page() -> str:
    """The repository, one line per folder."""
    rows = [*_folder(ROOT / "genomeformer_cli", 0), *AROUND]
    width = max(len(name) for name, _ in rows) + 2
    tree = "\n".join(f"{name:{width}}{clause}".rstrip() for name, clause in rows)
    return (
        "# Tree\n\nOne line per folder; every module opens with a sentence that says what it is. "
        f"[Architecture](architecture.md) explains the layers.\n\n```\n{tree}\n```"
    )


def _folder(folder: Path, depth: int) -> Iterator[tuple[str, str]]:
    yield f"{'  ' * depth}{folder.name}/", _clause(folder / "__init__.py")
    for path in sorted(child for child in folder.iterdir() if child.is_dir()):
        if (path / "__init__.py").is_file():
            yield from _folder(path, depth + 1)


def _clause(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".:")


def main() -> int:
    """Write the pages, or with `--check` compare them."""
    check = "--check" in sys.argv[1:]
    pages = {
        "commands.md": commands_page(),
        "attention.md": attention_page(),
        "configuration.md": configuration_page(),
        "errors.md": errors_page(),
        "inputs.md": inputs_page(),
        "models.md": models_page(known_models()),
        "options.md": options_page(),
        "suites.md": suites_page(known_suites()),
    }
    texts = {PAGES / name: f"{NOTICE}\n\n{page}\n" for name, page in pages.items()}
    texts[TREE] = f"{NOTICE}\n\n{tree_page()}\n"
    texts[EXPERIMENTS / "index.md"] = f"{NOTICE}\n\n{experiments_page()}\n"
    stale = []
    for path, page in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8") == page:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(page, encoding="utf-8")
    if not stale:
        print("generated pages are fresh")
    elif check:
        print(f"stale: {', '.join(stale)}: run `make docs` and commit the pages", file=sys.stderr)
    else:
        print(f"wrote {', '.join(stale)}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
