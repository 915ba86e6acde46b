"""Measure the prose of packages: how docstrings open, and which words they use.

    python benchmarks/prose.py                        # this package beside installed peers
    python benchmarks/prose.py ~/src/other/package    # and any other folder of Python files

Every measure reads the syntax tree of the source files; no file is imported. Rates are counts per
1,000 words of docstrings. `tests/architecture/test_prose.py` applies the same rules per folder.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import itertools
import re
import statistics
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.config_text import field_comments

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / "genomeformer_cli"
PEERS = ("transformers", "torch", "sklearn", "httpx", "huggingface_hub")

OPENERS = re.compile(
    r"(What|Who|Whose|Where|Whether|How|Which|Of|Its|Theirs|These|The same)\b(?!-)", re.IGNORECASE
)
# "one row per record" reads at once; "a row a record" has to be read twice.
DISTRIBUTIVE = re.compile(
    r"\b(?:an?|one) (?:\w+ )?"
    r"(?!(?:and|as|at|but|by|for|from|if|in|into|is|of|on|or|over|than|that|to|when|where|with|without)\b)\w+"
    r" an? (?:base|batch|block|bundle|column|command|core|device|file"
    r"|folder|genome|GPU|head|layer|line|model|pass|process|record|row|run|second|sequence|species"
    r"|step|task|thread|token|window|worker)\b"
)
CLAUSES = re.compile(
    r"\bwhat (?:is|are|was|has|have|it|they|the|a|an|each|one|comes|stands|lies)\b", re.IGNORECASE
)
SPEECH = re.compile(
    r"\b(?:say|says|said|tell|tells|told|ask|asks|asked|answers?|answered|speaks?|spoke|spoken)\b",
    re.IGNORECASE,
)
POSTURE = re.compile(r"\b(?:stands?|stood|lies?|lay|lain)\b", re.IGNORECASE)

_GOOGLE_SECTION = re.compile(
    r"^(?P<indent> *)(?:Args|Arguments|Attributes|Keyword Args|Parameters|Returns|Raises|Yields)"
    r":[ ]*\n(?P<body>(?:(?P=indent) +\S.*\n|[ ]*\n)+)",
    re.MULTILINE,
)
_GOOGLE_ENTRY = re.compile(r"\*{0,2}`?\w[\w.]*`?(?: \(.*?\))?: *(?P<text>.*)")
_NUMPY_SECTION = re.compile(
    r"^ *(?:Parameters|Attributes|Returns|Raises|Yields)\n *-{3,} *\n"
    r"(?P<body>(?:(?!.*\n *-{3,}).*\n)*)",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """One docstring, parameter text or help text, and the place that it documents."""

    place: str  # File, line and name.
    text: str  # Words as written, without indentation.


@dataclass(kw_only=True)
class Prose:
    """Texts and sizes of a package."""

    # Docstrings of modules, classes and functions.
    docstrings: list[Text] = field(default_factory=list)
    # Texts of arguments, fields and results, and `help=` of options.
    parameters: list[Text] = field(default_factory=list)
    file_lines: list[int] = field(default_factory=list)  # Number of lines of each file.
    docstring_lines: int = 0  # Number of lines inside docstrings.
    function_lines: list[int] = field(default_factory=list)  # Number of lines of each function.
    many_parameters: int = 0  # Number of functions with more than six parameters.

    def words(self) -> int:
        """Return the number of words in all docstrings."""
        return sum(len(docstring.text.split()) for docstring in self.docstrings)


def read_prose(paths: list[Path], root: Path) -> Prose:
    """Collect the prose of Python files.

    Args:
        paths: Files to parse.
        root: Folder that the reported places are relative to.
    """
    prose = Prose()
    for path in paths:
        source, name = path.read_text(encoding="utf-8"), path.relative_to(root)
        lines = source.splitlines()
        prose.file_lines.append(source.count("\n"))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.keyword) and node.arg == "help":
                prose.parameters += [
                    Text(place=f"{name}:{node.lineno}", text=text) for text in _literals(node.value)
                ]
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                place = f"{name}:{getattr(node, 'lineno', 1)}"
                _read_definition(prose, node, place)
            if isinstance(node, ast.ClassDef) and _has_fields(node):
                definition = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                prose.parameters += [
                    Text(place=f"{place} {node.name}.{field_name}", text=text)
                    for field_name, text in field_comments(textwrap.dedent(definition)).items()
                ]
    return prose


def _has_fields(node: ast.ClassDef) -> bool:
    return any(isinstance(statement, ast.AnnAssign) for statement in node.body)


def _read_definition(
    prose: Prose,
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    place: str,
) -> None:
    name = getattr(node, "name", "module")
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        prose.function_lines.append((node.end_lineno or node.lineno) - node.lineno + 1)
        arguments = node.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = sum(argument.arg not in {"self", "cls"} for argument in names)
        prose.many_parameters += count > 6
    docstring = ast.get_docstring(node)
    if not docstring:
        return
    prose.docstring_lines += docstring.count("\n") + 1
    prose.docstrings.append(Text(place=f"{place} {name}", text=docstring))
    prose.parameters += [
        Text(place=f"{place} {name}", text=text) for text in parameter_texts(docstring)
    ]


def _literals(node: ast.expr) -> Iterator[str]:
    """Yield the literal strings of an expression, implicit concatenations joined."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def parameter_texts(docstring: str) -> Iterator[str]:
    """Yield the text of every entry under `Args:`, `Attributes:` and alike, in both layouts."""
    text = docstring + "\n"
    for section in _GOOGLE_SECTION.finditer(text):
        for line in _outer_lines(inspect.cleandoc("\n" + section["body"])):
            entry = _GOOGLE_ENTRY.fullmatch(line)
            yield entry["text"] if entry else line
    for section in _NUMPY_SECTION.finditer(text):
        lines = inspect.cleandoc("\n" + section["body"]).splitlines()
        for above, line in itertools.pairwise(lines):
            if above and not above.startswith(" ") and line.startswith(" "):
                yield line.strip()


def _outer_lines(body: str) -> list[str]:
    return [line for line in body.splitlines() if line and not line.startswith(" ")]


def opens_badly(text: str) -> bool:
    """Return True if a text opens with a question word or a bare pronoun."""
    return bool(OPENERS.match(text.lstrip("*`")))


def files_of(package: Path) -> list[Path]:
    """List the Python files of a package, without its tests, in a stable order."""
    return sorted(
        path
        for path in package.rglob("*.py")
        if not {"tests", "test", "testing"} & set(path.relative_to(package).parts)
    )


def measures(prose: Prose) -> list[tuple[str, str]]:
    """Compute the rows of the table: name of the measure, and value."""
    thousands = prose.words() / 1000 or 1.0
    docstrings = [docstring.text for docstring in prose.docstrings]

    def rate(count: int) -> str:
        return f"{count / thousands:.2f}"

    def occurrences(pattern: re.Pattern[str]) -> str:
        return rate(sum(len(pattern.findall(text)) for text in docstrings))

    openers = sum(map(opens_badly, docstrings))
    lines = sum(prose.file_lines)
    tenths = statistics.quantiles(prose.function_lines, n=10)
    return [
        ("files / lines", f"{len(prose.file_lines)} / {lines / 1000:.1f}k"),
        ("median file, lines", f"{statistics.median(prose.file_lines):.0f}"),
        (
            "functions; median / p90 lines",
            f"{len(prose.function_lines):,}; {tenths[4]:.0f} / {tenths[8]:.0f}",
        ),
        ("functions with > 6 parameters", f"{prose.many_parameters:,}"),
        ("docstring lines / all", f"{prose.docstring_lines / lines:.0%}"),
        ("docstrings opening What/Who/Of/Its/..., share", f"{openers / len(docstrings):.1%}"),
        ("docstrings opening What/Who/Of/Its/...", rate(openers)),
        ('"what is/has/it/the ..." clauses', occurrences(CLAUSES)),
        ("say/tell/ask/answer/speak", occurrences(SPEECH)),
        ("stand/lie", occurrences(POSTURE)),
        ('"a X a Y" for "one X per Y"', occurrences(DISTRIBUTIVE)),
        (
            "parameter texts opening Of/Its/Whose/...",
            rate(sum(opens_badly(parameter.text) for parameter in prose.parameters)),
        ),
    ]


def folder_of(package: str) -> Path | None:
    """Find an installed package or a folder; None where neither exists."""
    if Path(package).is_dir():
        return Path(package).resolve()
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def main() -> None:
    """Print one column per package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", nargs="*", help="more packages or folders to measure")
    parser.add_argument("--list", action="store_true", help="list our own texts that open badly")
    options = parser.parse_args()
    if options.list:
        for text in offenders(read_prose(files_of(OURS), ROOT)):
            print(f"{text.place}: {text.text.partition(chr(10))[0]}")
        return
    folders = {"genomeformer": OURS}
    for name in (*PEERS, *options.package):
        folder = folder_of(name)
        if folder is None:
            print(f"not installed: {name}")
        else:
            folders[name] = folder
    columns = [dict(measures(read_prose(files_of(f), f))) for f in folders.values()]
    print(f"| measure | {' | '.join(folders)} |")
    print("|---" * (len(folders) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


def offenders(prose: Prose) -> list[Text]:
    """List the texts that break a rule: how they open, or "a X a Y"."""
    texts = [*prose.docstrings, *prose.parameters]
    return [text for text in texts if opens_badly(text.text) or DISTRIBUTIVE.search(text.text)]


if __name__ == "__main__":
    main()
