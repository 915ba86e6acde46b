"""Records of no, one or a few letters keep their rows in every command and encoding of a file.

Warnings of libraries are errors in the tests, so a mean over nothing fails.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

RECORDS = ("", "A", "N", "ACA", "ANA", "NNNN", "ACGTTGCAAGGT", "GNT", "CCC")
PLAIN = "".join(f">r{number}\n{letters}\n" for number, letters in enumerate(RECORDS))
ENCODED = {
    "crlf": PLAIN.replace("\n", "\r\n").encode(),
    "lower": re.sub("(?m)^[ACGT].*$", lambda line: line[0].lower(), PLAIN).encode(),
    "rna": re.sub("(?m)^[ACGT].*$", lambda line: line[0].replace("T", "U"), PLAIN).encode(),
    "gzip": gzip.compress(PLAIN.encode()),
    "no-end": PLAIN.rstrip("\n").encode(),
    "bom": b"\xef\xbb\xbf" + PLAIN.encode(),
}
LINES = {
    "mean": "embed {} -o v.tsv --pool mean",
    "words": "embed {} -o v.tsv --pool words",
    "bins": "embed {} -o v.tsv --pool bins --set rows.rc=mean",
    "moments": "embed {} -o v.tsv --pool moments",
    "score": "score {} -o v.tsv",
    "ism": "score {} --ism -o v.tsv",
    "maps": "explain {} --dependencies -o v.json",
    "infill": "generate {} --infill -o v.fa",
}


def output_of(line: str, content: bytes, run_cli: RunCommand) -> str:
    Path("in.fa").write_bytes(content)
    name = next(word for word in line.split() if word.startswith("v."))
    done = run_cli(*line.format("in.fa").split(), "--model", RELEASED)
    assert done.exit_code == 0, done.err
    return Path(name).read_text(encoding="utf-8")


def rows_of(line: str, text: str) -> list[str]:
    """Return the ids of the rows of an output, in order, each once."""
    if ".json" in line:
        return [record["id"] for record in json.loads(text)]
    if ".fa " in f"{line} ":
        return re.findall("(?m)^>(\\S+)", text)
    return list(dict.fromkeys(row.split("\t")[0] for row in text.splitlines()[1:]))


@pytest.mark.parametrize("name", LINES)
def test_every_record_keeps_its_row(
    name: str, run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = LINES[name]
    plain = output_of(line, PLAIN.encode(), run_cli)
    ids = [f"r{number}" for number in range(len(RECORDS))]
    if name == "ism":  # one row per substitution
        ids = [f"r{number}" for number, letters in enumerate(RECORDS) if {*letters} - {"N"}]
    assert rows_of(line, plain) == ids
    assert "-0.00000" not in plain
    for content in ENCODED.values():
        assert output_of(line, content, run_cli) == plain
