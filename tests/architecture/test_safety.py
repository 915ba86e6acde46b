"""No module runs foreign code or a shell, and one module alone decodes JSON and TOML."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "genomeformer_cli"
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
DECODER = PACKAGE / "core" / "documents.py"
PICKLE_CONVERTER = PACKAGE / "core" / "model_io" / "pickled_weights.py"

# Modules that decode objects by running what the bytes say, or that start programs through a shell.
MODULES_NEVER = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "code",
    "codeop", "commands", "pty", "xmlrpc",
}  # fmt: skip
BUILTINS_NEVER = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
CALLS_NEVER = {
    "os.system", "os.popen", "os.execv", "os.execl", "os.execve", "os.spawnv", "os.spawnl",
    "os.startfile", "torch.load", "torch.jit.load", "torch.hub.load", "torch.package",
    "numpy.loadtxt", "runpy.run_path", "runpy.run_module", "subprocess.getoutput",
    "subprocess.getstatusoutput", "yaml.load", "tarfile.TarFile.extractall",
    "shutil.unpack_archive", "tempfile.mktemp",
}  # fmt: skip
METHODS_NEVER = {"extractall"}
KEYWORDS_NEVER = ("shell", "allow_pickle", "trust_remote_code")
DECODING = {"json.load", "json.loads", "json.JSONDecoder", "tomllib.load", "tomllib.loads"}


def names_of_imports(tree: ast.AST) -> dict[str, str]:
    """Return what every imported name of a module stands for, in full."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                found[name.asname or name.name.split(".")[0]] = (
                    name.name if name.asname else name.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                found[name.asname or name.name] = f"{node.module}.{name.name}"
    return found


def full_name(node: ast.expr, imports: dict[str, str]) -> str:
    """Return the dotted name of an expression, its first part resolved; empty if it has none."""
    if isinstance(node, ast.Name):
        return imports.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = full_name(node.value, imports)
        return f"{base}.{node.attr}" if base else ""
    return ""


def offences(source: str, *, may_decode: bool = False) -> Iterator[str]:
    """Yield what a module does that no module may do."""
    tree = ast.parse(source)
    imports = names_of_imports(tree)
    for name in imports.values():
        if name.split(".")[0] in MODULES_NEVER:
            yield f"import of {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = full_name(node, imports)
            if name in CALLS_NEVER or (name in DECODING and not may_decode):
                yield name
        if isinstance(node, ast.Call):
            yield from offences_of_call(node, imports)


def offences_of_call(call: ast.Call, imports: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a call or with its keywords."""
    if isinstance(call.func, ast.Name) and call.func.id in BUILTINS_NEVER:
        yield f"call of {call.func.id}"
    if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS_NEVER:
        yield f"call of {call.func.attr}"
    for keyword in call.keywords:
        if keyword.arg in KEYWORDS_NEVER and not is_false(keyword.value):
            yield keyword.arg
    # numpy reads pickles unless it is told not to.
    is_numpy = full_name(call.func, imports) in ("numpy.load", "numpy.save")
    if is_numpy and "allow_pickle" not in [keyword.arg for keyword in call.keywords]:
        yield "numpy without allow_pickle=False"


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_runs_no_foreign_code(folder: Path) -> None:
    found = {
        module: list(offences(module.read_text(encoding="utf-8"), may_decode=module == DECODER))
        for module in folder.glob("*.py")
    }
    expected = {PICKLE_CONVERTER: ["torch.load"]}
    assert found == {module: expected.get(module, []) for module in found}


def test_pickled_weights_are_read_as_tensors_only() -> None:
    tree = ast.parse(PICKLE_CONVERTER.read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and full_name(node.func, {}) == "torch.load"
    ]
    keywords = {keyword.arg: keyword.value for call in calls for keyword in call.keywords}
    assert len(calls) == 1
    assert isinstance(keywords["weights_only"], ast.Constant)
    assert keywords["weights_only"].value is True


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads as read",
        "import yaml",
        "eval('1')",
        "exec(text)",
        "import os as system\nsystem.system('x')",
        "from os import popen\npopen('x')",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "import subprocess\nsubprocess.run('x', shell=flag)",
        "import torch\ntorch.load(path)",
        "from torch import load\nload(path)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import json\njson.loads(text)",
        "from json import loads\nloads(text)",
        "import json\nread = json.load",
        "import tomllib\ntomllib.load(file)",
        "archive.extractall(path)",
        "model(trust_remote_code=True)",
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    [
        "import json\njson.dumps(value)",
        "model.eval()",
        "import re\nre.compile('a')",
        "import subprocess\nsubprocess.run(['x'], shell=False)",
        "import numpy as np\nnp.save(file, array, allow_pickle=False)",
    ],
)
def test_the_check_lets_ordinary_code_pass(source: str) -> None:
    assert not list(offences(source))
