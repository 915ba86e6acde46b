"""One reader per format: nothing outside `core/formats` parses files that users bring."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

CORE = Path(str(files("genomeformer_cli"))) / "core"
PARSERS = {
    "packings": r"\b(gzip\.open|gzip\.decompress|bz2\.|lzma\.|isal_zlib|zlib\.decompress\w*)",
    "tables": r"\bcsv\.",
    "pyfastx": r"\bpyfastx\b",
    "byte order marks": r"utf-8-sig|\\xef\\xbb\\xbf|ufeff",
    "lone carriage returns": r"lone carriage return",
    "FASTQ": r"def \w*fastq\w*",
}
# Files that this package wrote, or that are parts of a protocol, have readers of their own.
OWN_FILES = {
    "byte order marks": {"documents.py", "escaping.py"},
    "packings": {"model_io/archive.py"},
}


# Modules that unpack or parse, whatever the name, and the files that may import them.
PACKAGE = CORE.parent
NEVER = "bz2 lzma isal zstandard csv pyfastx pandas polars Bio pysam codecs"
PARSING_MODULES: dict[str, set[str]] = {
    **{name: set() for name in NEVER.split()},
    "gzip": {"core/genomes/local.py", "core/model_io/archive.py"},  # both write what we read
    "zlib": {
        "core/evaluation/model_ranking.py",
        "core/genomes/ncbi/taxdump.py",  # names the error of a damaged archive
        "core/model_io/archive.py",
    },
    "zipfile": {"core/embedding/formats.py"},
}
TABLE_CALLS = {"read_csv", "read_table", "genfromtxt", "loadtxt", "fromregex"}
# NCBI's summaries are a protocol; the others are readers of formats.
TAB_SPLITTERS = {"core/genomes/ncbi/summaries.py"}


def imported_modules(tree: ast.AST) -> set[str]:
    """Return the top-level modules that a file imports, by statement or by name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
        elif isinstance(node, ast.Call):
            texts = {str(part.value) for part in node.args if isinstance(part, ast.Constant)}
            if texts and "import" in ast.unparse(node.func):
                names |= texts
    return {name.partition(".")[0] for name in names}


def parses_tables(tree: ast.AST) -> bool:
    """Return whether a file splits text at tabs, or calls a reader of NumPy or pandas."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name = node.func.attr
        if name in TABLE_CALLS and ast.unparse(node.func.value) not in {"tables", "self"}:
            return True
        first = node.args[0] if node.args else None
        if name in {"split", "rsplit"} and isinstance(first, ast.Constant) and first.value == "\t":
            return True
    return False


def test_no_alias_hides_a_second_reader() -> None:
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("core/formats/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        odd = {
            one for one in imported_modules(tree) if name not in PARSING_MODULES.get(one, {name})
        }
        assert not odd, f"{name} imports {odd}"
        assert name in TAB_SPLITTERS or not parses_tables(tree), f"{name} parses a table"


@pytest.mark.parametrize(
    "source",
    [
        "from csv import reader as rows",
        "import gzip as g",
        "def f():\n    from bz2 import open as o",
        "importlib.import_module('zstandard')",
        "__import__('lzma')",
    ],
)
def test_aliases_are_seen(source: str) -> None:
    assert imported_modules(ast.parse(source)) & set(PARSING_MODULES)


@pytest.mark.parametrize("source", ["a.split('\\t')", "np.loadtxt(x)", "pd.read_csv(x, sep=',')"])
def test_tables_that_are_split_by_hand_are_seen(source: str) -> None:
    assert parses_tables(ast.parse(source))


def modules_with(pattern: str) -> set[str]:
    return {
        path.relative_to(CORE).as_posix()
        for path in CORE.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }


def test_foreign_files_are_parsed_in_one_package() -> None:
    for name, pattern in PARSERS.items():
        found = modules_with(pattern)
        outside = {path for path in found if not path.startswith("formats/")}
        assert outside <= OWN_FILES.get(name, set()), f"{name}: {outside}"
        assert found - outside, f"{name}: the pattern finds no reader at all"


def test_readers_split_lines_at_newlines_alone() -> None:
    assert not {path for path in modules_with(r"\.splitlines\(") if path.startswith("formats/")}


def test_each_reader_of_sequences_uses_the_one_parser() -> None:
    """Whoever wants records imports them; the text of FASTA is opened in one module."""
    opened = modules_with(r"\bFastaReader\(")
    assert modules_with(r"class FastaReader\b") == {"formats/fasta.py"}
    assert modules_with(r"def read_sequences\b") == {"formats/sequences.py"}
    assert opened >= {"formats/fasta.py", "formats/sequences.py"}
