"""One reader per format: nothing outside `core/formats` parses files that users bring."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

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
    "packings": {"genomes/ncbi/remote_files.py", "model_io/archive.py"},
}


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


def test_each_reader_of_sequences_stands_on_the_one_parser() -> None:
    """Whoever wants records imports them; the text of FASTA is opened in one module."""
    opened = modules_with(r"\bFastaReader\(")
    assert modules_with(r"class FastaReader\b") == {"formats/fasta.py"}
    assert modules_with(r"def read_sequences\b") == {"formats/sequences.py"}
    assert opened >= {"formats/fasta.py", "formats/sequences.py"}
